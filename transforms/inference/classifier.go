package inference

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Classifier is the linear classifier on a model's features. It is read-only.
type Classifier struct {
	// Classes are the names of the classes.
	Classes []string
	// Weight is [features, len(Classes)].
	Weight []float32
	// Bias is [len(Classes)].
	Bias []float32
}

// classesKey is the metadata key of the names of the classes in a model file.
const classesKey = "classes"

// NewClassified returns a model whose heads are a classifier of the named classes, with what [Load] needs in its metadata.
// It panics if the heads are others.
func NewClassified(m nn.Model, in Input, classes []string) *Model {
	names, err := json.Marshal(classes)
	if err != nil {
		panic(err) // strings only
	}
	key, value := in.Metadata()
	m.Meta = map[string]string{key: value, classesKey: string(names)}
	c, err := classifierOf(&m)
	if err != nil || c == nil {
		panic(fmt.Sprintf("inference: NewClassified: %+v with %d classes", m.Heads, len(classes)))
	}
	return &Model{Model: m, Input: in, Classifier: c}
}

// classifierOf returns the classifier of a model file, or nil if it has none. It shares the model's memory.
func classifierOf(m *nn.Model) (*Classifier, error) {
	if m.Heads.Classes == 0 {
		return nil, nil
	}
	l, c := nn.NewLayout(m.Backbone, m.Heads), &Classifier{}
	if err := json.Unmarshal([]byte(m.Meta[classesKey]), &c.Classes); err != nil || len(c.Classes) != m.Heads.Classes {
		return nil, fmt.Errorf("its metadata %q is %q; want the names of its %d classes as a JSON list", classesKey, m.Meta[classesKey], m.Heads.Classes)
	}
	for name, to := range map[string]*[]float32{".weight": &c.Weight, ".bias": &c.Bias} {
		p, _ := l.Param(m.Backbone.Classifier() + name)
		*to = m.Params[p.Offset:][:p.Size]
	}
	return c, nil
}

// clone returns a copy with memory of its own.
func (c *Classifier) clone() *Classifier {
	if c == nil {
		return nil
	}
	return &Classifier{Classes: c.Classes, Weight: slices.Clone(c.Weight), Bias: slices.Clone(c.Bias)}
}

// bytes returns the size in memory.
func (c *Classifier) bytes() int {
	if c == nil {
		return 0
	}
	return 4 * (len(c.Weight) + len(c.Bias))
}

// Probabilities returns the probabilities of the classes, [rows, len(Classes)], for features [rows, features], on the
// features' engine.
func (c *Classifier) Probabilities(features *tensor.Dense) (*tensor.Dense, error) {
	e, err := dense.Of(features)
	if err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	_, rows, dim, err := dense.Rows(features)
	if err != nil {
		return nil, fmt.Errorf("inference: features: %w", err)
	}
	n := len(c.Classes)
	if dim*n != len(c.Weight) {
		return nil, fmt.Errorf("inference: the features have %d values, but the classifier is for %d", dim, len(c.Weight)/n)
	}
	p := make([]float32, rows*n)
	out := e.Matrix(p, rows, n)
	if err := e.MatMul(features, e.Matrix(c.Weight, dim, n), out); err != nil {
		return nil, fmt.Errorf("inference: %w", err)
	}
	e.Pool().For(rows, func(_, i int) { softmax(p[i*n:][:n], c.Bias) })
	return out, nil
}

// softmax replaces logits without their bias by probabilities.
func softmax(z, bias []float32) {
	top, sum := math.Inf(-1), 0.0
	for k, b := range bias {
		z[k] += b
		top = max(top, float64(z[k]))
	}
	for _, v := range z {
		sum += math.Exp(float64(v) - top)
	}
	for k, v := range z {
		z[k] = float32(math.Exp(float64(v)-top) / sum)
	}
}

// ErrNoClassifier says that a model cannot predict classes.
var ErrNoClassifier = errors.New("has no classifier; sdr finetune makes models with one")
