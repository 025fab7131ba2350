package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// openVectors returns the vectors of a GPU, or of a simulated one with so much free memory.
func openVectors(t *testing.T, free uint64) (*vectors, *fake) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	driver, f := &gpus{load}, (*fake)(nil)
	opts := ssl.Device{Libraries: os.Getenv("SDR_CUDA_LIBS")}
	if onGPU {
		opts.Memory = int64(heldByAll.Load() + free)
	} else {
		f = newFake(t, ssl.FP32)
		f.freeBytes = free
		driver = &gpus{f.load}
	}
	v := driver.OpenVectors(opts).(*vectors)
	v.least, v.reuse = 0, 0
	t.Cleanup(func() {
		require.NoError(t, v.close())
		if f != nil {
			f.closed()
		}
	})
	return v, f
}

// wholes returns small whole numbers, whose sums of products are exact and often equal.
func wholes(seed uint64, n int) []float32 {
	random, values := rand.New(rand.NewPCG(seed, 3)), make([]float32, n)
	for i := range values {
		values[i] = float32(random.IntN(5) - 2)
	}
	return values
}

// TestSearch compares neighbors with the CPU's where products are exact, so that ties show: of fewer rows than neighbors, of
// widths that no vector instruction divides, of duplicates, and with more than one tile and part.
func TestSearch(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, c := range []struct {
		rows, queries, width, k int // without queries, each row searches among the others
		free                    uint64
	}{
		{1, 1, 1, 1, 1 << 30}, {1, 0, 3, 2, 1 << 30}, {1, 3, 2, 5, 1 << 30}, {7, 2, 3, 7, 1 << 30}, {3, 0, 9, 20, 1 << 30},
		{2000, 3, 5, 1, 1 << 30}, {1100, 2, 4, top, 1 << 30}, {150, 0, 2, 33, 1 << 30},
		{1100, 550, 3, 20, 40 << 20}, {700, 0, 611, 3, 40 << 20},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			v, f := openVectors(t, c.free)
			base, query := wholes(1, c.rows*c.width), wholes(2, c.queries*c.width)
			copy(base[c.rows/2*c.width:], base[:c.width]) // a duplicate
			matrix := func(x []float32) *tensor.Dense { return dense.NewEngine(pool).Matrix(x, len(x)/c.width, c.width) }
			var want *nearest.Neighbours
			var err error
			if c.queries > 0 {
				want, err = nearest.Search(matrix(base), matrix(query), c.k)
			} else {
				query = base
				want, err = nearest.SearchOthers(matrix(base), c.k)
			}
			require.NoError(t, err)
			for range 1 + min(1, 1e6/(c.rows*len(query))) { // the second time with a device that is open
				s := newSearch(base, query, c.width, c.k, c.queries == 0)
				done, err := v.Search(s)
				require.NoError(t, err)
				require.True(t, done)
				require.Equal(t, want.Index, s.Index)
				require.Equal(t, want.Similarity, s.Similarity)
			}
			if f != nil {
				require.Empty(t, f.blocks, "memory is held between searches")
			}
		})
	}
}

// newSearch returns a search with nothing found yet.
func newSearch(base, query []float32, width, k int, others bool) kernels.Search {
	n := len(query) / width * k
	return kernels.Search{
		Base: base, Query: query, Width: width, Others: others, K: k,
		Index: slices.Repeat([]int32{-1}, n), Similarity: slices.Repeat([]float32{float32(math.Inf(-1))}, n),
	}
}

