package ssl

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Method is a self-supervised method. To add one, implement it in a file of its own that registers it; recipes, the
// command line's help and the learners of all devices then support it.
type Method interface {
	// Summary returns the method's name and source, on one line.
	Summary() string
	// Settings lists the method's hyperparameters other than the sizes of the heads.
	Settings() []Setting
	// Heads returns the projector, prototypes and predictor that the loss needs; v has a value for each of Settings.
	Heads(s Sizes, v Values) nn.Heads
	// Loss returns what a step minimizes, for the same values.
	Loss(v Values) Loss
}

// Setting is a hyperparameter of a method.
type Setting struct {
	// Name is its key in a recipe. Methods that share a setting give it the same name.
	Name string
	// Default is used where the recipe sets no value.
	Default float64
	// Min and Max bound the value.
	Min, Max float64
	// Whole says that the value must be a whole number.
	Whole bool
	// Usage explains the setting, on one line.
	Usage string
}

// temperature returns the setting of methods that divide similarities by a temperature.
func temperature(byDefault float64) Setting {
	return Setting{
		Name: "temperature", Default: byDefault, Min: 0.01, Max: 10, Usage: "the similarities are divided by it",
	}
}

// Values maps the names of a method's settings to values.
type Values map[string]float64

// Sizes are the widths of the heads' layers.
type Sizes struct {
	Hidden    int // of the projector's hidden layers
	Dim       int // of the projector's output, the embedding
	Predictor int // of the predictor's hidden layer
}

// Loss is what a step minimizes: a sum of terms, each a primitive that devices implement.
type Loss struct {
	Terms []Term
	// Target is the target network that Terms refer to; nil for none.
	Target *EMA
}

// Term is a loss primitive: NegativeCosine, NTXent, InfoNCE or SwappedPrediction.
type Term interface{ fmt.Stringer }

// NegativeCosine is the negative cosine similarity between the student's prediction from one view and an encoder's
// projection of the other view, without a gradient for the encoder. See nn.NegCosine.
type NegativeCosine struct{ Target Encoder }

func (c NegativeCosine) String() string {
	return "negative cosine similarity to the " + c.Target.String()
}

// NTXent is the normalized temperature-scaled cross-entropy between the student's projections of both views. See
// nn.NTXent.
type NTXent struct{ Temperature float64 }

func (NTXent) String() string { return "NT-Xent" }

// InfoNCE is the cross-entropy of telling the target network's projection of the other view from those of earlier
// batches, of which each sub-net keeps a queue of its own: the keys are then those of one encoder for images of one
// subset. A step puts the projections of both views into the queue of its sub-net. A loss has at most one such term.
// See nn.InfoNCE.
type InfoNCE struct {
	Temperature float64
	// Queue is the number of projections in a queue.
	Queue int
}

func (InfoNCE) String() string { return "InfoNCE with a queue" }

// SwappedPrediction is the cross-entropy of predicting, from the student's projection of one view, to which prototypes
// that of the other view is assigned. It needs Heads.Prototypes. See nn.Swapped.
type SwappedPrediction struct {
	Temperature float64
	// Epsilon is the entropy regularization of the assignments, and Iterations the number of iterations of the
	// Sinkhorn-Knopp algorithm that computes them.
	Epsilon    float64
	Iterations int
}

func (SwappedPrediction) String() string { return "swapped prediction of prototypes" }

// Encoder is a network whose projections serve as targets.
type Encoder int

const (
	Student Encoder = iota // the student itself
	Target                 // the target network, Loss.Target
	Teacher                // the teacher of a sub-net, see Config.Teacher
)

func (e Encoder) String() string { return [...]string{"student", "target network", "teacher"}[e] }

// EMA makes a target network the exponential moving average of the student: after every step, target = momentum ·
// target + (1 - momentum) · student. The target starts as a copy of the student.
type EMA struct {
	// Base is the momentum at the first step. It follows a cosine up to Final (arXiv 2006.07733, section 3.3); if both
	// are equal, it is constant.
	Base, Final float64
}

// Momentum returns the momentum at a step, counted from 1, of a training with the given number of steps.
func (e EMA) Momentum(step, steps int) float64 {
	return e.Final - (e.Final-e.Base)*(math.Cos(math.Pi*float64(step-1)/float64(steps))+1)/2
}

var methods = map[string]Method{}

// RegisterMethod registers a method under its name in recipes. Call it from init.
func RegisterMethod(name string, m Method) { methods[name] = m }

// Methods lists the registered methods in alphabetical order.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// Lookup returns the method registered under name, or nil.
func Lookup(name string) Method { return methods[name] }

// Unsupported returns the error for a term that a device does not implement.
func Unsupported(device string, t Term) error {
	return fmt.Errorf("ssl: device %s does not support %v, which the method needs; train on another device", device, t)
}
