package knn_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/knn"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterType(reflect.TypeFor[point]())
}

func TestMain(m *testing.M) { ptest.Main(m) }

type point struct {
	ID      int64     `arrow:"id"`
	Label   int64     `arrow:"label"`
	Feature []float32 `arrow:"feature"`
}

type prediction struct {
	ID        int64 `arrow:"id"`
	Label     int64 `arrow:"label"`
	Predicted int64 `arrow:"predicted"`
}

type neighbor struct {
	ID         int64   `arrow:"id"`
	Rank       int32   `arrow:"rank"`
	Similarity float32 `arrow:"similarity"`
	Other      int64   `arrow:"neighbour_id"`
	Label      int64   `arrow:"neighbour_label"`
}

// run runs the pipeline that build builds and returns its output rows, sorted.
func run[T any](t *testing.T, runner string, build func(beam.Scope) beam.PCollection, compare func(a, b T) int) ([]T, error) {
	p, s := beam.NewPipelineWithRoot()
	batches := beamtest.Keep(s, build(s))
	if _, err := beam.Run(t.Context(), runner, p); err != nil {
		return nil, err
	}
	return beamtest.Rows(t, batches(), compare), nil
}

func byID(a, b prediction) int { return cmp.Compare(a.ID, b.ID) }

func byRank(a, b neighbor) int { return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Rank, b.Rank)) }

// golden holds scikit-learn's results; see package nearest.
type golden struct {
	Dim, Classes, K int
	Train, Query    []float32
	Labels, Truth   []int64
	Sets            [][]int64
	Shares          []float64
	SharesOfOthers  []float64 `json:"shares_of_others"`
	Cases           []struct {
		Temperature float64
		Pred        []int64
		LeaveOneOut []int64 `json:"leave_one_out"`
	}
}

func load(t *testing.T) (g golden, train, query []point) {
	data, err := os.ReadFile("../../tensorops/nearest/testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	of := func(x []float32, labels []int64) (rows []point) {
		for i, l := range labels {
			rows = append(rows, point{int64(i), l, x[i*g.Dim : (i+1)*g.Dim]})
		}
		return rows
	}
	return g, of(g.Train, g.Labels), of(g.Query, g.Truth)
}

// cut splits rows into batches of a size, in ascending or descending order.
func cut(s beam.Scope, rows []point, size int, reverse bool) beam.PCollection {
	batches := beamtest.Split(rows, size)
	if reverse {
		slices.Reverse(batches)
	}
	return beamtest.Create(s, batches)
}

// ways lists runners and batch sizes.
var ways = []struct {
	runner  string
	size    int
	reverse bool
}{{"prism", 40, false}, {"prism", 7, true}, {"direct", 1000, false}, {"direct", 13, true}}

func TestClassifyAgainstScikitLearn(t *testing.T) {
	g, train, query := load(t)
	for i, w := range ways {
		c := g.Cases[i%3]
		cfg := knn.Config{K: g.K, Temperature: c.Temperature}
		got, err := run(t, w.runner, func(s beam.Scope) beam.PCollection {
			return knn.Classify(s, cut(s, query, w.size, w.reverse), cut(s, train, w.size+1, w.reverse), cfg)
		}, byID)
		require.NoError(t, err)
		require.Len(t, got, len(query))
		for j, r := range got {
			require.Equal(t, prediction{int64(j), g.Truth[j], c.Pred[j]}, r)
		}
	}
}

// pairFn emits the golden set and a small one with other labels as KV elements.
type pairFn struct{ Train, Query []point }

func (fn *pairFn) ProcessElement(_ []byte, emit func(train, query *record.Batch)) {
	emit(record.Of(fn.Train), record.Of(fn.Query))
	emit(record.Of([]point{{0, 30, []float32{1, 0}}, {1, 20, []float32{0, 1}}}), record.Of([]point{{1000, 0, []float32{1, .1}}, {1001, 0, []float32{.1, 1}}}))
	emit(record.Of([]point{{0, 30, []float32{1, 0}}}), record.Of([]point{}))
}

