package augment

import (
	"fmt"
	"math/rand/v2"
	"slices"
)

// Operation is one random operation of an augmentation, like a torchvision transform. Its type holds the settings and
// has two more methods, with D the type of the random parameters:
//
//	Draw(random *rand.Rand, height, width int) D // draws the parameters for an image of that size
//	Apply(m *Image, parameters D)                // applies them, deterministically
//
// To add an operation, declare it in a file of its own and list it in the table of all operations. One that devices can
// apply, too, also lists its random parameters as steps: see [Portable].
type Operation interface {
	// Name is the operation's name in recipes.
	Name() string
	// Validate returns an error for the first setting that is out of range, which begins with the setting's key.
	Validate() error
	// Transform draws random parameters and applies the operation to the image.
	Transform(m *Image, random *rand.Rand)
}

// Resizer is an operation that resizes every image to the size of a view. Other operations keep the size.
type Resizer interface {
	Operation
	Resizes()
}

// table lists all operations with their default settings, which are torchvision's.
var table = []Operation{
	randomResizedCrop,
	horizontalFlip,
	colorJitter,
	grayscale,
	gaussianBlur,
	solarize,
}

// Defaults returns all operations with their default settings.
func Defaults() []Operation { return slices.Clone(table) }

// SimSiam returns the operations of SimSiam's augmentation for views of size x size pixels (Chen and He, arXiv
// 2011.10566, after MoCo v2). As in SimSiam's CIFAR experiments, there is no blur below 64 pixels.
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

// Validate returns an error for the first setting of the operations that is out of range, such as "gaussian_blur.p: 2
// is out of range; want 0 to 1".
func Validate(operations []Operation) error {
	for _, o := range operations {
		if err := o.Validate(); err != nil {
			return fmt.Errorf("%s.%w", o.Name(), err)
		}
	}
	return nil
}

// Resizes reports whether the operations accept images of any size. Without a [Resizer] among them, images must already
// have the size of a view.
func Resizes(operations []Operation) bool {
	return slices.ContainsFunc(operations, func(o Operation) bool {
		_, resizes := o.(Resizer)
		return resizes
	})
}

func within(key string, value, low, high float64) error {
	if !(low <= value && value <= high) { // also rejects NaN
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

// chance returns true with probability p.
func chance(random *rand.Rand, p float64) bool { return random.Float64() < p }

func uniform(random *rand.Rand, low, high float64) float64 {
	return low + float64((high-low)*random.Float64())
}
