package logistic

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// Config configures [Fit].
type Config struct {
	// C lists candidates for the inverse strength of the L2 penalty, scikit-learn's C, each above 0. A single one is used
	// as is.
	C []float64
	// MaxIterations limits the L-BFGS iterations per fit.
	MaxIterations int
	// Tolerance stops a fit when no component of the objective's gradient exceeds it.
	Tolerance float64
}

// Default suits a few hundred to tens of thousands of images. Its candidates for C are six powers of ten.
var Default = Config{C: []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, 10}, MaxIterations: 300, Tolerance: 1e-5}

// holdOut is the denominator of the fraction of training images that are held out to choose C.
const holdOut = 5

// leastHeld is the number of held-out images below which they do not choose C: most candidates would be equally good.
const leastHeld = 10

// Model is a fitted regression.
type Model struct {
	// Dim is the length of a feature vector and Classes the number of classes.
	Dim, Classes int
	// Mean and Scale, of length Dim, standardize features: (x - Mean) * Scale.
	Mean, Scale []float32
	// Weight is [Classes, Dim+1], for standardized features; the last column holds the intercepts.
	Weight *tensor.Dense
	// C is the chosen inverse penalty strength.
	C float64
	// Loss is the mean cross-entropy on the training images, in nats.
	Loss float64
	// Iterations is the number of L-BFGS iterations of the final fit. If it equals Config.MaxIterations, the fit may not
	// have converged.
	Iterations int
}

// Fit fits a model to features, [len(labels), dim], with labels in [0, classes). With several candidates for C, it
// holds out every fifth image, sorted by class and then row, and fits all images with the C of highest accuracy there
// (on ties, the smallest). If these are fewer than 10, it takes the C nearest 1, scikit-learn's default. Mismatched
// shapes, labels out of range and non-finite features are errors.
func Fit(features *tensor.Dense, labels []int64, classes int, cfg Config) (*Model, error) {
	e, x, err := check(features)
	if err != nil {
		return nil, err
	}
	if err := checkLabels(x.rows, labels, classes); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	return fit(e, x, labels, classes, cfg, func(logits []float32, labels []int64) float64 {
		return metrics.Accuracy(metrics.Top(logits, classes), labels)
	})
}

// fit fits a model with the C that is best on held-out images.
func fit(e dense.Engine, x matrix, labels []int64, classes int, cfg Config, better func(logits []float32, labels []int64) float64) (m *Model, err error) {
	c := cfg.C[0]
	if len(cfg.C) > 1 {
		if c, err = choose(e, x, labels, classes, cfg, better); err != nil {
			return nil, err
		}
	}
	return newProblem(e, x, labels, classes).fit(c, cfg)
}

// Probabilities fits a regression to whether rows of features have a class, with the C of the highest average precision on
// held-out rows, and returns the probability that rows of query have it: 0 or 1 if no row or every row of features has.
func Probabilities(features *tensor.Dense, has []bool, query *tensor.Dense, cfg Config) ([]float32, error) {
	e, x, err := check(features)
	if err != nil {
		return nil, err
	}
	_, q, err := check(query)
	if err != nil {
		return nil, err
	}
	if q.cols != x.cols {
		return nil, fmt.Errorf("logistic: the rows to classify have %d values, but the others have %d", q.cols, x.cols)
	}
	labels, sum := make([]int64, len(has)), 0
	for i, h := range has {
		if h {
			labels[i] = 1
			sum++
		}
	}
	if err := checkLabels(x.rows, labels, 2); err != nil {
		return nil, err
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	probabilities := make([]float32, q.rows)
	if sum == 0 || sum == len(has) {
		for i := range probabilities {
			probabilities[i] = float32(min(sum, 1))
		}
		return probabilities, nil
	}
	m, err := fit(e, x, labels, 2, cfg, func(logits []float32, labels []int64) float64 {
		return metrics.Ranked{Classes: 1, Scores: differences(logits), Has: labels}.MeanAP()
	})
	if err != nil {
		return nil, err
	}
	logits, err := m.logits(e, q)
	if err != nil {
		return nil, err
	}
	for i, z := range differences(logits) {
		probabilities[i] = float32(1 / (1 + math.Exp(-float64(z))))
	}
	return probabilities, nil
}

// differences returns by how much the second of two classes is more likely.
func differences(logits []float32) []float32 {
	d := make([]float32, len(logits)/2)
	for i := range d {
		d[i] = logits[2*i+1] - logits[2*i]
	}
	return d
}

// choose returns the C that is best on held-out images.
func choose(e dense.Engine, features matrix, labels []int64, classes int, cfg Config, better func(logits []float32, labels []int64) float64) (float64, error) {
	rows := make([]int, len(labels))
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int { return int(labels[a] - labels[b]) })
	kept, held := matrix{cols: features.cols}, matrix{cols: features.cols}
	var y, heldY []int64
	for at, i := range rows {
		if row := features.row(i); at%holdOut == holdOut-1 {
			held.add(row)
			heldY = append(heldY, labels[i])
		} else {
			kept.add(row)
			y = append(y, labels[i])
		}
	}
	candidates := slices.Sorted(slices.Values(cfg.C))
	if len(heldY) < leastHeld {
		return slices.MinFunc(candidates, func(a, b float64) int { return cmp.Compare(math.Abs(math.Log(a)), math.Abs(math.Log(b))) }), nil
	}
	best, highest := candidates[0], -1.0
	p := newProblem(e, kept, y, classes)
	for _, c := range candidates { // each fit starts where the previous one ended
		m, err := p.fit(c, cfg)
		if err != nil {
			return 0, err
		}
		logits, err := m.logits(e, held)
		if err != nil {
			return 0, err
		}
		if a := better(logits, heldY); a > highest {
			best, highest = c, a
		}
	}
	return best, nil
}

