package nearest_test

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/stat"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nearest"
)

// TestScores compares the shares of the votes for rows with several classes.
func TestScores(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	train, cfg := matrix(pool, g.Train, g.Dim), nearest.Config{K: g.K, Temperature: .07}
	scores, err := nearest.Scores(train, g.Sets, g.Classes, matrix(pool, g.Query, g.Dim), cfg)
	require.NoError(t, err)
	require.InDeltaSlice(t, g.Shares, scores, 2e-5)
	scores, err = nearest.LeaveOneOutScores(train, g.Sets, g.Classes, cfg)
	require.NoError(t, err)
	require.InDeltaSlice(t, g.SharesOfOthers, scores, 2e-5)

	_, err = nearest.Scores(train, g.Sets[1:], g.Classes, train, cfg)
	require.ErrorContains(t, err, "train has 150 rows but 149 labels")
	g.Sets[7] = []int64{0, int64(g.Classes)}
	_, err = nearest.LeaveOneOutScores(train, g.Sets, g.Classes, cfg)
	require.ErrorContains(t, err, "label of row 7 of features is 5, must be in [0, 5)")
}

// golden is what testdata/make_golden.py writes.
type golden struct {
	Dim, Classes, K int
	Train, Query    []float32
	Labels, Truth   []int64
	Index           []int32
	Similarity      []float32
	Centroid        float64
	Episodes        float64
	Sets            [][]int64
	Shares          []float64
	SharesOfOthers  []float64 `json:"shares_of_others"`
	Spread          float64
	Cases           []struct {
		Temperature  float64
		Pred         []int64
		Accuracy     float64
		MeanPerClass float64 `json:"mean_per_class"`
		LeaveOneOut  []int64 `json:"leave_one_out"`
	}
}

func load(t *testing.T) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

// matrix returns data as rows of dim values on an engine of p.
func matrix(p *kernels.Pool, data []float32, dim int) *tensor.Dense {
	return dense.NewEngine(p).Matrix(data, len(data)/dim, dim)
}

func TestAgainstScikitLearn(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	require.Len(t, g.Cases, 3)
	for _, c := range g.Cases {
		cfg := nearest.Config{K: g.K, Temperature: c.Temperature}
		pred, err := nearest.Classify(matrix(pool, g.Train, g.Dim), g.Labels, g.Classes, matrix(pool, g.Query, g.Dim), cfg)
		require.NoError(t, err)
		require.Equal(t, c.Pred, pred)
		require.InDelta(t, c.Accuracy, metrics.Accuracy(pred, g.Truth), 1e-12)
		require.InDelta(t, c.MeanPerClass, metrics.MeanPerClass(pred, g.Truth, g.Classes), 1e-12)
		pred, err = nearest.LeaveOneOut(matrix(pool, g.Train, g.Dim), g.Labels, g.Classes, cfg)
		require.NoError(t, err)
		require.Equal(t, c.LeaveOneOut, pred)
	}
}

// TestFewShot compares an episode of all rows with scikit-learn's NearestCentroid, and the distribution over random ones
// with numpy's.
func TestFewShot(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	const shots = 5
	var first []float32
	var labels []int64
	count := map[int64]int{}
	for i, l := range g.Labels {
		if count[l]++; count[l] <= shots {
			first, labels = append(first, g.Train[i*g.Dim:][:g.Dim]...), append(labels, l)
		}
	}
	query := matrix(pool, g.Query, g.Dim)
	got, err := nearest.FewShot(matrix(pool, first, g.Dim), labels, query, g.Truth, nearest.Episodes{Ways: 9, Shots: shots, Queries: 99, Episodes: 3})
	require.NoError(t, err)
	for _, accuracy := range got {
		require.InDelta(t, g.Centroid, accuracy, 1e-12)
	}
	_, err = nearest.FewShot(matrix(pool, first, g.Dim), labels, query, g.Truth, nearest.Episodes{Ways: 5, Shots: shots + 1, Queries: 1, Episodes: 1})
	require.ErrorContains(t, err, "0 classes have 6 training images and an image to classify; episodes need at least 2")

	train := matrix(pool, g.Train, g.Dim)
	cfg := nearest.Episodes{Ways: 3, Shots: 2, Queries: 4, Episodes: 4000, Seed: 1}
	got, err = nearest.FewShot(train, g.Labels, query, g.Truth, cfg)
	require.NoError(t, err)
	mean, std := stat.MeanStdDev(got, nil)
	require.InDelta(t, g.Episodes, mean, 4*g.Spread/math.Sqrt(float64(cfg.Episodes)))
	require.InDelta(t, g.Spread, std, .02)
	again, err := nearest.FewShot(train, g.Labels, query, g.Truth, cfg)
	require.NoError(t, err)
	require.Equal(t, got, again)

	cfg.Ways = 1
	_, err = nearest.FewShot(train, g.Labels, query, g.Truth, cfg)
	require.ErrorContains(t, err, "want at least 2 ways")
	cfg.Ways = 2
	_, err = nearest.FewShot(train, g.Labels[1:], query, g.Truth, cfg)
	require.ErrorContains(t, err, "train has 150 rows but 149 labels")
	_, err = nearest.FewShot(train, g.Labels, matrix(pool, g.Query, 4), make([]int64, len(g.Query)/4), cfg)
	require.ErrorContains(t, err, "vectors of 12 values and query of 4")
}

