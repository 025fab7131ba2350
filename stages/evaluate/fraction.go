package evaluate

import (
	"math"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/probe"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

var (
	linear1  = fraction("linear1pct", .01, "logistic regression on 1 % of the training images of every class, at least one")
	linear10 = fraction("linear10pct", .1, "logistic regression on 10 % of the training images of every class, at least one")
)

// fraction is Linear with few labels: it sees only a part of the training images.
func fraction(name string, of float64, summary string) Protocol {
	return classifier(name, route.Linear, summary, func(s beam.Scope, sets beam.PCollection) beam.PCollection {
		return probe.ClassifySets(s, beam.ParDo(s, &fractionFn{Fraction: of}, sets), probe.Config{})
	})
}

// fractionFn leaves a fraction of the training images, the same ones for all nets.
type fractionFn struct{ Fraction float64 }

func (fn *fractionFn) ProcessElement(train, test *record.Batch, emit func(train, test *record.Batch)) error {
	labels, err := firstLabels(train)
	if err != nil {
		return err
	}
	part, err := record.Take(train, sample(labels, fn.Fraction))
	if err == nil {
		emit(part, test)
	}
	return err
}

// firstLabels returns the classes of images; of those that may have several, the first.
func firstLabels(b *record.Batch) (labels []int64, err error) {
	type single struct {
		Label int64 `arrow:"label"`
	}
	type several struct {
		Label []int32 `arrow:"label"`
	}
	if pair, err := record.Rows[route.Pair](record.New(b.NewSlice(0, 1))); err != nil {
		return nil, err
	} else if pair[0].Metric == tasks.MeanAP {
		rows, err := record.Rows[several](b)
		for _, r := range rows {
			labels = append(labels, int64(r.Label[0]))
		}
		return labels, err
	}
	rows, err := record.Rows[single](b)
	for _, r := range rows {
		labels = append(labels, r.Label)
	}
	return labels, err
}

// sample returns the sorted indices of a random fraction of the rows of every class, rounded, and at least one.
func sample(labels []int64, fraction float64) (rows []int) {
	byClass := map[int64][]int{}
	for i, l := range labels {
		byClass[l] = append(byClass[l], i)
	}
	for l, all := range byClass {
		n := max(1, int(math.Round(fraction*float64(len(all)))))
		for _, at := range rng.New(0, rng.Sample, uint64(l)).Perm(len(all))[:n] {
			rows = append(rows, all[at])
		}
	}
	slices.Sort(rows)
	return rows
}
