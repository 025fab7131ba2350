package kmeans_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

var runners = []string{"prism", "direct"}

type feature struct {
	ID      int32     `arrow:"id"`
	Feature []float32 `arrow:"feature"`
}

type label struct {
	ID       int32   `arrow:"id"`
	Code     string  `arrow:"code"`
	Distance float32 `arrow:"distance"`
}

// cluster runs a clustering and returns its rows by id and clusters by code.
func cluster(t require.TestingT, runner string, cfg kmeans.Config, batches []*record.Batch) ([]label, []kmeans.Centroid, error) {
	p, s := beam.NewPipelineWithRoot()
	assigned, centroids := kmeans.Cluster(s, beamtest.Create(s, batches), cfg)
	rows, clusters := beamtest.Keep(s, assigned), beamtest.Keep(s, centroids)
	_, err := beam.Run(context.Background(), runner, p)
	return beamtest.Rows(t, rows(), func(a, b label) int { return int(a.ID) - int(b.ID) }),
		beamtest.Rows(t, clusters(), func(a, b kmeans.Centroid) int { return strings.Compare(a.Code, b.Code) }), err
}

// blobs draws n points around k centers.
func blobs(seed uint64, n, width, k int) []feature {
	r := rand.New(rand.NewPCG(seed, 1))
	centers := make([]float32, k*width)
	for i := range centers {
		centers[i] = float32(r.NormFloat64() * 2)
	}
	rows := make([]feature, n)
	for i := range rows {
		c := int(float64(k) * r.Float64() * r.Float64()) // of unequal sizes
		v := make([]float32, width)
		for j := range v {
			v[j] = centers[c*width+j] + float32(r.NormFloat64())
		}
		rows[i] = feature{int32(i), v}
	}
	return rows
}

type goldenFile struct {
	Vectors, Start [][]float32
	Runs           []struct {
		Iterations int
		Inertia    float64
		Labels     string
		Centroids  [][]float32
	}
	Floor       float64
	White, Unit [][]float32
}

func readGolden(t *testing.T) (g goldenFile, rows []feature) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	for i, v := range g.Vectors {
		rows = append(rows, feature{int32(i), v})
	}
	return g, rows
}

func TestAgainstScikitLearn(t *testing.T) {
	g, rows := readGolden(t)
	for i, run := range g.Runs {
		cfg := kmeans.Config{Column: "feature", Branching: []int{4}, Iterations: run.Iterations, Start: g.Start}
		labels, clusters, err := cluster(t, runners[i%2], cfg, beamtest.Split(rows, 77))
		require.NoError(t, err)
		var codes strings.Builder
		for _, l := range labels {
			codes.WriteString(l.Code)
		}
		require.Equal(t, run.Labels, codes.String())
		var inertia float64
		for j, c := range clusters {
			inertia += c.Inertia
			require.InDeltaSlice(t, run.Centroids[j], c.Centroid, 1e-4)
		}
		require.InEpsilon(t, run.Inertia, inertia, 1e-6)
		again, err := assign(t, runners[i%2], clusters, beamtest.Split(rows, 50))
		require.NoError(t, err)
		require.Equal(t, labels, again, "bit by bit")
	}
}

func TestWhitenAgainstNumpy(t *testing.T) {
	g, rows := readGolden(t)
	for i, runner := range runners {
		cfg := kmeans.WhitenConfig{Column: "feature", Floor: g.Floor, Normalize: i == 1}
		p, s := beam.NewPipelineWithRoot()
		out := beamtest.Keep(s, kmeans.Whiten(s, beamtest.Create(s, beamtest.Split(rows, 50)), cfg))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		want := [][][]float32{g.White, g.Unit}[i]
		got := beamtest.Rows(t, out(), func(a, b feature) int { return int(a.ID - b.ID) })
		require.Len(t, got, len(want))
		for r := range got {
			require.InDeltaSlice(t, want[r], got[r].Feature, 1e-5)
		}
	}
}

