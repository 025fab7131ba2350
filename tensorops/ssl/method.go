package ssl

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Method is a self-supervised method. To add one, implement it in a file of its own that registers it: recipes, the
// command line's help and both devices' learners know it then.
type Method interface {
	// Summary says what the method is, on one line with its source.
	Summary() string
	// Settings are what can be set beside the sizes of the heads.
	Settings() []Setting
	// Heads are the layers that the loss needs on the backbone.
	Heads(s Sizes) nn.Heads
	// Loss says what a step computes; v has a value for each of Settings.
	Loss(v Values) Loss
}

// Setting is a number that a method can be given.
type Setting struct {
	// Name is its key in a recipe. Methods that have a setting in common give it the same name.
	Name string
	// Default is the value where none is given.
	Default float64
	// Min and Max bound the value.
	Min, Max float64
	// Usage explains it on one line.
	Usage string
}

// Values are those of a method's settings, by name.
type Values map[string]float64

// Sizes are the widths of the layers of the heads.
type Sizes struct {
	Hidden    int // of the projector's hidden layers
	Dim       int // of the projector's output, the embedding
	Predictor int // of the predictor's hidden layer
}

// Loss is what a step minimizes: a sum of terms, which are primitives that a device computes.
type Loss struct {
	Terms []Term
	// Target is a second network that Terms refer to, whose weights follow the student's; nil for none.
	Target *EMA
}

// Term is a primitive: NegativeCosine or NTXent.
type Term interface{ fmt.Stringer }

// NegativeCosine is the negative cosine similarity of what the student predicts from one view and what an encoder
// projects the other view to, without a gradient for the encoder; see nn.NegCosine.
type NegativeCosine struct{ Target Encoder }

func (c NegativeCosine) String() string {
	return "negative cosine similarity to the " + c.Target.String()
}

// NTXent is the normalised temperature-scaled cross-entropy between the student's projections of both views; see
// nn.NTXent.
type NTXent struct{ Temperature float64 }

func (NTXent) String() string { return "NT-Xent" }

// Encoder is a network that gives targets.
type Encoder int

// The encoders.
const (
	Student Encoder = iota // the student itself
	Target                 // Loss.Target
	Teacher                // the frozen net that a sub-net split off from
)

func (e Encoder) String() string { return [...]string{"student", "target network", "teacher"}[e] }

// EMA makes the weights of a target network the exponential moving average of the student's: after every step each is
// momentum times its value plus 1 - momentum times the student's. They begin as the student's.
type EMA struct {
	// Base is the momentum of the first step. It rises to 1 by a cosine (arXiv 2006.07733, section 3.3).
	Base float64
}

// Momentum is that of a step from 1 on of so many.
func (e EMA) Momentum(step, steps int) float64 {
	return 1 - (1-e.Base)*(math.Cos(math.Pi*float64(step-1)/float64(steps))+1)/2
}

var methods = map[string]Method{}

// RegisterMethod makes a method known under the name that recipes have for it. It is for init functions.
func RegisterMethod(name string, m Method) { methods[name] = m }

// Methods lists the names of the registered methods in alphabetical order.
func Methods() []string { return slices.Sorted(maps.Keys(methods)) }

// Lookup returns the method of a name; nil if there is none.
func Lookup(name string) Method { return methods[name] }

// Unsupported is the error of a device that does not compute a term.
func Unsupported(device string, t Term) error {
	return fmt.Errorf("ssl: the device %s does not compute %v, which the method needs; train on another device", device, t)
}
