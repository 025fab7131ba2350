package augment

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Operation is one operation of a view. Its type holds the settings, and draws
// from random numbers what is then done to an image:
//
//	Draw(random *rand.Rand, height, width int) D // the decision for an image of that size
//	Apply(m *Image, decision D)                  // deterministic
//
// An operation is a file of its own and a line in the table of all of them.
type Operation interface {
	// Name is what recipes call the operation.
	Name() string
	// Validate reports the first setting that is out of range. The error begins
	// with the setting's key.
	Validate() error
	// Transform applies to the image what it draws for it.
	Transform(m *Image, random *rand.Rand)
}

// Resizer is an operation that gives every image the size of a view. All others
// keep an image's size.
type Resizer interface {
	Operation
	Resizes()
}

// table has every operation with its default settings, which are torchvision's.
var table = []Operation{
	randomResizedCrop,
	horizontalFlip,
	colorJitter,
	grayscale,
	gaussianBlur,
	solarize,
}

// Defaults returns every operation there is, with its default settings.
func Defaults() []Operation { return slices.Clone(table) }

// SimSiam returns the operations of SimSiam's recipe for views of size x size
// pixels (Chen and He, arXiv 2011.10566, after MoCo v2). They do not blur below
// 64 pixels, as in SimSiam's experiments on CIFAR.
func SimSiam(size int) []Operation {
	crop, blur := randomResizedCrop, gaussianBlur
	crop.Scale[0] = 0.2
	if size < 64 {
		blur.P = 0
	}
	return []Operation{
		crop,
		HorizontalFlip{P: 0.5},
		ColorJitter{P: 0.8, Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1},
		Grayscale{P: 0.2},
		blur,
	}
}

// Validate reports the first setting of the operations that is out of range,
// such as "gaussian_blur.p: 2 is out of range; want 0 to 1".
func Validate(operations []Operation) error {
	for _, o := range operations {
		if err := o.Validate(); err != nil {
			return fmt.Errorf("%s.%w", o.Name(), err)
		}
	}
	return nil
}

// Resizes reports whether the operations make views of images of any size.
// Without a Resizer among them, images must have the size of a view.
func Resizes(operations []Operation) bool {
	return slices.ContainsFunc(operations, func(o Operation) bool {
		_, resizes := o.(Resizer)
		return resizes
	})
}

func within(key string, value, low, high float64) error {
	if !(low <= value && value <= high) { // nor NaN
		return fmt.Errorf("%s: %v is out of range; want %v to %v", key, value, low, high)
	}
	return nil
}

func interval(key string, v [2]float64, low, high float64) error {
	if !(low <= v[0] && v[0] <= v[1] && v[1] <= high) {
		return fmt.Errorf("%s: [%v, %v] is out of range; want [least, most] within %v to %v", key, v[0], v[1], low, high)
	}
	return nil
}

// chance is true with probability p.
func chance(random *rand.Rand, p float64) bool { return random.Float64() < p }

func uniform(random *rand.Rand, low, high float64) float64 {
	return low + float64((high-low)*random.Float64())
}