// TestSearchOffload searches real numbers through package nearest: neighbors differ from the CPU's only where products are
// equal but for rounding, and what is too small, or too large for the memory, is the CPU's.
func TestSearchOffload(t *testing.T) {
	const rows, width, k = 600, 400, 9
	v, f := openVectors(t, 1<<30)
	v.least, v.reuse = 1<<27, leastReuse
	var found [2]*nearest.Neighbours
	base := noise(1, rows*width)
	base[5*width] = float32(math.NaN()) // never found, and finds nothing
	for i := range found {
		pool := kernels.NewPool(2)
		defer pool.Close()
		if i == 1 {
			pool.Offload(v)
		}
		var err error
		found[i], err = nearest.SearchOthers(dense.NewEngine(pool).Matrix(base, rows, width), k)
		require.NoError(t, err)
		_, err = nearest.Search(dense.NewEngine(pool).Matrix(base[6*width:], rows-6, width), dense.NewEngine(pool).Matrix(base[:2*width], 2, width), k)
		require.NoError(t, err)
	}
	want, got := found[0], found[1]
	for i, s := range want.Similarity {
		require.InDelta(t, s, got.Similarity[i], 1e-3)
		if want.Index[i] != got.Index[i] {
			at := want.Similarity[i/k*k:][:k]
			require.True(t, i%k > 0 && at[i%k-1]-s < 1e-3 || i%k < k-1 && s-at[i%k+1] < 1e-3 || i%k == k-1, "%d", i)
		}
	}
	require.Equal(t, int32(-1), got.Index[5*k])
	require.NotContains(t, got.Index, int32(5))
	if f == nil {
		return
	}
	require.Equal(t, 1, f.calls["search_rows"], "one search pays")
	require.NoError(t, v.close())
	f.freeBytes = 40 << 20
	f.calls = map[string]int{}
	done, err := v.Search(newSearch(make([]float32, 600*4000), make([]float32, 600*4000), 4000, 1, false))
	require.NoError(t, err)
	require.False(t, done, "a tile of rows does not fit")
	require.Zero(t, f.calls["search_rows"])
}

// lloyd runs some iterations of k-means on a device, the CPU if it is nil, and returns the centroids and the inertia.
func lloyd(t require.TestingT, to kernels.Vectors, x []float32, width int, start [][]float32) ([]float32, float64) {
	require.NoError(t, compute.Run(func(pool *kernels.Pool) error {
		pool.Offload(to)
		return nil
	}))
	l, err := kmeans.NewLloyd(x, width, start)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, l.Iterate())
	}
	inertia, err := l.Inertia()
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Centroids(), inertia
}

// TestLloyd compares k-means with the CPU's, bit by bit: also of rows in the middle of two centroids, of values whose products
// underflow or lose all digits, and of a row that is much longer than the others.
func TestLloyd(t *testing.T) {
	v, f := openVectors(t, 1<<30)
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		n, width, k := rapid.IntRange(1, 200).Draw(t, "rows"), rapid.IntRange(1, 70).Draw(t, "width"), rapid.IntRange(1, 40).Draw(t, "k")
		size := math.Pow(10, float64(rapid.IntRange(-30, 12).Draw(t, "size")))
		start := make([][]float32, k)
		for j := range start {
			for range width {
				start[j] = append(start[j], float32(size*random.NormFloat64()))
			}
		}
		var x []float32
		for range n {
			a, b := start[random.IntN(k)], start[random.IntN(k)]
			for j := range a {
				x = append(x, (a[j]+b[j])/2)
			}
		}
		if rapid.Bool().Draw(t, "long") {
			for j := range x[:width] {
				x[j] *= 100
			}
		}
		centroids, inertia := lloyd(t, nil, x, width, start)
		got, gotInertia := lloyd(t, v, x, width, start)
		require.Equal(t, centroids, got)
		require.Equal(t, inertia, gotInertia)
	})
	if f != nil {
		require.Positive(t, f.calls["assign_rows"])
		require.Empty(t, f.blocks, "memory is held")
	}
}

