package probe

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/logistic"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/internal/classes"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Class]())
	beam.RegisterDoFn(reflect.TypeFor[fitFn]())
	beam.RegisterDoFn(reflect.TypeFor[predictFn]())
	beam.RegisterDoFn(reflect.TypeFor[classifySetFn]())
}

// Config configures [Fit] and [ClassifySets].
type Config struct {
	// Column is the name of the column of vectors; empty means "feature".
	Column string
	// Label is the name of the column of labels; empty means "label".
	Label string
	// C lists candidates for the inverse strength of the L2 penalty, scikit-learn's C, each above 0. Of several, the one
	// that is best on a held-out fifth of the rows is used. Empty means six powers of ten, which suit a few hundred to
	// tens of thousands of rows.
	C []float64
	// MaxIterations limits the L-BFGS iterations per fit; 0 means 300.
	MaxIterations int
	// Tolerance stops a fit when no component of the objective's gradient exceeds it; 0 means 1e-5.
	Tolerance float64
}

func (c Config) column() string { return cmp.Or(c.Column, "feature") }

// Validate returns an error if a field is out of range.
func (c Config) Validate() error { return c.logistic().Validate() }

func (c Config) logistic() logistic.Config {
	d := logistic.Default
	if len(c.C) > 0 {
		d.C = c.C
	}
	d.MaxIterations, d.Tolerance = cmp.Or(c.MaxIterations, d.MaxIterations), cmp.Or(c.Tolerance, d.Tolerance)
	return d
}

// Class is one row of a classifier, without its first column, class, which holds the label of the class as in the
// training rows. The score of a class is
//
//	intercept + Σ weight·(x - mean)·scale
//
// and the class with the highest score is predicted.
type Class struct {
	Intercept float32   `arrow:"intercept"`
	Weight    []float32 `arrow:"weight"`
	// Mean and Scale standardize the features; they are the same for all classes.
	Mean  []float32 `arrow:"mean"`
	Scale []float32 `arrow:"scale"`
	// C is the chosen inverse penalty strength, Loss the mean cross-entropy on the training rows in nats, and Iterations
	// the number of L-BFGS iterations.
	C          float64 `arrow:"c"`
	Loss       float64 `arrow:"loss"`
	Iterations int64   `arrow:"iterations"`
}

const (
	predicted = "predicted"
	class     = "class"
)

// Fit fits a classifier to the labeled rows of train, a PCollection<*record.Batch>, and returns it as a
// PCollection<*record.Batch> of one batch: the rows [Class], sorted by label, with the column class in front. If train
// has no rows, the result is empty. Fit panics if cfg is invalid.
func Fit(s beam.Scope, train beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	s = s.Scope("probe.Fit")
	return beam.ParDo(s, &fitFn{Config: cfg}, beam.Impulse(s), beam.SideInput{Input: train}) // grouped by a key, they would be one record of Flink's
}

// PredictConfig configures [Predict].
type PredictConfig struct {
	// Column is the name of the column of vectors; empty means "feature".
	Column string
}

func (c PredictConfig) column() string { return cmp.Or(c.Column, "feature") }

// Predict predicts the class of every row of queries, a PCollection<*record.Batch>, with a classifier from [Fit]. It
// returns a PCollection<*record.Batch> with one batch per batch of queries: its columns except the vectors, and the
// column predicted, of the labels' type.
func Predict(s beam.Scope, queries, classifier beam.PCollection, cfg PredictConfig) beam.PCollection {
	return beam.ParDo(s.Scope("probe.Predict"), &predictFn{Config: cfg}, queries, beam.SideInput{Input: classifier})
}

