package knn_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/knn"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterFunction(results)
}

func TestMain(m *testing.M) { ptest.Main(m) }

// results unpacks batches so that passert can compare them.
func results(b *record.Batch, emit func(knn.Result)) error {
	rows, err := record.Rows[knn.Result](b)
	for _, r := range rows {
		emit(r)
	}
	return err
}

// TestScore scores two keys whose rows arrive shuffled and in mixed batches.
func TestScore(t *testing.T) {
	g := load(t)
	cfg := knn.Config{K: g.K, Temperature: g.Cases[1].Temperature}
	var rows []knn.Row
	add := func(key, split string, x []float32, dim int, labels []int64) {
		for i, l := range labels {
			rows = append(rows, knn.Row{Key: key, Split: split, Index: int64(i), Label: l, Feature: x[i*dim:][:dim]})
		}
	}
	add("cars/7", knn.Train, g.Train, g.Dim, g.Labels)
	add("cars/7", knn.Test, g.Query, g.Dim, g.Truth)
	add("food/7", knn.Train, []float32{1, 0, 1, 0, 1, 1e-4}, 2, []int64{3, 3, 3})
	rand.New(rand.NewPCG(5, 6)).Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })

	pool := kernels.NewPool(2)
	defer pool.Close()
	loo := g.Cases[1].LeaveOneOut
	want := []any{
		knn.Result{Key: "cars/7", Split: knn.Train, Images: 150, Top1: knn.Accuracy(loo, g.Labels), MeanPerClass: knn.MeanPerClass(loo, g.Labels, g.Classes)},
		knn.Result{Key: "cars/7", Split: knn.Test, Images: 60, Top1: g.Cases[1].Accuracy, MeanPerClass: knn.MeanPerClass(g.Cases[1].Pred, g.Truth, g.Classes)},
		knn.Result{Key: "food/7", Split: knn.Train, Images: 3, Top1: 1, MeanPerClass: 1},
	}

	p, s := beam.NewPipelineWithRoot()
	// Vectors of one batch are equally long, so the two keys mix in time but not in a batch.
	var in []any
	var pending [2][]knn.Row
	for _, r := range rows {
		at := len(r.Feature) % 3 // 12 or 2 values
		pending[at/2] = append(pending[at/2], r)
		if len(pending[at/2]) == 37 {
			in = append(in, record.Of(pending[at/2]))
			pending[at/2] = nil
		}
	}
	for _, rest := range pending {
		in = append(in, record.Of(rest))
	}
	passert.Equals(s, beam.ParDo(s, results, knn.Score(s, cfg, beam.Create(s, in...))), want...)
	require.NoError(t, ptest.Run(p))
}

// TestScoreMixedBatch has two keys in each batch.
func TestScoreMixedBatch(t *testing.T) {
	row := func(key string, index, label int64, x, y float32) knn.Row {
		return knn.Row{Key: key, Split: knn.Train, Index: index, Label: label, Feature: []float32{x, y}}
	}
	p, s := beam.NewPipelineWithRoot()
	in := beam.Create(s,
		record.Of([]knn.Row{row("b", 0, 0, 1, 0), row("a", 0, 0, 1, 0), row("b", 1, 0, 1, .1)}),
		record.Of([]knn.Row{row("a", 1, 1, 1, 0), row("b", 2, 1, 0, 1), row("b", 3, 1, .1, 1)}))
	out := beam.ParDo(s, results, knn.Score(s, knn.Config{K: 1}, in))
	passert.Equals(s, out,
		knn.Result{Key: "a", Split: knn.Train, Images: 2},
		knn.Result{Key: "b", Split: knn.Train, Images: 4, Top1: 1, MeanPerClass: 1})
	require.NoError(t, ptest.Run(p))
}

func TestScoreErrors(t *testing.T) {
	ok := knn.Row{Key: "k", Split: knn.Train, Feature: []float32{1, 2}}
	edit := func(f func(*knn.Row)) knn.Row {
		r := ok
		f(&r)
		return r
	}
	type other struct {
		Key string `arrow:"key"`
	}
	for want, in := range map[string]*record.Batch{
		`knn.Score: key "k": fewer than 2 rows of the train split`:                    record.Of([]knn.Row{ok}),
		`knn.Score: key "k": row 4 has split "val", must be "train" or "test"`:        record.Of([]knn.Row{ok, edit(func(r *knn.Row) { r.Split, r.Index = "val", 4 })}),
		`knn.Score: key "k": row 4 of split "train" has label -1, must be at least 0`: record.Of([]knn.Row{ok, edit(func(r *knn.Row) { r.Label, r.Index = -1, 4 })}),
		`knn.Score: key "k": knn: features has a NaN in row 0, column 1`:              record.Of([]knn.Row{ok, edit(func(r *knn.Row) { r.Feature = []float32{1, float32(math.NaN())}; r.Index = -1 })}),
		`knn.Score: input: record: expected one column "split" of type utf8`:          record.Of([]other{{"k"}}),
	} {
		p, s := beam.NewPipelineWithRoot()
		knn.Score(s, knn.Default, beam.Create(s, in))
		_, err := beam.Run(context.Background(), "direct", p)
		require.ErrorContains(t, err, want)
	}
}