// Predict returns the most probable class (on ties, the lowest) for every row of features, [rows, Dim].
func (m *Model) Predict(features *tensor.Dense) ([]int64, error) {
	e, x, err := check(features)
	if err != nil {
		return nil, err
	}
	if x.cols != m.Dim {
		return nil, fmt.Errorf("logistic: the features have %d values, but the model was fitted on %d", x.cols, m.Dim)
	}
	logits, err := m.logits(e, x)
	if err != nil {
		return nil, err
	}
	return metrics.Top(logits, m.Classes), nil
}

// logits returns the scores of all classes, [rows, Classes].
func (m *Model) logits(e dense.Engine, features matrix) ([]float32, error) {
	logits := make([]float32, features.rows*m.Classes)
	if features.rows == 0 {
		return logits, nil
	}
	weight := m.Weight.ShallowClone()
	if err := weight.T(); err != nil {
		return nil, fmt.Errorf("logistic: %w", err)
	}
	x := e.Matrix(m.standardize(features), features.rows, m.Dim+1)
	if err := e.MatMul(x, weight, e.Matrix(logits, features.rows, m.Classes)); err != nil {
		return nil, fmt.Errorf("logistic: %w", err)
	}
	return logits, nil
}

// Validate returns an error if a field is out of range.
func (c Config) Validate() error {
	if len(c.C) == 0 || !(slices.Min(c.C) > 0) {
		return fmt.Errorf("logistic: C is %v, must be one or more numbers above 0", c.C)
	}
	if c.MaxIterations < 1 || !(c.Tolerance > 0) {
		return fmt.Errorf("logistic: MaxIterations is %d and Tolerance %v, both must be above 0", c.MaxIterations, c.Tolerance)
	}
	return nil
}

func checkLabels(rows int, labels []int64, classes int) error {
	if rows != len(labels) {
		return fmt.Errorf("logistic: %d rows of features but %d labels, must be equally many", rows, len(labels))
	}
	for i, l := range labels {
		if l < 0 || l >= int64(classes) {
			return fmt.Errorf("logistic: label of row %d is %d, must be in [0, %d)", i, l, classes)
		}
	}
	return nil
}

// matrix holds the rows of a tensor; unlike a tensor it may be empty.
type matrix struct {
	data       []float32
	rows, cols int
}

func (m matrix) row(i int) []float32 { return m.data[i*m.cols:][:m.cols] }

func (m *matrix) add(row []float32) {
	m.data = append(m.data, row...)
	m.rows++
}

// check returns the engine and the rows of features, after checking that all are finite.
func check(features *tensor.Dense) (dense.Engine, matrix, error) {
	e, err := dense.Of(features)
	if err != nil {
		return e, matrix{}, fmt.Errorf("logistic: %w", err)
	}
	data, rows, cols, err := dense.Rows(features)
	if err != nil {
		return e, matrix{}, fmt.Errorf("logistic: features: %w", err)
	}
	for i, v := range data {
		if v-v != 0 {
			return e, matrix{}, fmt.Errorf("logistic: features have a %v in row %d, column %d; did the model that made them diverge?", v, i/cols, i%cols)
		}
	}
	return e, matrix{data, rows, cols}, nil
}
