package route

import (
	"math"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// LogME scores by the logarithm of the evidence for a linear model of the labels, per image and averaged over the classes
// (You et al., arXiv 2102.11005). It has no standard error.
const LogME = "logme"

func init() { RegisterScorer(LogME, logME{}) }

type logME struct{}

func (logME) Summary() string { return "logarithm of the evidence for a linear model of the labels" }

func (logME) Score(pool *kernels.Pool, set *labeled.Set, _ string) (score, stdErr float64, err error) {
	s, err := decompose(pool, set, false)
	if err != nil {
		return 0, 0, err
	}
	dim := set.Features.Shape()[1]
	sizes := make([]float64, s.classes)
	for _, classes := range s.sets {
		for _, c := range classes {
			sizes[c]++
		}
	}
	present := 0.
	for c, size := range sizes {
		if size > 0 {
			score, present = score+s.evidence(c, dim, size), present+1
		}
	}
	return score / present, 0, nil
}

// evidence maximizes the evidence for one class by MacKay's fixed point (algorithm 3 of the paper).
func (s *spectrum) evidence(class, dim int, size float64) float64 {
	n, alpha, beta := float64(s.n), 1., 1.
	if s.rank == 0 { // of noise alone
		beta = n / (size + 1e-5)
		return (math.Log(beta) - beta*size/n - math.Log(2*math.Pi)) / 2
	}
	projected := make([]float64, s.rank) // squares of the targets' projections
	rest := size
	for j := range projected {
		projected[j] = s.targets[j*s.classes+class] * s.targets[j*s.classes+class]
		rest -= projected[j]
	}
	evidence := 0.
	for range 11 {
		ratio := alpha / beta
		gamma, m, residual := 0., 0., rest
		for j, square := range s.squares {
			gamma += square / (square + ratio)
			m += square * projected[j] / ((ratio + square) * (ratio + square))
			residual += projected[j] / ((1 + square/ratio) * (1 + square/ratio))
		}
		alpha, beta = gamma/(m+1e-5), (n-gamma)/(residual+1e-5)
		logs := float64(dim-s.rank) * math.Log(alpha)
		for _, square := range s.squares {
			logs += math.Log(alpha + beta*square)
		}
		evidence = (float64(dim)*math.Log(alpha) + n*math.Log(beta) - logs - beta*residual - alpha*m - n*math.Log(2*math.Pi)) / 2 / n
		if math.Abs(alpha/beta-ratio)/ratio <= 1e-3 {
			break
		}
	}
	return evidence
}
