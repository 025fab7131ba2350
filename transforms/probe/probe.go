// Package probe is the linear probe: a multinomial logistic regression on frozen features, the usual measure of how
// linearly separable a representation is.
//
// Features are standardised (mean 0 and standard deviation 1 of every column on the training images), and the weights
// minimise, by L-BFGS,
//
//	mean cross-entropy + |weights|² / (2·C·rows), intercepts not penalised,
//
// which is scikit-learn's make_pipeline(StandardScaler(), LogisticRegression(C=C)). (With two classes scikit-learn
// fits one logit instead of two, which corresponds to half the C here.) The strength C is chosen on a held-out fifth of
// the training images, never on test images.
//
// Results are the same from run to run and for any number of threads.
package probe

import (
	"fmt"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/knn"
)

// Config says how to fit.
type Config struct {
	// C holds the candidates for the inverse strength of the L2 penalty, in scikit-learn's unit, each above 0. A
	// single one is taken as it is.
	C []float64
	// MaxIterations bounds the L-BFGS iterations of every fit.
	MaxIterations int
	// Tolerance ends a fit when no component of the gradient of the objective above is larger.
	Tolerance float64
}

// Default suits a few hundred to some ten thousand images: six powers of ten for C.
var Default = Config{C: []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, 10}, MaxIterations: 300, Tolerance: 1e-5}

// holdOut is the denominator of the share of training images on which C is chosen.
const holdOut = 5

// Model is a fitted probe.
type Model struct {
	// Dim is the number of values of a feature vector and Classes the number of classes.
	Dim, Classes int
	// Mean and Scale, of length Dim, standardise: (x - Mean) * Scale.
	Mean, Scale []float32
	// Weight is [Classes, Dim+1] row-major, on standardised features; the last column holds the intercepts.
	Weight []float32
	// C is the chosen inverse strength of the penalty.
	C float64
	// Loss is the mean cross-entropy on the training images, in nats.
	Loss float64
	// Iterations is the number of L-BFGS iterations of the final fit. Config.MaxIterations of them mean that it may
	// not have converged.
	Iterations int
}

// Fit fits a probe on features, [len(labels), dim] row-major, with labels in [0, classes). If there are several
// candidates for C, every fifth image, in order of class and then of row, is held out, and the C with the highest
// accuracy there (the smallest of equal ones) is used to fit all images. Shapes that do not fit, labels out of range
// and features that are not finite are errors.
func Fit(features []float32, dim int, labels []int64, classes int, cfg Config, pool *kernels.Pool) (*Model, error) {
	if err := check(features, dim, labels, classes, cfg); err != nil {
		return nil, err
	}
	c := cfg.C[0]
	if len(cfg.C) > 1 {
		var err error
		if c, err = choose(features, dim, labels, classes, cfg, pool); err != nil {
			return nil, err
		}
	}
	return newProblem(features, dim, labels, classes, pool).fit(c, cfg)
}

// choose returns the best C on held-out images.
func choose(features []float32, dim int, labels []int64, classes int, cfg Config, pool *kernels.Pool) (float64, error) {
	rows := make([]int, len(labels))
	for i := range rows {
		rows[i] = i
	}
	slices.SortStableFunc(rows, func(a, b int) int { return int(labels[a] - labels[b]) })
	var x, heldX []float32
	var y, heldY []int64
	for at, i := range rows {
		if row := features[i*dim:][:dim]; at%holdOut == holdOut-1 {
			heldX, heldY = append(heldX, row...), append(heldY, labels[i])
		} else {
			x, y = append(x, row...), append(y, labels[i])
		}
	}
	candidates := slices.Sorted(slices.Values(cfg.C))
	best, highest := candidates[0], -1.0
	p := newProblem(x, dim, y, classes, pool)
	for _, c := range candidates { // each fit starts where the one before ended
		m, err := p.fit(c, cfg)
		if err != nil {
			return 0, err
		}
		pred, err := m.Predict(heldX, pool)
		if err != nil {
			return 0, err
		}
		if a := knn.Accuracy(pred, heldY); a > highest {
			best, highest = c, a
		}
	}
	return best, nil
}

// Predict returns the class with the highest probability (the lowest of equal ones) for every row of features,
// [rows, Dim] row-major.
func (m *Model) Predict(features []float32, pool *kernels.Pool) ([]int64, error) {
	if err := checkFeatures(features, m.Dim); err != nil {
		return nil, err
	}
	x := m.standardise(features)
	rows := len(features) / m.Dim
	logits := make([]float32, rows*m.Classes)
	pool.Gemm(false, true, rows, m.Classes, m.Dim+1, x, m.Dim+1, m.Weight, m.Dim+1, logits, m.Classes, false)
	pred := make([]int64, rows)
	for i := range pred {
		row := logits[i*m.Classes:][:m.Classes]
		for c, z := range row {
			if z > row[pred[i]] {
				pred[i] = int64(c)
			}
		}
	}
	return pred, nil
}

func check(features []float32, dim int, labels []int64, classes int, cfg Config) error {
	if err := checkFeatures(features, dim); err != nil {
		return err
	}
	if len(labels) == 0 || len(features) != len(labels)*dim {
		return fmt.Errorf("probe: %d rows of features for %d labels, must be as many and not none", len(features)/dim, len(labels))
	}
	for i, l := range labels {
		if l < 0 || l >= int64(classes) {
			return fmt.Errorf("probe: label of row %d is %d, must be in [0, %d)", i, l, classes)
		}
	}
	if len(cfg.C) == 0 || !(slices.Min(cfg.C) > 0) {
		return fmt.Errorf("probe: C is %v, must be one or more numbers above 0", cfg.C)
	}
	if cfg.MaxIterations < 1 || !(cfg.Tolerance > 0) {
		return fmt.Errorf("probe: at most %d iterations to tolerance %v, both must be above 0", cfg.MaxIterations, cfg.Tolerance)
	}
	return nil
}

func checkFeatures(x []float32, dim int) error {
	if dim < 1 || len(x)%dim != 0 {
		return fmt.Errorf("probe: %d values of features are no whole number of rows of %d", len(x), dim)
	}
	for i, v := range x {
		if v-v != 0 {
			return fmt.Errorf("probe: features have a %v in row %d, column %d; did the model that made them diverge?", v, i/dim, i%dim)
		}
	}
	return nil
}
