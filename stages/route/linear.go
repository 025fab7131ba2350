package route

import (
	"slices"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Linear scores by the leave-one-out accuracy of a linear classifier: ridge regression of the labels, 1 for a class that an
// image has, in closed form, with the best of a few regularizations.
const Linear = "linear"

func init() { RegisterScorer(Linear, ridge{}) }

type ridge struct{}

func (ridge) Summary() string { return "leave-one-out accuracy of a linear classifier" }

// ridges are the regularizations to try, as fractions of the features' mean variance per direction.
var ridges = []float64{1e-4, 1e-3, 1e-2, 1e-1, 1}

func (ridge) Score(pool *kernels.Pool, set *labeled.Set, metric string) (score, stdErr float64, err error) {
	s, err := decompose(pool, set, true)
	if err != nil {
		return 0, 0, err
	}
	measure := func(scores []float32) (score, stdErr float64) {
		if metric == tasks.MeanAP {
			return ranked(scores, s.sets, s.classes)
		}
		return accuracy(metric, metrics.Top(scores, s.classes), set.Labels)
	}
	if s.rank == 0 {
		score, stdErr = measure(make([]float32, s.n*s.classes))
		return score, stdErr, nil
	}
	total := 0.
	for _, v := range s.squares {
		total += v
	}
	for i, r := range ridges {
		scores, err := s.leaveOneOut(r*total/float64(s.rank), dense.NewEngine(pool))
		if err != nil {
			return 0, 0, err
		}
		found, e := measure(scores)
		if i == 0 || found > score {
			score, stdErr = found, e
		}
	}
	return score, stdErr, nil
}

// leaveOneOut predicts the labels of each image, [n, classes], by ridge regression on the others. With the hat matrix
// H = 1/n + U·diag(squares/(squares+penalty))·Uᵀ, the prediction for image i without it is
// (H·Y - diag(H)·Y)ᵢ / (1 - Hᵢᵢ).
func (s *spectrum) leaveOneOut(penalty float64, engine dense.Engine) ([]float32, error) {
	shrunk, weights := make([]float64, s.rank), make([]float32, s.rank*s.classes)
	for j, v := range s.squares {
		shrunk[j] = v / (v + penalty)
		for c := range s.classes {
			weights[j*s.classes+c] = float32(shrunk[j] * s.targets[j*s.classes+c])
		}
	}
	mean := make([]float64, s.classes)
	for _, classes := range s.sets {
		for _, c := range classes {
			mean[c] += 1 / float64(s.n)
		}
	}
	fitted := engine.Matrix(make([]float32, s.n*s.classes), s.n, s.classes)
	if err := engine.MatMul(s.u, engine.Matrix(weights, s.rank, s.classes), fitted); err != nil {
		return nil, err
	}
	u, values := s.u.Data().([]float32), fitted.Data().([]float32)
	for i, classes := range s.sets {
		own := 1 / float64(s.n)
		for j, v := range u[i*s.rank:][:s.rank] {
			own += float64(v) * float64(v) * shrunk[j]
		}
		rest := max(1-own, 1e-9) // above 0, but for rounding
		row := values[i*s.classes:][:s.classes]
		for c, v := range row {
			value := float64(v) + mean[c]
			if slices.Contains(classes, int64(c)) {
				value -= own
			}
			row[c] = float32(value / rest)
		}
	}
	return values, nil
}
