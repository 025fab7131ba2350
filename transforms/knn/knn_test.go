package knn_test

import (
	"cmp"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/knn"
)

// golden is what testdata/make_golden.py writes.
type golden struct {
	Dim, Classes, K int
	Train, Query    []float32
	Labels, Truth   []int64
	Index           []int32
	Similarity      []float32
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

func TestAgainstScikitLearn(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	require.Len(t, g.Cases, 3)
	for _, c := range g.Cases {
		cfg := knn.Config{K: g.K, Temperature: c.Temperature}
		pred, err := knn.Classify(g.Train, g.Dim, g.Labels, g.Classes, g.Query, cfg, pool)
		require.NoError(t, err)
		require.Equal(t, c.Pred, pred)
		require.InDelta(t, c.Accuracy, knn.Accuracy(pred, g.Truth), 1e-12)
		require.InDelta(t, c.MeanPerClass, knn.MeanPerClass(pred, g.Truth, g.Classes), 1e-12)
		pred, err = knn.LeaveOneOut(g.Train, g.Dim, g.Labels, g.Classes, cfg, pool)
		require.NoError(t, err)
		require.Equal(t, c.LeaveOneOut, pred)
	}
}

func TestSearchAgainstNumpy(t *testing.T) {
	g := load(t)
	pool := kernels.NewPool(2)
	defer pool.Close()
	n := knn.Search(g.Train, g.Dim, g.Query, g.K, pool)
	require.Equal(t, g.Index, n.Index)
	require.InDeltaSlice(t, g.Similarity, n.Similarity, 1e-4)
}

// TestSearchProperties compares with sorting all products, on small integers: products are exact and ties abound.
func TestSearchProperties(t *testing.T) {
	pool := kernels.NewPool(3)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 9).Draw(t, "dim")
		rows := rapid.IntRange(0, 40).Draw(t, "rows")
		k := rapid.IntRange(1, 12).Draw(t, "k")
		whole := rapid.Map(rapid.IntRange(-2, 2), func(v int) float32 { return float32(v) })
		base := rapid.SliceOfN(whole, rows*dim, rows*dim).Draw(t, "base")
		queries := rapid.IntRange(0, 5).Draw(t, "queries")
		query := rapid.SliceOfN(whole, queries*dim, queries*dim).Draw(t, "query")
		require.Equal(t, bySorting(base, dim, query, k, false), knn.Search(base, dim, query, k, pool))
		require.Equal(t, bySorting(base, dim, base, k, true), knn.SearchOthers(base, dim, k, pool))
	})
}

func bySorting(base []float32, dim int, query []float32, k int, others bool) knn.Neighbours {
	want := knn.Neighbours{K: k, Index: []int32{}, Similarity: []float32{}}
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

// TestSearchAcrossBlocks uses more rows than one block of the search holds, with copies far apart.
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
	got := knn.SearchOthers(base, dim, k, three)
	require.Equal(t, got, knn.SearchOthers(base, dim, k, one))
	for _, q := range []int{0, 511, 512, 2047, 2048, 2500, 4095, 4096, 4999} {
		want := bySorting(base, dim, base[q*dim:][:dim], k+1, false)
		at := slices.Index(want.Index, int32(q))
		if at < 0 {
			at = k
		}
		require.Equal(t, slices.Delete(want.Index, at, at+1), got.Index[q*k:][:k], "query %d", q)
	}
}

func TestTies(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	same := []float32{1, 1, 1, 1, 1, 1, 1, 1}
	labels := []int64{2, 1, 1, 2}
	pred, err := knn.Classify(same, 2, labels, 3, []float32{5, 5}, knn.Config{K: 1}, pool)
	require.NoError(t, err)
	require.Equal(t, []int64{2}, pred, "the first of equal neighbours is the nearest")
	pred, err = knn.Classify(same, 2, labels, 3, []float32{5, 5}, knn.Default, pool)
	require.NoError(t, err)
	require.Equal(t, []int64{1}, pred, "the lowest of equal classes wins")
	pred, err = knn.LeaveOneOut(same, 2, labels, 3, knn.Config{K: 3}, pool)
	require.NoError(t, err)
	require.Equal(t, []int64{1, 2, 2, 1}, pred, "a row does not vote for itself")
}