// check verifies the invariants of every result: complete, consistent sizes,
// distances and inertias; the limits or, without them, nearest centroids.
func check(t require.TestingT, cfg kmeans.Config, rows []feature, labels []label, clusters []kmeans.Centroid) {
	byCode := map[string]kmeans.Centroid{}
	size, inertia := map[string]int64{}, map[string]float64{}
	for _, c := range clusters {
		byCode[c.Code] = c
	}
	require.Len(t, labels, len(rows))
	square := func(x, c []float32) (sum float64) {
		for i := range x {
			d := float64(x[i]) - float64(c[i])
			sum += d * d
		}
		return sum
	}
	for i, l := range labels {
		require.Equal(t, rows[i].ID, l.ID)
		require.Len(t, l.Code, len(cfg.Branching))
		for level := range cfg.Branching {
			code := l.Code[:level+1]
			size[code]++
			d := square(rows[i].Feature, byCode[code].Centroid)
			inertia[code] += d
			if code == l.Code {
				require.InDelta(t, math.Sqrt(d), l.Distance, 1e-4*(1+math.Sqrt(d)))
			}
			if cfg.Balance == 0 {
				for _, c := range clusters {
					if len(c.Code) == len(code) && c.Code[:level] == code[:level] {
						require.LessOrEqual(t, d, square(rows[i].Feature, c.Centroid)*(1+1e-3)+1e-3)
					}
				}
			}
		}
	}
	require.Len(t, clusters, len(size))
	for _, c := range clusters {
		require.Equal(t, size[c.Code], c.Size, c.Code)
		require.InDelta(t, inertia[c.Code], c.Inertia, 1e-6*(1+inertia[c.Code]))
	}
	if cfg.Balance == 0 {
		return
	}
	parents := map[string]int64{"": int64(len(rows))}
	for level, k := range cfg.Branching {
		next := map[string]int64{}
		for parent, n := range parents {
			share := float64(n) / float64(k)
			for _, digit := range "0123456789abcdefghijklmnopqrstuvwxyz"[:k] {
				code := parent + string(digit)
				require.LessOrEqual(t, size[code], int64(max(math.Floor(share*cfg.Balance), math.Ceil(share))), "level %d code %s of %d rows", level, code, n)
				require.GreaterOrEqual(t, size[code], int64(min(math.Ceil(share/cfg.Balance), math.Floor(share))), "level %d code %s of %d rows", level, code, n)
				next[code] = size[code]
			}
		}
		parents = next
	}
}

// TestSameOnEveryRunner compares runs bit by bit over runners, orders of the
// batches and ways to split rows into batches.
func TestSameOnEveryRunner(t *testing.T) {
	rows := blobs(1, 900, 6, 9)
	for _, balance := range []float64{0, 1.2} {
		cfg := kmeans.Config{Column: "feature", Branching: []int{3, 4}, Iterations: 3, Seed: 7, Balance: balance}
		var first []label
		var firstClusters []kmeans.Centroid
		for i, runner := range []string{"prism", "direct", "direct"} {
			batches := beamtest.Split(rows, []int{100, 37, 900}[i])
			if i > 0 {
				slices.Reverse(batches)
			}
			labels, clusters, err := cluster(t, runner, cfg, batches)
			require.NoError(t, err)
			check(t, cfg, rows, labels, clusters)
			if i == 0 {
				first, firstClusters = labels, clusters
				continue
			}
			require.Equal(t, first, labels)
			require.Equal(t, firstClusters, clusters)
		}
		other := cfg
		other.Seed++
		labels, _, err := cluster(t, "direct", other, beamtest.Split(rows, 100))
		require.NoError(t, err)
		require.NotEqual(t, first, labels, "the seed must matter")
	}
}

