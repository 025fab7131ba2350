package probe

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

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

// Config says how to fit.
type Config struct {
	// Column holds the vectors; empty is "feature".
	Column string
	// Label holds the labels; empty is "label".
	Label string
	// C holds the candidates for the inverse strength of the L2 penalty, in
	// scikit-learn's unit, each above 0. A single one is taken as it is; of several,
	// the one that is best on a held-out fifth of the rows. Without any they are six
	// powers of ten, which suit a few hundred to some ten thousand rows.
	C []float64
	// MaxIterations bounds the L-BFGS iterations of every fit; 0 is 300.
	MaxIterations int
	// Tolerance ends a fit when no component of the objective's gradient is larger; 0
	// is 1e-5.
	Tolerance float64
}

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

// Class is a row of a classifier, after the column class, which holds the label of the
// class as the training rows had it. The score of a class is
//
//	intercept + Σ weight·(x - mean)·scale
//
// and the class with the highest score is predicted.
type Class struct {
	Intercept float32   `arrow:"intercept"`
	Weight    []float32 `arrow:"weight"`
	// Mean and Scale standardise the features; they are the same for all classes.
	Mean  []float32 `arrow:"mean"`
	Scale []float32 `arrow:"scale"`
	// C is the chosen inverse strength of the penalty, Loss the mean cross-entropy on
	// the training rows, in nats, and Iterations the number of those of the fit.
	C          float64 `arrow:"c"`
	Loss       float64 `arrow:"loss"`
	Iterations int64   `arrow:"iterations"`
}

const (
	predicted = "predicted"
	class     = "class"
)

// Fit fits a classifier to the labelled rows of train, a PCollection<*record.Batch>,
// and returns it as a PCollection<*record.Batch> of one batch: the rows [Class], by
// their labels, with the column class before them. Of no rows there is none. It panics
// if cfg is not valid.
func Fit(s beam.Scope, train beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	s = s.Scope("probe.Fit")
	return beam.ParDo(s, &fitFn{Config: cfg}, beam.GroupByKey(s, beam.AddFixedKey(s, train)))
}

// PredictConfig says what to predict from.
type PredictConfig struct {
	// Column holds the vectors; empty is "feature".
	Column string
}

// Predict gives every row of queries, a PCollection<*record.Batch>, its class by a
// classifier that [Fit] made. It returns a PCollection<*record.Batch>, a batch for each
// of queries: its columns except the vectors, and predicted, of the type of the labels.
func Predict(s beam.Scope, queries, classifier beam.PCollection, cfg PredictConfig) beam.PCollection {
	return beam.ParDo(s.Scope("probe.Predict"), &predictFn{Config: cfg}, queries, beam.SideInput{Input: classifier})
}

// ClassifySets fits and predicts where each element of sets, a
// PCollection<KV<*record.Batch, *record.Batch>>, is a problem by itself: the labelled
// rows and the rows to classify. It returns what Predict does, and panics if cfg is not
// valid.
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

func (fn *fitFn) ProcessElement(_ int, train func(**record.Batch) bool, emit func(*record.Batch)) error {
	whole, err := record.Gather(train, cmp.Or(fn.Config.Column, "feature"))
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
	out, err := c.predict(queries, cmp.Or(fn.Config.Column, "feature"))
	return out, wrap(err)
}

type classifySetFn struct{ Config Config }

func (fn *classifySetFn) ProcessElement(train, queries *record.Batch) (*record.Batch, error) {
	c, err := fit(train, fn.Config)
	if err != nil {
		return nil, wrap(err)
	}
	out, err := c.predict(queries, cmp.Or(fn.Config.Column, "feature"))
	return out, wrap(err)
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("probe: %w", err)
}

// classifier is a fitted model and what its classes are called.
type classifier struct {
	*logistic.Model
	classes *classes.Set
}

func fit(train *record.Batch, cfg Config) (*classifier, error) {
	column := cmp.Or(cfg.Column, "feature")
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

// batch is the classifier as rows.
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

// read makes a classifier of the rows that batch wrote.
func read(batches func(**record.Batch) bool) (*classifier, error) {
	var parts []*record.Batch
	var b *record.Batch
	for batches(&b) {
		parts = append(parts, b)
	}
	if len(parts) == 0 {
		return nil, errors.New("there is no classifier: it was fitted to no row")
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
		return nil, fmt.Errorf("a classifier of %d rows for %d classes; give one that Fit made", len(rows), set.Len())
	}
	dim := len(rows[0].Weight)
	if len(rows[0].Mean) != dim || len(rows[0].Scale) != dim {
		return nil, fmt.Errorf("a classifier with %d weights, %d means and %d scales; give one that Fit made", dim, len(rows[0].Mean), len(rows[0].Scale))
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
