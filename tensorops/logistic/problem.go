package logistic

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/optimize"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// problem is the objective on one training set. Matrix products are float32; parameters, log probabilities and sums
// over images are float64.
type problem struct {
	engine dense.Engine
	loss   *nn.CrossEntropy
	model  Model         // the fields that do not depend on C
	x      *tensor.Dense // [rows, dim+1] standardized, the last column 1
	labels []int64

	weight  operand // [classes, dim+1], at as float32
	logits  operand // [rows, classes]
	errors  operand // [rows, classes], gradient of the loss with respect to the logits
	product operand // [classes, dim+1], gradient of the loss with respect to the weights

	c         float64
	at        []float64 // [classes, dim+1], the parameters where the fields below were evaluated
	entropy   float64   // mean cross-entropy
	objective float64
	gradient  []float64 // of the objective
	valid     bool
	failed    error // of a matrix product
}

// operand is a matrix and its transpose, with shared values.
type operand struct {
	data              []float32
	plain, transposed *tensor.Dense
}

func newOperand(e dense.Engine, rows, cols int) operand {
	data := make([]float32, rows*cols)
	transposed := e.Matrix(data, rows, cols)
	if err := transposed.T(); err != nil {
		panic(err) // T fails only on invalid axes
	}
	return operand{data, e.Matrix(data, rows, cols), transposed}
}

func newProblem(e dense.Engine, features matrix, labels []int64, classes int) *problem {
	rows, width := features.rows, features.cols+1
	p := &problem{engine: e, labels: labels, model: Model{Dim: features.cols, Classes: classes}}
	p.model.Mean, p.model.Scale = moments(features)
	p.x = e.Matrix(p.model.standardize(features), rows, width)
	p.weight, p.product = newOperand(e, classes, width), newOperand(e, classes, width)
	p.logits, p.errors = newOperand(e, rows, classes), newOperand(e, rows, classes)
	p.at, p.gradient = make([]float64, classes*width), make([]float64, classes*width)
	p.loss = nn.NewCrossEntropy(rows, classes, 0, e.Pool())
	return p
}

// fit minimizes the objective, starting from the parameters of the previous fit (initially zeros).
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
		// Bisection always terminates. optimize.MoreThuente forgets that it has bracketed the minimum and can loop forever
		// where float32 rounding hides the slope.
		&optimize.LBFGS{Linesearcher: &optimize.Bisection{}},
	)
	// A line search without progress has reached the precision of float32: this is as close to the minimum as possible.
	if err != nil && !errors.Is(err, optimize.ErrLinesearcherFailure) && !errors.Is(err, optimize.ErrNoProgress) {
		return nil, fmt.Errorf("logistic: L-BFGS with C = %v: %w", c, err)
	}
	p.evaluate(result.X)
	if p.failed != nil {
		return nil, fmt.Errorf("logistic: %w", p.failed)
	}
	m := p.model
	m.C, m.Loss, m.Iterations = c, p.entropy, result.MajorIterations
	m.Weight = p.engine.Matrix(slices.Clone(p.weight.data), m.Classes, m.Dim+1)
	return &m, nil
}

// evaluate computes the objective and its gradient, unless they are those of the last call.
func (p *problem) evaluate(w []float64) {
	if p.valid && slices.Equal(p.at, w) {
		return
	}
	copy(p.at, w)
	p.valid = true
	for i, v := range w {
		p.weight.data[i] = float32(v)
	}
	p.multiply(p.x, p.weight.transposed, p.logits.plain)
	clear(p.errors.data)
	p.entropy = p.loss.Loss(p.logits.data, p.labels, p.errors.data, 1)
	p.multiply(p.errors.transposed, p.x, p.product.plain)

	squares, strength, width := 0.0, 1/(p.c*float64(len(p.labels))), p.model.Dim+1
	for i, v := range w {
		p.gradient[i] = float64(p.product.data[i])
		if i%width != width-1 {
			p.gradient[i] += strength * v
			squares += v * v
		}
	}
	p.objective = p.entropy + strength*squares/2
}

func (p *problem) multiply(a, b, out *tensor.Dense) {
	if err := p.engine.MatMul(a, b, out); err != nil {
		p.failed = err
	}
}

// moments returns the mean of every column and the factor that scales its standard deviation to 1. The factor is 1 for
// columns that vary no more than float32 rounding.
func moments(features matrix) (mean, scale []float32) {
	x, dim, rows := features.data, features.cols, float64(features.rows)
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

// standardize returns standardized features, [rows, Dim+1] with a column of ones for the intercepts.
func (m *Model) standardize(features matrix) []float32 {
	x := make([]float32, 0, features.rows*(m.Dim+1))
	for i := range features.rows {
		for j, v := range features.row(i) {
			x = append(x, (v-m.Mean[j])*m.Scale[j])
		}
		x = append(x, 1)
	}
	return x
}