// TestProperties draws small, awkward data sets: duplicates, fewer distinct rows
// than clusters, empty batches, tight limits.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		width := rapid.IntRange(1, 3).Draw(t, "width")
		distinct := rapid.IntRange(1, 20).Draw(t, "distinct values")
		scale := rapid.SampledFrom([]float32{1, 1e-6, 1e6}).Draw(t, "scale")
		rows := make([]feature, n)
		for i := range rows {
			v := make([]float32, width)
			for j := range v {
				v[j] = scale * float32(rapid.IntRange(0, distinct-1).Draw(t, "value"))
			}
			rows[i] = feature{int32(i), v}
		}
		cfg := kmeans.Config{
			Column:     "feature",
			Branching:  rapid.SampledFrom([][]int{{2}, {5}, {2, 3}}).Draw(t, "branching"),
			Iterations: rapid.IntRange(1, 4).Draw(t, "iterations"),
			Seed:       rapid.Uint64().Draw(t, "seed"),
			Balance:    rapid.SampledFrom([]float64{0, 1, 1.1, 2}).Draw(t, "balance"),
		}
		batches := append(beamtest.Split(rows, rapid.IntRange(1, 30).Draw(t, "batch")), record.Of([]feature{}))
		labels, clusters, err := cluster(t, "direct", cfg, batches)
		require.NoError(t, err)
		if scale == 1 {
			check(t, cfg, rows, labels, clusters)
		}
		require.Len(t, labels, n)
	})
}

func TestFewRows(t *testing.T) {
	for _, runner := range runners {
		cfg := kmeans.Config{Column: "feature", Branching: []int{4, 2}, Iterations: 1}
		labels, clusters, err := cluster(t, runner, cfg, nil)
		require.NoError(t, err)
		require.Empty(t, labels)
		require.Empty(t, clusters)

		labels, clusters, err = cluster(t, runner, cfg, beamtest.Split([]feature{{5, []float32{1, 2}}}, 1))
		require.NoError(t, err)
		require.Equal(t, []label{{5, "00", 0}}, labels)
		require.Equal(t, []kmeans.Centroid{{"0", 1, 0, []float32{1, 2}}, {"00", 1, 0, []float32{1, 2}}}, clusters)
	}
}

// TestEmptyClustersAreReseeded puts three of four initial centroids far away, where
// they get no rows.
func TestEmptyClustersAreReseeded(t *testing.T) {
	var rows []feature
	for i := range 40 {
		rows = append(rows, feature{int32(i), []float32{float32(i%4) * 10, float32(i) / 1000}})
	}
	cfg := kmeans.Config{
		Column: "feature", Branching: []int{4}, Iterations: 8,
		Start: [][]float32{{0, 0}, {-500, 1}, {-500, 2}, {-500, 3}},
	}
	_, clusters, err := cluster(t, "prism", cfg, beamtest.Split(rows, 7))
	require.NoError(t, err)
	require.Len(t, clusters, 4)
	for _, c := range clusters {
		require.Positive(t, c.Size)
	}
}

func TestBadData(t *testing.T) {
	good := feature{1, []float32{1, 2}}
	cfg := kmeans.Config{Column: "feature", Branching: []int{2}, Iterations: 1}
	for _, c := range []struct {
		batches []*record.Batch
		want    string
	}{
		{beamtest.Split([]feature{good, {77, []float32{0, float32(math.NaN())}}}, 2), `kmeans: column "feature": row 1 of a batch (id=77) holds NaN at index 1; values must be numbers of magnitude up to 1e+15`},
		{beamtest.Split([]feature{good, {78, []float32{float32(math.Inf(-1)), 0}}}, 2), `(id=78) holds -Inf at index 0`},
		{beamtest.Split([]feature{good, {79, []float32{2e15, 0}}}, 2), `(id=79) holds 2e+15 at index 0`},
		{beamtest.Split([]feature{good, {3, []float32{1, 2, 3}}}, 1), `kmeans: column "feature": vectors have different widths [2 3]; all must be equally long`},
		{[]*record.Batch{record.Of([]label{{}})}, `kmeans: record: expected one column "feature"`},
		{[]*record.Batch{record.Of([]struct {
			Code    string    `arrow:"code"`
			Feature []float32 `arrow:"feature"`
		}{{"x", []float32{1}}})}, `kmeans: the input has a column "code", which the output needs; rename it`},
	} {
		_, _, err := cluster(t, "direct", cfg, c.batches)
		require.ErrorContains(t, err, c.want)
	}
	cfg.Start = [][]float32{{1}, {2}}
	_, _, err := cluster(t, "direct", cfg, beamtest.Split([]feature{good}, 1))
	require.ErrorContains(t, err, `kmeans: Start[0] has width 1; the vectors of column "feature" have 2`)
	same := beamtest.Split([]feature{good, good, good, good}, 4)
	_, _, err = cluster(t, "direct", kmeans.Config{Column: "feature", Branching: []int{2}, Iterations: 1, Balance: 1}, append(same, same...))
	require.ErrorContains(t, err, "kmeans: two batches hold the same rows")
}