func TestSets(t *testing.T) {
	g, train, query := load(t)
	c := g.Cases[1]
	cfg := knn.Config{K: g.K, Temperature: c.Temperature}
	for _, runner := range []string{"prism", "direct"} {
		got, err := run(t, runner, func(s beam.Scope) beam.PCollection {
			return knn.ClassifySets(s, beam.ParDo(s, &pairFn{train, query}, beam.Impulse(s)), cfg)
		}, byID)
		require.NoError(t, err)
		require.Len(t, got, len(query)+2)
		for j, r := range got[:len(query)] {
			require.Equal(t, prediction{int64(j), g.Truth[j], c.Pred[j]}, r)
		}
		require.Equal(t, []prediction{{1000, 0, 30}, {1001, 0, 20}}, got[len(query):])

		got, err = run(t, runner, func(s beam.Scope) beam.PCollection {
			pair := []point{{2000, 4, []float32{1, 1}}, {2001, 2, []float32{1, 2}}}
			return knn.LeaveOneOut(s, beam.Create(s, record.Of(train), record.Of(pair)), cfg)
		}, byID)
		require.NoError(t, err)
		require.Len(t, got, len(train)+2)
		for j, r := range got[:len(train)] {
			require.Equal(t, prediction{int64(j), g.Labels[j], c.LeaveOneOut[j]}, r)
		}
		require.Equal(t, []prediction{{2000, 4, 2}, {2001, 2, 4}}, got[len(train):])
	}
}

// tagged is a point with several classes, and scored what is found for it.
type tagged struct {
	ID      int64     `arrow:"id"`
	Label   []int32   `arrow:"label"`
	Feature []float32 `arrow:"feature"`
}

type scored struct {
	ID     int64     `arrow:"id"`
	Scores []float64 `arrow:"scores"`
}

// TestLists compares the scores of rows with lists of labels with the shares of the votes.
func TestLists(t *testing.T) {
	g, train, query := load(t)
	cfg := knn.Config{K: g.K, Temperature: .07}
	base, asked := make([]tagged, len(train)), make([]tagged, len(query))
	for i, p := range train {
		base[i] = tagged{p.ID, nil, p.Feature}
		for _, c := range g.Sets[i] {
			base[i].Label = append(base[i].Label, int32(c))
		}
	}
	for i, p := range query {
		asked[i] = tagged{p.ID, nil, p.Feature}
	}
	compare := func(a, b scored) int { return cmp.Compare(a.ID, b.ID) }
	check := func(want []float64, got []scored, err error) {
		require.NoError(t, err)
		require.Len(t, got, len(want)/g.Classes)
		for i, r := range got {
			require.InDeltaSlice(t, want[i*g.Classes:][:g.Classes], r.Scores, 2e-5)
		}
	}
	for _, runner := range []string{"prism", "direct"} {
		got, err := run(t, runner, func(s beam.Scope) beam.PCollection {
			return knn.Classify(s, beam.Create(s, record.Of(asked[:7]), record.Of(asked[7:]), record.Of(asked[:0])), beam.Create(s, record.Of(base)), cfg)
		}, compare)
		check(g.Shares, got, err)
		got, err = run(t, runner, func(s beam.Scope) beam.PCollection {
			return knn.LeaveOneOut(s, beam.Create(s, record.Of(base)), cfg)
		}, compare)
		check(g.SharesOfOthers, got, err)
	}
	base[3].Label[0] = -1
	_, err := run(t, "direct", func(s beam.Scope) beam.PCollection {
		return knn.LeaveOneOut(s, beam.Create(s, record.Of(base)), cfg)
	}, compare)
	require.ErrorContains(t, err, `column "label": a label of row 3 is -1`)
}

// TestSearch compares with sorting all similarities. Base holds every vector twice, so ties abound: they are ordered by
// id.
func TestSearch(t *testing.T) {
	_, train, query := load(t)
	for i := range train {
		train = append(train, point{int64(1000 + i), train[i].Label, train[i].Feature})
	}
	cosine := func(a, b []float32) float64 {
		var ab, aa, bb float64
		for i := range a {
			ab, aa, bb = ab+float64(a[i])*float64(b[i]), aa+float64(a[i])*float64(a[i]), bb+float64(b[i])*float64(b[i])
		}
		return ab / math.Sqrt(aa*bb)
	}
	const k = 5
	var want []neighbor
	for _, q := range query {
		sorted := slices.Clone(train)
		slices.SortStableFunc(sorted, func(a, b point) int { return cmp.Compare(cosine(q.Feature, b.Feature), cosine(q.Feature, a.Feature)) })
		for r, p := range sorted[:k] {
			want = append(want, neighbor{q.ID, int32(r), float32(cosine(q.Feature, p.Feature)), p.ID, p.Label})
		}
	}
	var first []neighbor
	for _, w := range ways {
		got, err := run(t, w.runner, func(s beam.Scope) beam.PCollection {
			return knn.Search(s, cut(s, query, w.size, w.reverse), cut(s, train, w.size+1, w.reverse), knn.SearchConfig{K: k})
		}, byRank)
		require.NoError(t, err)
		require.Len(t, got, len(want))
		for i, r := range got {
			require.InDelta(t, want[i].Similarity, r.Similarity, 1e-5)
			r.Similarity = want[i].Similarity
			require.Equal(t, want[i], r)
		}
		if first == nil {
			first = got
		}
		require.Equal(t, first, got, "bit by bit")
	}
}

