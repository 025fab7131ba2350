package route

import (
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Chosen pairs every task with the net that Route's first scorer chose for it.
//
// in: *record.Batch of Score, as Route returns them. out: *record.Batch of Pair, one row per batch.
func Chosen(s beam.Scope, scores beam.PCollection, of []tasks.Task) beam.PCollection {
	return beam.ParDo(s.Scope("route.Chosen"), &chosenFn{Tasks: of}, scores)
}

type chosenFn struct{ Tasks []tasks.Task }

func (fn *chosenFn) ProcessElement(b *record.Batch, emit func(*record.Batch)) error {
	scores, err := record.Rows[Score](b)
	if err != nil {
		return err
	}
	at := slices.IndexFunc(scores, func(s Score) bool { return s.Rank == 1 })
	of := slices.IndexFunc(fn.Tasks, func(t tasks.Task) bool { return at >= 0 && t.Name == scores[at].Task })
	if of < 0 {
		return nil
	}
	t, best := fn.Tasks[of], scores[at]
	emit(record.Of([]Pair{{
		Task: t.Name, Metric: t.Metric, Train: t.Train, Test: t.Test, Subnet: best.Subnet,
		Candidate: true, Level: best.Level, Model: best.Model, Norm: best.Norm, Scorer: best.Scorer, Score: best.Score,
	}}))
	return nil
}
