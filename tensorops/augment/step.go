package augment

import (
	"fmt"
	"math/rand/v2"
)

// Step is one change to the pixels of a view. Steps are what was drawn for a view as plain data, from which a device makes
// the same pixels as [Worker.View].
type Step struct {
	Kind   StepKind
	Args   [4]int32 // what they mean depends on Kind
	Factor float32  // of the kinds that blend
}

// StepKind is what a step does. The zero StepKind is none: it ends a list of steps that has a fixed length.
type StepKind int32

// The kinds of steps.
const (
	StepCrop       StepKind = iota + 1 // crops Args: top, left, height and width; and resizes to the size of a view
	StepFlip                           // flips left to right
	StepBrightness                     // blends with black
	StepContrast                       // blends with the mean luminance
	StepSaturation                     // blends with the grayscale image
	StepHue                            // rotates the hue by Args[0], a byte
	StepGray                           // replaces each pixel by its luminance
	StepBlur                           // three box filters along x, then along y, of radius Args[0] and weights Args[1] and Args[2]
	StepSolarize                       // inverts all bytes of at least Args[0]
)

// MaxSteps is the most steps that an operation draws for a view.
const MaxSteps = 4

// Portable is an operation that devices can apply, too.
type Portable interface {
	Operation
	// Plan draws random parameters as Transform does, for an image of that size, and appends the steps that apply them.
	Plan(to []Step, random *rand.Rand, height, width int) []Step
}

// CheckPortable returns an error that names the first operation that is not [Portable].
func CheckPortable(operations []Operation) error {
	for _, o := range operations {
		if _, ok := o.(Portable); !ok {
			return fmt.Errorf("augment: only the CPU can apply %s", o.Name())
		}
	}
	return nil
}