// TestFewRows asks for more neighbors than there are rows, and has no rows at all.
func TestFewRows(t *testing.T) {
	query, base := []point{{1, 0, []float32{1, 0}}}, []point{{5, 2, []float32{0, 3}}, {6, 2, []float32{2, 0}}}
	for _, runner := range []string{"prism", "direct"} {
		for _, n := range []int{0, 1, 2} {
			got, err := run(t, runner, func(s beam.Scope) beam.PCollection {
				return knn.Search(s, cut(s, query, 9, false), cut(s, base[:n], 9, false), knn.SearchConfig{K: 3})
			}, byRank)
			require.NoError(t, err)
			require.Equal(t, [][]neighbor{nil, {{1, 0, 0, 5, 2}}, {{1, 0, 1, 6, 2}, {1, 1, 0, 5, 2}}}[n], got)
		}
	}
}

func TestErrors(t *testing.T) {
	at := func(rows ...point) func(beam.Scope) beam.PCollection {
		return func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of(rows)) }
	}
	ok := at(point{1, 0, []float32{1, 2}}, point{2, 1, []float32{3, 4}})
	nan, unlabeled := at(point{7, 0, []float32{float32(math.NaN()), 2}}), at(point{1, -1, []float32{1, 2}})
	named := func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of([]prediction{{1, 1, 1}})) }
	both := func(s beam.Scope) beam.PCollection {
		return beam.Create(s, record.Of([]point{{1, 0, []float32{1, 2}}}), record.Of([]prediction{{1, 1, 1}}))
	}
	for want, c := range map[string][2]func(beam.Scope) beam.PCollection{
		"knn: the batch that begins with id=7, label=0: nearest: query: a NaN in row 0, column 0":                               {nan, ok},
		"knn: the batch that begins with id=1, label=0: nearest: train: a NaN in row 0":                                         {ok, nan},
		`column "label": the label of row 0 is -1`:                                                                              {ok, unlabeled},
		"nearest: cannot search the 20 nearest of 2 rows of 2 values for 1 rows of 3":                                           {at(point{1, 0, []float32{1, 2, 3}}), ok},
		`the input has a column "predicted", which the output needs; rename it`:                                                 {named, ok},
		"knn: train: there are no labeled rows":                                                                                 {ok, at()},
		"record: batches have different columns":                                                                                {ok, both},
		`knn: train: record: expected one column "feature" of type fixed_size_list<float32> or list<float32>, got 0 in the col`: {ok, named},
	} {
		_, err := run(t, "direct", func(s beam.Scope) beam.PCollection { return knn.Classify(s, c[0](s), c[1](s), knn.Default) }, byID)
		require.ErrorContains(t, err, want)
	}
	for want, c := range map[string][2]func(beam.Scope) beam.PCollection{
		"knn: the batch that begins with id=7, label=0: a NaN in row 0":        {nan, ok},
		"knn: the batch that begins with id=1, label=0: base: a NaN in row 0":  {ok, nan},
		`the input has a column "rank", which the output needs; rename it`:     {func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of([]ranked{{1, []float32{1, 2}}})) }, ok},
		`knn: base: record: expected one column "feature" of type fixed_size_`: {ok, named},
	} {
		_, err := run(t, "direct", func(s beam.Scope) beam.PCollection {
			return knn.Search(s, c[0](s), c[1](s), knn.SearchConfig{K: 1})
		}, byRank)
		require.ErrorContains(t, err, want)
	}
	_, err := run(t, "direct", func(s beam.Scope) beam.PCollection {
		return knn.LeaveOneOut(s, at(point{1, 0, []float32{1, 2}})(s), knn.Default)
	}, byID)
	require.ErrorContains(t, err, "leave-one-out needs at least 2 rows, got 1")
	_, s := beam.NewPipelineWithRoot()
	require.PanicsWithError(t, "knn: K is 0, must be at least 1", func() { knn.Search(s, beam.Impulse(s), beam.Impulse(s), knn.SearchConfig{}) })
	require.Panics(t, func() { knn.Classify(s, beam.Impulse(s), beam.Impulse(s), knn.Config{}) })
}

type ranked struct {
	Rank    int32     `arrow:"rank"`
	Feature []float32 `arrow:"feature"`
}