// TestLloydInBlocks clusters rows that fit into half of the memory and such that do not.
func TestLloydInBlocks(t *testing.T) {
	const n, width, k = 2900, 531, 40
	x := noise(1, n*width)
	var start [][]float32
	for j := range k {
		start = append(start, x[j*width:][:width])
	}
	centroids, inertia := lloyd(t, nil, x, width, start)
	for blocks, free := range map[int]uint64{1: vectorWorkspace + 30<<20, 3: vectorWorkspace + 10<<20} {
		v, f := openVectors(t, free)
		got, gotInertia := lloyd(t, v, x, width, start)
		require.Equal(t, centroids, got)
		require.Equal(t, inertia, gotInertia)
		if f != nil {
			require.Equal(t, 3*blocks, f.calls["assign_rows"])
		}
	}
}

type weighted struct {
	ID      int32     `arrow:"id"`
	Feature []float32 `arrow:"feature"`
	Weight  float32   `arrow:"weight"`
}

type assigned struct {
	ID       int32   `arrow:"id"`
	Code     string  `arrow:"code"`
	Distance float32 `arrow:"distance"`
}

// keepFn keeps the first or the second collection that the last job made.
type keepFn struct{ Of int }

var kept struct {
	sync.Mutex
	batches [2][]*record.Batch
}

func (fn *keepFn) ProcessElement(b *record.Batch) {
	kept.Lock()
	defer kept.Unlock()
	kept.batches[fn.Of] = append(kept.batches[fn.Of], b)
}

func init() { beam.RegisterDoFn(reflect.TypeFor[keepFn]()) }

// TestClusterings compares whole jobs with the CPU's, bit by bit: with weights, parents and limits, and with rows that do not
// stay on the GPU.
func TestClusterings(t *testing.T) {
	const n, width = 500, 2200
	beam.Init()
	rows, values := make([]weighted, n), noise(3, n*width)
	for i := range rows {
		rows[i] = weighted{int32(i), values[i*width:][:width], float32(i%5) / 3}
	}
	for name, cfg := range map[string]kmeans.Config{
		"weighted": {Branching: []int{3, 4, 2}, Iterations: 2, Weight: "weight", Spherical: true, Init: kmeans.Parallel},
		"balanced": {Branching: []int{3, 9}, Iterations: 1, Balance: 2},
	} {
		cfg.Column, cfg.Local = "feature", true
		job := func(to kernels.Vectors) (all []assigned, centroids []kmeans.Centroid) {
			require.NoError(t, compute.Run(func(pool *kernels.Pool) error {
				pool.Offload(to)
				return nil
			}))
			kept.batches = [2][]*record.Batch{}
			p, s := beam.NewPipelineWithRoot()
			labels, clusters := kmeans.Cluster(s, record.FromStructs[weighted](s, beam.CreateList(s, rows)), cfg)
			beam.ParDo0(s, &keepFn{0}, labels)
			beam.ParDo0(s, &keepFn{1}, clusters)
			_, err := beam.Run(t.Context(), "prism", p)
			require.NoError(t, err)
			for _, b := range kept.batches[0] {
				of, err := record.Rows[assigned](b)
				require.NoError(t, err)
				all = append(all, of...)
			}
			for _, b := range kept.batches[1] {
				of, err := record.Rows[kmeans.Centroid](b)
				require.NoError(t, err)
				centroids = append(centroids, of...)
			}
			slices.SortFunc(all, func(a, b assigned) int { return int(a.ID - b.ID) })
			slices.SortFunc(centroids, func(a, b kmeans.Centroid) int { return strings.Compare(a.Code, b.Code) })
			return all, centroids
		}
		want, wantCentroids := job(nil)
		require.Len(t, want, n)
		for _, free := range []uint64{1 << 30, vectorWorkspace + 8<<20} {
			t.Run(fmt.Sprint(name, free), func(t *testing.T) {
				v, f := openVectors(t, free)
				got, centroids := job(v)
				require.Equal(t, want, got)
				require.Equal(t, wantCentroids, centroids)
				if f != nil {
					require.Equal(t, free == 1<<30, f.calls["gather_rows"] > 0)
					require.Positive(t, f.calls["sum_rows"])
					require.Empty(t, f.blocks, "memory is held")
				}
			})
		}
	}
}
