package evaluate

import (
	"fmt"
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gonum.org/v1/gonum/stat"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

var (
	fewShot1  = fewShot("fewshot1", 1)
	fewShot5  = fewShot("fewshot5", 5)
	fewShot10 = fewShot("fewshot10", 10)
)

// fewShot is the mean accuracy of episodes with few images of each class; see nearest.Episodes.
func fewShot(name string, shots int) Protocol {
	cfg := nearest.DefaultEpisodes
	cfg.Shots = shots
	return Protocol{
		Name: name, Scorer: route.KNN, Episodic: true, OneClass: true,
		Summary: fmt.Sprintf("mean accuracy of %d episodes of %d classes with %d training images each, by the nearest mean", cfg.Episodes, cfg.Ways, shots),
		measure: func(s beam.Scope, sets beam.PCollection) beam.PCollection {
			return beam.ParDo(s, &fewShotFn{Protocol: name, Episodes: cfg}, sets)
		},
	}
}

// fewShotFn measures episodes for one pair.
type fewShotFn struct {
	Protocol string
	Episodes nearest.Episodes
}

func (fn *fewShotFn) ProcessElement(train, test *record.Batch, emit func(*record.Batch)) error {
	pairs, err := record.Rows[route.Pair](record.New(test.NewSlice(0, 1)))
	if err != nil || pairs[0].Metric == tasks.MeanAP { // episodes are of images with one class
		return err
	}
	type row struct {
		Label int64 `arrow:"label"`
	}
	var x [2]*tensor.Dense
	var labels [2][]int64
	for i, b := range []*record.Batch{train, test} {
		if x[i], err = record.Dense(b, "feature"); err != nil {
			return err
		}
		rows, err := record.Rows[row](b)
		if err != nil {
			return err
		}
		for _, r := range rows {
			labels[i] = append(labels[i], r.Label)
		}
	}
	var accuracies []float64
	err = compute.Run(func(*kernels.Pool) (err error) {
		accuracies, err = nearest.FewShot(x[0], labels[0], x[1], labels[1], fn.Episodes)
		return err
	})
	if err != nil {
		return fmt.Errorf("evaluate: task %s: %w", pairs[0].Task, err)
	}
	mean, std := stat.MeanStdDev(accuracies, nil)
	emit(record.Of([]Row{{
		Task: pairs[0].Task, Metric: tasks.Top1, Protocol: fn.Protocol, Subnet: pairs[0].Subnet, Norm: pairs[0].Norm,
		Value: 100 * mean, Interval: 100 * 1.96 * std / math.Sqrt(float64(len(accuracies))), TestImages: test.NumRows(),
		Scores: accuracies,
	}}))
	return nil
}