func TestSearchAgainstNumpy(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	n, err := nearest.Search(matrix(pool, g.Train, g.Dim), matrix(pool, g.Query, g.Dim), g.K)
	require.NoError(t, err)
	require.Equal(t, g.Index, n.Index)
	require.InDeltaSlice(t, g.Similarity, n.Similarity, 1e-4)
}

// TestSearchProperties compares with sorting all products, on small integers: products are exact and ties frequent.
func TestSearchProperties(t *testing.T) {
	pool := kernels.NewPool(3)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 9).Draw(t, "dim")
		rows := rapid.IntRange(1, 40).Draw(t, "rows")
		k := rapid.IntRange(1, 12).Draw(t, "k")
		whole := rapid.Map(rapid.IntRange(-2, 2), func(v int) float32 { return float32(v) })
		base := rapid.SliceOfN(whole, rows*dim, rows*dim).Draw(t, "base")
		queries := rapid.IntRange(1, 5).Draw(t, "queries")
		query := rapid.SliceOfN(whole, queries*dim, queries*dim).Draw(t, "query")
		got, err := nearest.Search(matrix(pool, base, dim), matrix(pool, query, dim), k)
		require.NoError(t, err)
		require.Equal(t, bySorting(base, dim, query, k, false), got)
		got, err = nearest.SearchOthers(matrix(pool, base, dim), k)
		require.NoError(t, err)
		require.Equal(t, bySorting(base, dim, base, k, true), got)
	})
}

func bySorting(base []float32, dim int, query []float32, k int, others bool) *nearest.Neighbours {
	want := &nearest.Neighbours{K: k, Index: []int32{}, Similarity: []float32{}}
	for q := range len(query) / dim {
		type hit struct {
			index int32
			sim   float32
		}
		var hits []hit
		for i := range len(base) / dim {
			if others && i == q {
				continue
			}
			sum := float32(0)
			for j := range dim {
				sum += base[i*dim+j] * query[q*dim+j]
			}
			hits = append(hits, hit{int32(i), sum})
		}
		slices.SortStableFunc(hits, func(a, b hit) int { return cmp.Compare(b.sim, a.sim) })
		for r := range k {
			h := hit{-1, float32(math.Inf(-1))}
			if r < len(hits) {
				h = hits[r]
			}
			want.Index, want.Similarity = append(want.Index, h.index), append(want.Similarity, h.sim)
		}
	}
	return want
}

// TestSearchAcrossBlocks uses more rows than fit into one block of the search, with duplicates far apart.
func TestSearchAcrossBlocks(t *testing.T) {
	const rows, dim, k = 5000, 3, 4
	random := rand.New(rand.NewPCG(1, 2))
	base := make([]float32, rows*dim)
	for i := range base[:rows*dim/2] {
		base[i] = float32(random.IntN(41) - 20)
	}
	copy(base[rows*dim/2:], base[:rows*dim/2])
	one, three := kernels.NewPool(1), kernels.NewPool(3)
	defer one.Close()
	defer three.Close()
	got, err := nearest.SearchOthers(matrix(three, base, dim), k)
	require.NoError(t, err)
	same, err := nearest.SearchOthers(matrix(one, base, dim), k)
	require.NoError(t, err)
	require.Equal(t, got, same)
	for _, q := range []int{0, 511, 512, 2047, 2048, 2500, 4095, 4096, 4999} {
		want := bySorting(base, dim, base[q*dim:][:dim], k+1, false)
		at := slices.Index(want.Index, int32(q))
		if at < 0 {
			at = k
		}
		require.Equal(t, slices.Delete(want.Index, at, at+1), got.Index[q*k:][:k], "query %d", q)
	}
}

// TestSearchAcrossParts uses a base that is packed in two parts, with equal rows in both.
func TestSearchAcrossParts(t *testing.T) {
	const rows, dim, k = 1030, 4096, 3
	random := rand.New(rand.NewPCG(5, 6))
	base := make([]float32, rows*dim)
	for i := range base[:1025*dim] {
		base[i] = float32(random.IntN(5) - 2)
	}
	copy(base[1025*dim:], base[:5*dim])
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, q := range []int{0, 4, 900} {
		query := base[q*dim:][:dim]
		got, err := nearest.Search(matrix(pool, base, dim), matrix(pool, query, dim), k)
		require.NoError(t, err)
		require.Equal(t, bySorting(base, dim, query, k, false), got)
	}
	got, err := nearest.SearchOthers(matrix(pool, base, dim), 1)
	require.NoError(t, err)
	require.Equal(t, []int32{1025, 1026, 1027, 1028, 1029}, got.Index[:5])
	require.Equal(t, []int32{0, 1, 2, 3, 4}, got.Index[1025:])
}

