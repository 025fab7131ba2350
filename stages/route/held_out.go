package route

import (
	"errors"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// HeldOut scores by the accuracy of a weighted nearest-neighbor vote on a random half of the images, given the other
// half: cheaper than KNN by half, and less precise.
const HeldOut = "held-out"

func init() { RegisterScorer(HeldOut, heldOut{}) }

type heldOut struct{}

func (heldOut) Summary() string { return "accuracy of a nearest-neighbor vote on held-out images" }

func (heldOut) Score(pool *kernels.Pool, s *labeled.Set, metric string) (score, stdErr float64, err error) {
	base, query := halves(s.Labels)
	if len(query) == 0 {
		return 0, 0, errors.New("no class has two images; one of each must be held out")
	}
	known, err := rows(pool, s, base)
	if err != nil {
		return 0, 0, err
	}
	asked, err := rows(pool, s, query)
	if err != nil {
		return 0, 0, err
	}
	classes := len(s.Classes)
	if metric == tasks.MeanAP {
		scores, err := nearest.Scores(known.Features, tasks.Members(known.Labels, known.Sets), classes, asked.Features, nearest.Default)
		if err != nil {
			return 0, 0, err
		}
		score, stdErr = ranked(scores, tasks.Members(asked.Labels, asked.Sets), classes)
		return score, stdErr, nil
	}
	predicted, err := nearest.Classify(known.Features, known.Labels, classes, asked.Features, nearest.Default)
	if err != nil {
		return 0, 0, err
	}
	score, stdErr = accuracy(metric, predicted, asked.Labels)
	return score, stdErr, nil
}

// halves divides the images of each class at random into halves, the first of which has one more of an odd number.
func halves(labels []int64) (base, query []int) {
	seen := map[int64]int{}
	for _, i := range rng.New(0, rng.Sample).Perm(len(labels)) {
		if seen[labels[i]]%2 == 0 {
			base = append(base, i)
		} else {
			query = append(query, i)
		}
		seen[labels[i]]++
	}
	return base, query
}

// rows returns some images of a set.
func rows(pool *kernels.Pool, s *labeled.Set, of []int) (*labeled.Set, error) {
	data, _, dim, err := dense.Rows(s.Features)
	if err != nil {
		return nil, err
	}
	some := &labeled.Set{Classes: s.Classes}
	x := make([]float32, 0, len(of)*dim)
	for _, i := range of {
		x, some.Labels = append(x, data[i*dim:(i+1)*dim]...), append(some.Labels, s.Labels[i])
		if s.Sets != nil {
			some.Sets = append(some.Sets, s.Sets[i])
		}
	}
	some.Features = dense.NewEngine(pool).Matrix(x, len(of), dim)
	return some, nil
}