// ClassifySets is [Fit] and [Predict] where each element of sets, a PCollection<KV<*record.Batch, *record.Batch>>, is
// an independent problem: the labeled rows and the rows to classify. It returns what Predict does or, if the labels are
// lists of class numbers, the probability of every class in the column scores. It panics if cfg is invalid.
func ClassifySets(s beam.Scope, sets beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	return beam.ParDo(s.Scope("probe.ClassifySets"), &classifySetFn{Config: cfg}, sets)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type fitFn struct{ Config Config }

func (fn *fitFn) ProcessElement(_ []byte, train func(**record.Batch) bool, emit func(*record.Batch)) error {
	whole, err := record.Gather(train, fn.Config.column())
	if err != nil || whole == nil {
		return wrap(err)
	}
	c, err := fit(whole, fn.Config)
	if err == nil {
		var out *record.Batch
		if out, err = c.batch(); err == nil {
			emit(out)
		}
	}
	return wrap(err)
}

type predictFn struct {
	Config PredictConfig

	classifier record.Side[*classifier]
}

func (fn *predictFn) ProcessElement(w beam.Window, queries *record.Batch, rows func(**record.Batch) bool) (*record.Batch, error) {
	c, err := fn.classifier.Get(w, func() (*classifier, error) { return read(rows) })
	if err != nil {
		return nil, wrap(err)
	}
	out, err := c.predict(queries, fn.Config.column())
	return out, wrap(err)
}

type classifySetFn struct{ Config Config }

func (fn *classifySetFn) ProcessElement(train, queries *record.Batch) (*record.Batch, error) {
	sets, number, lists, err := classes.Lists(train, cmp.Or(fn.Config.Label, "label"))
	if lists || err != nil {
		var out *record.Batch
		if err == nil {
			out, err = score(train, sets, number, queries, fn.Config)
		}
		return out, wrap(err)
	}
	c, err := fit(train, fn.Config)
	if err != nil {
		return nil, wrap(err)
	}
	out, err := c.predict(queries, fn.Config.column())
	return out, wrap(err)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("probe: %w", err)
}

// classifier is a fitted model with the labels of its classes.
type classifier struct {
	*logistic.Model
	classes *classes.Set
}

func fit(train *record.Batch, cfg Config) (*classifier, error) {
	column := cfg.column()
	set, labels, err := classes.Of(train, cmp.Or(cfg.Label, "label"))
	var x *tensor.Dense
	if err == nil {
		x, err = record.Dense(train, column)
	}
	c := &classifier{classes: set}
	if err == nil {
		err = compute.Run(func(*kernels.Pool) (err error) {
			c.Model, err = logistic.Fit(x, labels, set.Len(), cfg.logistic())
			return err
		})
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", record.Name(train, column), err)
	}
	return c, nil
}

// predict adds the predicted classes to a batch.
func (c *classifier) predict(b *record.Batch, column string) (*record.Batch, error) {
	err := record.Reserve(b, predicted)
	var found []int64
	if err == nil && b.NumRows() > 0 {
		var x *tensor.Dense
		if x, err = record.Dense(b, column); err == nil {
			err = compute.Run(func(*kernels.Pool) (err error) {
				found, err = c.Predict(x)
				return err
			})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", record.Name(b, column), err)
	}
	return record.With(record.Without(b, column), predicted, c.classes.Column(found)), nil
}

// score adds to queries the probability of each class, by a regression of its own on rows that may have several.
func score(train *record.Batch, sets [][]int64, number int, queries *record.Batch, cfg Config) (*record.Batch, error) {
	column := cfg.column()
	rest, scores := record.Without(queries, column), make([]float32, int(queries.NumRows())*number)
	if err := record.Reserve(queries, classes.Scores); err != nil {
		return nil, err
	}
	x, err := record.Dense(train, column)
	if err != nil {
		return nil, err
	}
	if queries.NumRows() == 0 {
		return classes.WithScores(rest, scores, number), nil
	}
	q, err := record.Dense(queries, column)
	if err != nil {
		return nil, err
	}
	err = compute.Run(func(*kernels.Pool) error {
		for c := range number {
			of, err := logistic.Probabilities(x, indicator(sets, int64(c)), q, cfg.logistic())
			if err != nil {
				return fmt.Errorf("%s: class %d: %w", record.Name(train, column), c, err)
			}
			for i, p := range of {
				scores[i*number+c] = p
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return classes.WithScores(rest, scores, number), nil
}

// indicator returns which rows have a class.
func indicator(sets [][]int64, class int64) []bool {
	has := make([]bool, len(sets))
	for i, set := range sets {
		has[i] = slices.Contains(set, class)
	}
	return has
}

// batch returns the classifier as rows.
func (c *classifier) batch() (*record.Batch, error) {
	rows, numbers := make([]Class, c.Classes), make([]int64, c.Classes)
	for i := range rows {
		weight := c.Weight.Data().([]float32)[i*(c.Dim+1):][:c.Dim+1]
		rows[i] = Class{
			Intercept: weight[c.Dim], Weight: weight[:c.Dim], Mean: c.Mean, Scale: c.Scale,
			C: c.C, Loss: c.Loss, Iterations: int64(c.Iterations),
		}
		numbers[i] = int64(i)
	}
	return record.With(record.Of(rows), class, c.classes.Column(numbers)), nil
}

// read returns the classifier from the rows that batch wrote.
func read(batches func(**record.Batch) bool) (*classifier, error) {
	var parts []*record.Batch
	var b *record.Batch
	for batches(&b) {
		parts = append(parts, b)
	}
	if len(parts) == 0 {
		return nil, errors.New("there is no classifier: it was fitted to no rows")
	}
	whole, err := record.Concat(parts)
	if err != nil {
		return nil, err
	}
	rows, err := record.Rows[Class](whole)
	if err != nil {
		return nil, err
	}
	set, numbers, err := classes.Of(whole, class)
	if err != nil {
		return nil, err
	}
	if set.Len() != len(rows) || len(rows) == 0 {
		return nil, fmt.Errorf("the classifier has %d rows for %d classes; use one that Fit returned", len(rows), set.Len())
	}
	dim := len(rows[0].Weight)
	if len(rows[0].Mean) != dim || len(rows[0].Scale) != dim {
		return nil, fmt.Errorf("the classifier has %d weights, %d means and %d scales per class; use one that Fit returned", dim, len(rows[0].Mean), len(rows[0].Scale))
	}
	weight := make([]float32, len(rows)*(dim+1))
	for i, r := range rows {
		into := weight[int(numbers[i])*(dim+1):][:dim+1]
		copy(into, r.Weight)
		into[dim] = r.Intercept
	}
	r := rows[0]
	return &classifier{&logistic.Model{
		Dim: dim, Classes: len(rows), Mean: r.Mean, Scale: r.Scale,
		Weight: compute.Engine().Matrix(weight, len(rows), dim+1), C: r.C, Loss: r.Loss, Iterations: int(r.Iterations),
	}, set}, nil
}