func TestTies(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	same, query := matrix(pool, []float32{1, 1, 1, 1, 1, 1, 1, 1}, 2), matrix(pool, []float32{5, 5}, 2)
	labels := []int64{2, 1, 1, 2}
	pred, err := nearest.Classify(same, labels, 3, query, nearest.Config{K: 1})
	require.NoError(t, err)
	require.Equal(t, []int64{2}, pred, "the first of equal neighbors is the nearest")
	pred, err = nearest.Classify(same, labels, 3, query, nearest.Default)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, pred, "the lowest of equal classes wins")
	pred, err = nearest.LeaveOneOut(same, labels, 3, nearest.Config{K: 3})
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 2, 1}, pred, "a row does not vote for itself")
}

func TestExtremes(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	train, query := matrix(pool, []float32{1e-30, 0, 0, 1e30, 0, 0}, 2), matrix(pool, []float32{1e-20, 1e-21, 3e37, 3e38}, 2)
	labels := []int64{0, 1, 2}
	pred, err := nearest.Classify(train, labels, 3, query, nearest.Config{K: 2, Temperature: 1e-4})
	require.NoError(t, err)
	require.Equal(t, []int64{0, 1}, pred, "neither lengths nor weights may overflow")
}

func TestErrors(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	x, nan := matrix(pool, []float32{1, 2, 3, 4}, 2), float32(math.NaN())
	transposed := matrix(pool, []float32{1, 2, 3, 4}, 2)
	require.NoError(t, transposed.T())
	for _, c := range []struct {
		want         string
		train, query *tensor.Dense
		labels       []int64
		cfg          nearest.Config
	}{
		{"nearest: K is 0, must be at least 1 (nearest.Default has 20)", x, x, []int64{0, 1}, nearest.Config{}},
		{"nearest: temperature is NaN, must be finite and at least 0 (0 is majority vote)", x, x, []int64{0, 1}, nearest.Config{K: 1, Temperature: math.NaN()}},
		{"nearest: train has 2 rows but 3 labels, must be equally many", x, x, []int64{0, 1, 1}, nearest.Default},
		{"nearest: train: expected a contiguous row-major matrix, got strides [1 2] for shape (2, 2); materialize it first", transposed, x, []int64{0, 1}, nearest.Default},
		{"nearest: label of row 1 of train is 2, must be in [0, 2)", x, x, []int64{0, 2}, nearest.Default},
		{"nearest: cannot search the 20 nearest of 2 rows of 2 values for 1 rows of 3", x, matrix(pool, []float32{1, 2, 3}, 3), []int64{0, 1}, nearest.Default},
		{"nearest: query: a NaN in row 1, column 0; did the model that made the features diverge?", x, matrix(pool, []float32{1, 1, nan, 1}, 2), []int64{0, 1}, nearest.Default},
		{"nearest: query: dense: the tensor's engine is a tensor.StdEng; make the tensor with dense.Engine.Matrix, or get it from record.Dense", x, tensor.New(tensor.WithShape(2, 2), tensor.Of(tensor.Float32)), []int64{0, 1}, nearest.Default},
	} {
		_, err := nearest.Classify(c.train, c.labels, 2, c.query, c.cfg)
		require.EqualError(t, err, c.want)
	}
	_, err := nearest.LeaveOneOut(matrix(pool, []float32{1, 2}, 2), []int64{0}, 2, nearest.Default)
	require.EqualError(t, err, "nearest: leave-one-out needs at least 2 rows, got 1")
	_, err = nearest.Search(x, x, 0)
	require.ErrorContains(t, err, "cannot search the 0 nearest")
}

func BenchmarkSearch(b *testing.B) {
	const rows, queries, dim = 50000, 10000, 512
	pool := kernels.NewPool(0)
	defer pool.Close()
	random := rand.New(rand.NewPCG(3, 4))
	fill := func(n int) *tensor.Dense {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		unit, err := nearest.Normalize(matrix(pool, x, dim))
		require.NoError(b, err)
		return unit
	}
	base, query := fill(rows), fill(queries)
	for b.Loop() {
		_, err := nearest.Search(base, query, 20)
		require.NoError(b, err)
	}
	b.ReportMetric(2e-9*rows*queries*dim*float64(b.N)/b.Elapsed().Seconds(), "GFLOPS")
}