func TestExtremes(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	train := []float32{1e-30, 0, 0, 1e30, 0, 0}
	labels := []int64{0, 1, 2}
	pred, err := knn.Classify(train, 2, labels, 3, []float32{1e-20, 1e-21, 3e37, 3e38}, knn.Config{K: 2, Temperature: 1e-4}, pool)
	require.NoError(t, err)
	require.Equal(t, []int64{0, 1}, pred, "neither lengths nor weights may overflow")
	pred, err = knn.Classify(train, 2, labels, 3, nil, knn.Default, pool)
	require.NoError(t, err)
	require.Empty(t, pred)
	require.Zero(t, knn.Accuracy(nil, nil))
	require.Zero(t, knn.MeanPerClass(nil, nil, 3))
	require.Equal(t, 0.75, knn.MeanPerClass([]int64{0, 0, 2}, []int64{0, 2, 2}, 4), "absent classes do not count")
}

func TestErrors(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	x, nan := []float32{1, 2, 3, 4}, float32(math.NaN())
	for _, c := range []struct {
		want   string
		train  []float32
		dim    int
		labels []int64
		query  []float32
		cfg    knn.Config
	}{
		{"knn: K is 0, must be at least 1 (knn.Default has 20)", x, 2, []int64{0, 1}, x, knn.Config{}},
		{"knn: temperature is NaN, must be finite and at least 0 (0 is majority vote)", x, 2, []int64{0, 1}, x, knn.Config{K: 1, Temperature: math.NaN()}},
		{"knn: train holds 4 values, no whole number of rows of 3", x, 3, []int64{0, 1}, x, knn.Default},
		{"knn: train has 2 rows of 2 values for 3 labels, must be as many and not none", x, 2, []int64{0, 1, 1}, x, knn.Default},
		{"knn: train has 0 rows of 2 values for 0 labels, must be as many and not none", nil, 2, nil, x, knn.Default},
		{"knn: label of row 1 of train is 2, must be in [0, 2)", x, 2, []int64{0, 2}, x, knn.Default},
		{"knn: query holds 3 values, no whole number of rows of 2", x, 2, []int64{0, 1}, x[:3], knn.Default},
		{"knn: query has a NaN in row 1, column 0; did the model that made the features diverge?", x, 2, []int64{0, 1}, []float32{1, 1, nan, 1}, knn.Default},
	} {
		_, err := knn.Classify(c.train, c.dim, c.labels, 2, c.query, c.cfg, pool)
		require.EqualError(t, err, c.want)
	}
	_, err := knn.LeaveOneOut(x, 4, []int64{0}, 2, knn.Default, pool)
	require.EqualError(t, err, "knn: leave-one-out needs at least 2 rows, got 1")
	require.Panics(t, func() { knn.Search(x, 3, x, 1, pool) })
	require.Panics(t, func() { knn.Search(x, 2, x, 0, pool) })
}

func BenchmarkSearch(b *testing.B) {
	const rows, queries, dim = 50000, 2000, 512
	random := rand.New(rand.NewPCG(3, 4))
	fill := func(n int) []float32 {
		x := make([]float32, n*dim)
		for i := range x {
			x[i] = float32(random.NormFloat64())
		}
		return knn.Normalize(x, dim)
	}
	base, query := fill(rows), fill(queries)
	pool := kernels.NewPool(0)
	defer pool.Close()
	for b.Loop() {
		knn.Search(base, dim, query, 20, pool)
	}
	b.ReportMetric(2e-9*rows*queries*dim*float64(b.N)/b.Elapsed().Seconds(), "GFLOPS")
}
