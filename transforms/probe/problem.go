package probe

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// problem is the objective on one training set. Matrix products are float32; parameters, probabilities' logarithms and
// sums over images are float64.
type problem struct {
	pool   *kernels.Pool
	loss   *nn.CrossEntropy
	model  Model     // all but what depends on C
	x      []float32 // [rows, dim+1] standardised, the last column 1
	labels []int64

	weight  []float32 // [classes, dim+1], at rounded
	logits  []float32 // [rows, classes]
	errors  []float32 // [rows, classes], the loss's gradient by the logits
	product []float32 // [classes, dim+1], and by the weights

	c         float64
	at        []float64 // the parameters, [classes, dim+1], that the following belong to
	entropy   float64   // mean cross-entropy
	objective float64
	gradient  []float64 // of the objective
	valid     bool
}

func newProblem(features []float32, dim int, labels []int64, classes int, pool *kernels.Pool) *problem {
	p := &problem{pool: pool, labels: labels, model: Model{Dim: dim, Classes: classes}}
	p.model.Mean, p.model.Scale = moments(features, dim)
	p.x = p.model.standardise(features)
	params := classes * (dim + 1)
	p.weight, p.product = make([]float32, params), make([]float32, params)
	p.at, p.gradient = make([]float64, params), make([]float64, params)
	p.logits, p.errors = make([]float32, len(labels)*classes), make([]float32, len(labels)*classes)
	p.loss = nn.NewCrossEntropy(len(labels), classes, 0, pool)
	return p
}

// fit minimises the objective, starting from the parameters of the fit before (at first zeros).
func (p *problem) fit(c float64, cfg Config) (*Model, error) {
	p.c, p.valid = c, false
	result, err := optimize.Minimize(
		optimize.Problem{
			Func: func(w []float64) float64 { p.evaluate(w); return p.objective },
			Grad: func(grad, w []float64) { p.evaluate(w); copy(grad, p.gradient) },
		},
		slices.Clone(p.at),
		&optimize.Settings{
			GradientThreshold: cfg.Tolerance,
			MajorIterations:   cfg.MaxIterations,
			Converger:         &optimize.FunctionConverge{Relative: 1e-7, Iterations: 5},
		},
		// Its bisection halves an interval until nothing is left of it. optimize.MoreThuente forgets that it has bracketed
		// the minimum and can walk for ever where float32's rounding hides the slope.
		&optimize.LBFGS{Linesearcher: &optimize.Bisection{}},
	)
	// A line search without progress has met the rounding of float32: the minimum is reached as closely as can be.
	if err != nil && !errors.Is(err, optimize.ErrLinesearcherFailure) && !errors.Is(err, optimize.ErrNoProgress) {
		return nil, fmt.Errorf("probe: L-BFGS with C = %v: %w", c, err)
	}
	p.evaluate(result.X)
	m := p.model
	m.C, m.Loss, m.Iterations, m.Weight = c, p.entropy, result.MajorIterations, slices.Clone(p.weight)
	return &m, nil
}

// evaluate computes the objective and its gradient, unless they are those of the last call.
func (p *problem) evaluate(w []float64) {
	if p.valid && slices.Equal(p.at, w) {
		return
	}
	copy(p.at, w)
	p.valid = true
	rows, classes, width := len(p.labels), p.model.Classes, p.model.Dim+1
	for i, v := range w {
		p.weight[i] = float32(v)
	}
	p.pool.Gemm(false, true, rows, classes, width, p.x, width, p.weight, width, p.logits, classes, false)
	clear(p.errors)
	p.entropy = p.loss.Loss(p.logits, p.labels, p.errors, 1)
	p.pool.Gemm(true, false, classes, width, rows, p.errors, classes, p.x, width, p.product, width, false)

	squares, strength := 0.0, 1/(p.c*float64(rows))
	for i, v := range w {
		p.gradient[i] = float64(p.product[i])
		if i%width != width-1 {
			p.gradient[i] += strength * v
			squares += v * v
		}
	}
	p.objective = p.entropy + strength*squares/2
}

// moments returns the mean of every column and the factor that brings its standard deviation to 1. Columns that do not
// vary by more than float32's rounding keep the factor 1.
func moments(x []float32, dim int) (mean, scale []float32) {
	rows := float64(len(x) / dim)
	sums, squares := make([]float64, dim), make([]float64, dim)
	for i, v := range x {
		sums[i%dim] += float64(v)
	}
	for i, v := range x {
		d := float64(v) - sums[i%dim]/rows
		squares[i%dim] += d * d
	}
	mean, scale = make([]float32, dim), make([]float32, dim)
	for j := range dim {
		m, deviation := sums[j]/rows, math.Sqrt(squares[j]/rows)
		mean[j], scale[j] = float32(m), 1
		if deviation > 1e-6*math.Abs(m) {
			scale[j] = float32(1 / deviation)
		}
	}
	return mean, scale
}

// standardise returns features as [rows, Dim+1], with a column of ones for the intercepts.
func (m *Model) standardise(features []float32) []float32 {
	x := make([]float32, 0, len(features)/m.Dim*(m.Dim+1))
	for at := 0; at < len(features); at += m.Dim {
		for j, v := range features[at:][:m.Dim] {
			x = append(x, (v-m.Mean[j])*m.Scale[j])
		}
		x = append(x, 1)
	}
	return x
}
