package probe_test

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/probe"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pairFn]())
	beam.RegisterDoFn(reflect.TypeFor[listsFn]())
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

// run runs the pipeline that build builds and returns its output batches.
func run(t *testing.T, runner string, build func(beam.Scope) beam.PCollection) ([]*record.Batch, error) {
	p, s := beam.NewPipelineWithRoot()
	batches := beamtest.Keep(s, build(s))
	_, err := beam.Run(t.Context(), runner, p)
	return batches(), err
}

func predictions(t *testing.T, batches []*record.Batch) []prediction {
	return beamtest.Rows(t, batches, func(a, b prediction) int { return cmp.Compare(a.ID, b.ID) })
}

// golden holds scikit-learn's results; see package logistic.
type golden struct {
	Dim, Classes int
	C, Loss      float64
	Train, Test  []float32
	Labels, Pred []int64
	Weight, Last []float64
}

func load(t *testing.T) (cases []golden) {
	data, err := os.ReadFile("../../tensorops/logistic/testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &cases))
	return cases
}

func (g golden) train() (rows []point) {
	for i, l := range g.Labels {
		rows = append(rows, point{int64(i), l, g.Train[i*g.Dim : (i+1)*g.Dim]})
	}
	return rows
}

func (g golden) test() (rows []point) {
	for i := range g.Pred {
		rows = append(rows, point{int64(i), 9, g.Test[i*g.Dim : (i+1)*g.Dim]})
	}
	return rows
}

func (g golden) config() probe.Config { return probe.Config{C: []float64{g.C}} }

// want returns the expected predictions.
func (g golden) want() (rows []prediction) {
	for i, p := range g.Pred {
		rows = append(rows, prediction{int64(i), 9, p})
	}
	return rows
}

// cut splits rows into batches of a size, in ascending or descending order.
func cut(s beam.Scope, rows []point, size int, reverse bool) beam.PCollection {
	batches := beamtest.Split(rows, size)
	if reverse {
		slices.Reverse(batches)
	}
	return beamtest.Create(s, batches)
}

// TestAgainstScikitLearn fits on one runner and predicts on the other, passing the classifier through a file. The
// classifier is bitwise identical for any batching.
func TestAgainstScikitLearn(t *testing.T) {
	for _, g := range load(t) {
		path := filepath.Join(t.TempDir(), "classifier.parquet")
		var first []byte
		for i, runner := range []string{"prism", "direct", "direct"} {
			batches, err := run(t, runner, func(s beam.Scope) beam.PCollection {
				fitted := probe.Fit(s, cut(s, g.train(), []int{30, 7, 1000}[i], i == 1), g.config())
				arrowio.WriteParquet(s, path, fitted)
				return fitted
			})
			require.NoError(t, err)
			require.Len(t, batches, 1)
			classes, err := record.Rows[weights](batches[0])
			require.NoError(t, err)
			require.Len(t, classes, g.Classes)
			for j, c := range classes {
				require.EqualValues(t, j, c.Class)
				require.Equal(t, g.C, c.C)
				require.InDelta(t, g.Loss, c.Loss, 2e-5)
				for k, w := range append(c.Weight, c.Intercept) {
					require.InDelta(t, g.Weight[j*(g.Dim+1)+k], w, 2e-3)
				}
			}
			data, err := record.Encode(batches[0])
			require.NoError(t, err)
			if first == nil {
				first = data
			}
			require.Equal(t, first, data, "bit by bit")

			other := []string{"direct", "prism", "prism"}[i]
			batches, err = run(t, other, func(s beam.Scope) beam.PCollection {
				return probe.Predict(s, cut(s, g.test(), 25, i == 1), arrowio.ReadParquet(s, path), probe.PredictConfig{})
			})
			require.NoError(t, err)
			require.Equal(t, g.want(), predictions(t, batches))
		}
	}
}

// pairFn emits KV elements of labeled rows and rows to classify.
type pairFn struct{ Train, Test []point }

func (fn *pairFn) ProcessElement(_ []byte, emit func(train, test *record.Batch)) {
	emit(record.Of(fn.Train), record.Of(fn.Test))
	emit(record.Of(fn.Train), record.Of([]point{}))
}

func TestClassifySets(t *testing.T) {
	for _, g := range load(t) {
		for _, runner := range []string{"prism", "direct"} {
			batches, err := run(t, runner, func(s beam.Scope) beam.PCollection {
				return probe.ClassifySets(s, beam.ParDo(s, &pairFn{g.train(), g.test()}, beam.Impulse(s)), g.config())
			})
			require.NoError(t, err)
			require.Len(t, batches, 2)
			require.Equal(t, g.want(), predictions(t, batches))
		}
	}
}

// listsFn emits rows with lists of labels and rows to classify.
type listsFn struct{ Cases []golden }

type tagged struct {
	ID      int64     `arrow:"id"`
	Label   []int32   `arrow:"label"`
	Feature []float32 `arrow:"feature"`
}

func (fn *listsFn) ProcessElement(_ []byte, emit func(train, test *record.Batch)) {
	g := fn.Cases[0]
	var rows []tagged
	for _, p := range g.train() {
		set := []int32{2} // all have it
		if p.Label == 1 {
			set = append(set, 1)
		}
		rows = append(rows, tagged{p.ID, set, p.Feature})
	}
	emit(record.Of(rows), record.Of(g.test()))
	emit(record.Of(rows), record.Of(g.test()[:0]))
}

// TestLists compares the probabilities of rows with lists of labels with scikit-learn's.
func TestLists(t *testing.T) {
	two := slices.DeleteFunc(load(t), func(g golden) bool { return g.Classes != 2 })
	require.Len(t, two, 1)
	type scored struct {
		ID     int64     `arrow:"id"`
		Scores []float64 `arrow:"scores"`
	}
	for _, runner := range []string{"prism", "direct"} {
		batches, err := run(t, runner, func(s beam.Scope) beam.PCollection {
			return probe.ClassifySets(s, beam.ParDo(s, &listsFn{two}, beam.Impulse(s)), two[0].config())
		})
		require.NoError(t, err)
		require.Len(t, batches, 2)
		got := beamtest.Rows(t, batches, func(a, b scored) int { return cmp.Compare(a.ID, b.ID) })
		require.Len(t, got, len(two[0].Last))
		for i, r := range got {
			require.InDeltaSlice(t, []float64{0, two[0].Last[i], 1}, r.Scores, 1e-3)
		}
	}
}

func TestNothingToFit(t *testing.T) {
	empty := func(s beam.Scope) beam.PCollection {
		return probe.Fit(s, beam.Create(s, record.Of([]point{})), probe.Config{})
	}
	batches, err := run(t, "direct", empty)
	require.NoError(t, err)
	require.Empty(t, batches)
	_, err = run(t, "direct", func(s beam.Scope) beam.PCollection {
		return probe.Predict(s, beam.Create(s, record.Of([]point{{1, 1, []float32{1}}})), empty(s), probe.PredictConfig{})
	})
	require.ErrorContains(t, err, "probe: there is no classifier: it was fitted to no rows")
}

func TestErrors(t *testing.T) {
	rows := func(p ...point) func(beam.Scope) beam.PCollection {
		return func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of(p)) }
	}
	ok := rows(point{1, 0, []float32{1, 2}}, point{2, 1, []float32{3, 4}})
	fitted := func(s beam.Scope) beam.PCollection { return probe.Fit(s, ok(s), probe.Config{}) }
	class := func(c weights) func(beam.Scope) beam.PCollection {
		return func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of([]weights{c})) }
	}
	for want, train := range map[string]func(beam.Scope) beam.PCollection{
		"probe: the batch that begins with id=7, label=0: logistic: features have a NaN in row 0": rows(point{7, 0, []float32{float32(math.NaN()), 2}}),
		`column "label": the label of row 0 is -1`:                                                rows(point{1, -1, []float32{1, 2}}),
	} {
		for _, runner := range []string{"prism", "direct"} {
			_, err := run(t, runner, func(s beam.Scope) beam.PCollection { return probe.Fit(s, train(s), probe.Config{}) })
			require.ErrorContains(t, err, want)
		}
	}
	for want, c := range map[string][2]func(beam.Scope) beam.PCollection{
		"probe: the batch that begins with id=1, label=0: logistic: the features have 3 values, but the model was fitted on 2": {rows(point{1, 0, []float32{1, 2, 3}}), fitted},
		`the input has a column "predicted", which the output needs; rename it`:                                                {func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of([]prediction{{}})) }, fitted},
		`probe: record: expected one column "intercept"`:                                                                       {ok, ok},
		"the classifier has 1 weights, 2 means and 1 scales per class; use one that Fit returned":                              {ok, class(weights{Weight: []float32{1}, Mean: []float32{1, 2}, Scale: []float32{1}})},
	} {
		_, err := run(t, "direct", func(s beam.Scope) beam.PCollection {
			return probe.Predict(s, c[0](s), c[1](s), probe.PredictConfig{})
		})
		require.ErrorContains(t, err, want)
	}
	_, s := beam.NewPipelineWithRoot()
	require.Panics(t, func() { probe.Fit(s, beam.Impulse(s), probe.Config{C: []float64{0}}) })
}

// weights is one row of a classifier with numbered classes.
type weights struct {
	Class      int64     `arrow:"class"`
	Intercept  float32   `arrow:"intercept"`
	Weight     []float32 `arrow:"weight"`
	Mean       []float32 `arrow:"mean"`
	Scale      []float32 `arrow:"scale"`
	C          float64   `arrow:"c"`
	Loss       float64   `arrow:"loss"`
	Iterations int64     `arrow:"iterations"`
}
