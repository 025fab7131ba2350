package knn

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/internal/classes"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[classifyFn]())
	beam.RegisterDoFn(reflect.TypeFor[classifySetFn]())
	beam.RegisterDoFn(reflect.TypeFor[leaveOneOutFn]())
}

// Config configures classification.
type Config struct {
	// Column is the name of the column of vectors; empty means "feature".
	Column string
	// Label is the name of the column of labels of the training rows; empty means "label".
	Label string
	// K is the number of neighbors, at least 1. With fewer rows, all of them vote.
	K int
	// Temperature is the T in a vote's weight exp(similarity/T). With 0 every vote has the same weight.
	Temperature float64
}

// Default is the usual setting in the literature: 20 neighbors, temperature 0.07.
var Default = Config{K: nearest.Default.K, Temperature: nearest.Default.Temperature}

// Validate returns an error if a field is out of range.
func (c Config) Validate() error { return c.vote().Validate() }

func (c Config) vote() nearest.Config { return nearest.Config{K: c.K, Temperature: c.Temperature} }

func (c Config) column() string { return cmp.Or(c.Column, "feature") }

func (c Config) label() string { return cmp.Or(c.Label, "label") }

// predicted is the column that classification adds.
const predicted = "predicted"

// Classify predicts the class of every row of queries from the labeled rows of train; both are
// PCollection<*record.Batch>. It returns a PCollection<*record.Batch> with one batch per batch of queries: its columns
// except the vectors, and the column predicted, of the labels' type, or if the labels are lists, the column scores. Every
// worker holds all of train. Classify panics if cfg is invalid.
func Classify(s beam.Scope, queries, train beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	return beam.ParDo(s.Scope("knn.Classify"), &classifyFn{Config: cfg}, queries, beam.SideInput{Input: train})
}

// ClassifySets is [Classify] where each element of sets, a PCollection<KV<*record.Batch, *record.Batch>>, is an
// independent problem: the labeled rows and the rows to classify.
func ClassifySets(s beam.Scope, sets beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	return beam.ParDo(s.Scope("knn.ClassifySets"), &classifySetFn{Config: cfg}, sets)
}

// LeaveOneOut is [Classify] where each batch of sets, a PCollection<*record.Batch>, is an independent problem: it
// predicts the class of every row from the other rows of its batch, all of them labeled. A batch with fewer than two
// rows is an error.
func LeaveOneOut(s beam.Scope, sets beam.PCollection, cfg Config) beam.PCollection {
	must(cfg.Validate())
	return beam.ParDo(s.Scope("knn.LeaveOneOut"), &leaveOneOutFn{Config: cfg}, sets)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

type classifyFn struct {
	Config Config

	train record.Side[*record.Batch]
}

func (fn *classifyFn) ProcessElement(w beam.Window, queries *record.Batch, train func(**record.Batch) bool) (*record.Batch, error) {
	whole, err := fn.train.Get(w, func() (*record.Batch, error) { return record.Gather(train, fn.Config.column()) })
	if err == nil && whole == nil {
		err = errors.New("there are no labeled rows")
	}
	if err != nil {
		return nil, fmt.Errorf("knn: train: %w", err)
	}
	return fn.Config.classify(whole, queries)
}

type classifySetFn struct{ Config Config }

func (fn *classifySetFn) ProcessElement(train, queries *record.Batch) (*record.Batch, error) {
	return fn.Config.classify(train, queries)
}

// classify predicts the classes of a batch.
func (c Config) classify(train, queries *record.Batch) (*record.Batch, error) {
	features := func() (x, q *tensor.Dense, err error) {
		if x, err = record.Dense(train, c.column()); err == nil {
			q, err = record.Dense(queries, c.column())
		}
		return x, q, err
	}
	return c.predict(train, queries, func(labels []int64, classes int) ([]int64, error) {
		x, q, err := features()
		if err != nil {
			return nil, err
		}
		return nearest.Classify(x, labels, classes, q, c.vote())
	}, func(sets [][]int64, classes int) ([]float32, error) {
		x, q, err := features()
		if err != nil {
			return nil, err
		}
		return nearest.Scores(x, sets, classes, q, c.vote())
	})
}

type leaveOneOutFn struct{ Config Config }

func (fn *leaveOneOutFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	c := fn.Config
	return c.predict(b, b, func(labels []int64, classes int) ([]int64, error) {
		x, err := record.Dense(b, c.column())
		if err != nil {
			return nil, err
		}
		return nearest.LeaveOneOut(x, labels, classes, c.vote())
	}, func(sets [][]int64, classes int) ([]float32, error) {
		x, err := record.Dense(b, c.column())
		if err != nil {
			return nil, err
		}
		return nearest.LeaveOneOutScores(x, sets, classes, c.vote())
	})
}

// predict adds to queries the classes that vote returns for the labels of train, or if these are lists, the scores that
// score returns.
func (c Config) predict(train, queries *record.Batch, vote func(labels []int64, classes int) ([]int64, error), score func(sets [][]int64, classes int) ([]float32, error)) (*record.Batch, error) {
	out, err := c.answer(train, queries, vote, score)
	if err != nil {
		return nil, fmt.Errorf("knn: %s: %w", record.Name(queries, c.column()), err)
	}
	return out, nil
}

func (c Config) answer(train, queries *record.Batch, vote func(labels []int64, classes int) ([]int64, error), score func(sets [][]int64, classes int) ([]float32, error)) (*record.Batch, error) {
	rest, none := record.Without(queries, c.column()), queries.NumRows() == 0
	sets, number, lists, err := classes.Lists(train, c.label())
	if err != nil {
		return nil, err
	}
	if lists {
		var scores []float32
		err := record.Reserve(queries, classes.Scores)
		if err == nil && !none {
			err = compute.Run(func(*kernels.Pool) (err error) {
				scores, err = score(sets, number)
				return err
			})
		}
		if err != nil {
			return nil, err
		}
		return classes.WithScores(rest, scores, number), nil
	}
	set, labels, err := classes.Of(train, c.label())
	if err != nil {
		return nil, err
	}
	var found []int64
	err = record.Reserve(queries, predicted)
	if err == nil && !none {
		err = compute.Run(func(*kernels.Pool) (err error) {
			found, err = vote(labels, set.Len())
			return err
		})
	}
	if err != nil {
		return nil, err
	}
	return record.With(rest, predicted, set.Column(found)), nil
}