func TestValidate(t *testing.T) {
	ok := kmeans.Config{Column: "x", Branching: []int{2, 36}, Iterations: 1, Balance: 1}
	require.NoError(t, ok.Validate())
	require.EqualError(t, kmeans.Config{Balance: 0.5, Branching: []int{1, 37}, Start: [][]float32{}}.Validate(), strings.Join([]string{
		"kmeans: Column is empty; name the column of vectors",
		"kmeans: Branching[0] is 1; it must be 2 to 36",
		"kmeans: Branching[1] is 37; it must be 2 to 36",
		"kmeans: Iterations is 0; it must be at least 1",
		"kmeans: Balance is 0.5; it must be 0 (no limits) or at least 1",
		"kmeans: Start has 0 points; Branching[0] asks for 1",
	}, "\n"))
	require.ErrorContains(t, kmeans.Config{}.Validate(), "kmeans: Branching is empty")
	require.ErrorContains(t, kmeans.Config{Branching: []int{36, 36, 36, 36, 36}}.Validate(), "makes more than 1048576 clusters")
	require.EqualError(t, kmeans.WhitenConfig{}.Validate(), "kmeans: Column is empty; name the column of vectors\nkmeans: Floor is 0; it must be above 0 and at most 1")
}

func TestWhitenFewRows(t *testing.T) {
	for _, rows := range [][]feature{nil, {{1, []float32{3, 4}}}, {{1, []float32{3, 4}}, {2, []float32{3, 4}}}} {
		p, s := beam.NewPipelineWithRoot()
		out := beamtest.Keep(s, kmeans.Whiten(s, beamtest.Create(s, beamtest.Split(rows, 1)), kmeans.WhitenConfig{Column: "feature", Floor: 1e-3, Normalize: true}))
		_, err := beam.Run(t.Context(), "direct", p)
		require.NoError(t, err)
		got := beamtest.Rows(t, out(), func(a, b feature) int { return int(a.ID - b.ID) })
		require.Len(t, got, len(rows))
		for _, r := range got {
			require.Equal(t, []float32{0, 0}, r.Feature)
		}
	}
}

// BenchmarkCluster reports the wall time of whole jobs.
func BenchmarkCluster(b *testing.B) {
	for _, c := range []struct {
		rows, width int
		branching   []int
		balance     float64
	}{{9000, 64, []int{4, 4}, 0}, {9000, 64, []int{4, 4}, 1.25}, {100_000, 128, []int{4}, 1.25}} {
		batches := beamtest.Split(blobs(1, c.rows, c.width, 20), 1000)
		for _, runner := range runners {
			b.Run(fmt.Sprintf("%dx%d/%v/%v/%s", c.rows, c.width, c.branching, c.balance, runner), func(b *testing.B) {
				cfg := kmeans.Config{Column: "feature", Branching: c.branching, Iterations: 15, Balance: c.balance}
				for b.Loop() {
					_, _, err := cluster(b, runner, cfg, batches)
					require.NoError(b, err)
				}
			})
		}
	}
}
