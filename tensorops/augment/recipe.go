package augment

import (
	"errors"
	"fmt"
)

// Recipe says how views are drawn.
type Recipe struct {
	Size int `yaml:"size"` // height and width of a view in pixels

	ScaleMin float64 `yaml:"scale_min"` // smallest and largest area of the crop,
	ScaleMax float64 `yaml:"scale_max"` // as a fraction of the image's

	FlipProb float64 `yaml:"flip_prob"` // probability of mirroring left to right

	JitterProb float64 `yaml:"jitter_prob"` // probability of colour jitter
	Brightness float64 `yaml:"brightness"`  // the factor is uniform in 1 ± this, never below 0
	Contrast   float64 `yaml:"contrast"`    // as Brightness
	Saturation float64 `yaml:"saturation"`  // as Brightness
	Hue        float64 `yaml:"hue"`         // the shift is uniform in ± this, in turns of the colour wheel; at most 0.5

	GrayProb float64 `yaml:"gray_prob"` // probability of dropping the colour

	BlurProb float64 `yaml:"blur_prob"` // probability of Gaussian blur
	BlurMin  float64 `yaml:"blur_min"`  // its standard deviation is uniform
	BlurMax  float64 `yaml:"blur_max"`  // between these, in pixels of the view

	Mean [3]float32 `yaml:"mean"` // of R, G and B scaled to 0..1; subtracted
	Std  [3]float32 `yaml:"std"`  // of the same; divided by after that
}

// SimSiam returns SimSiam's recipe for views of size x size pixels, with
// ImageNet's mean and standard deviation. Blur is off below 64 pixels, as in
// SimSiam's experiments on CIFAR.
func SimSiam(size int) Recipe {
	r := Recipe{
		Size:     size,
		ScaleMin: 0.2, ScaleMax: 1,
		FlipProb:   0.5,
		JitterProb: 0.8, Brightness: 0.4, Contrast: 0.4, Saturation: 0.4, Hue: 0.1,
		GrayProb: 0.2,
		BlurMin:  0.1, BlurMax: 2,
		Mean: [3]float32{0.485, 0.456, 0.406},
		Std:  [3]float32{0.229, 0.224, 0.225},
	}
	if size >= 64 {
		r.BlurProb = 0.5
	}
	return r
}

// Validate reports every value outside its range.
func (r *Recipe) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf("augment: "+format, args...))
		}
	}
	check(r.Size > 0, "size is %d; give the pixels of a view's side", r.Size)
	check(0 < r.ScaleMin && r.ScaleMin <= r.ScaleMax && r.ScaleMax <= 1,
		"scale_min %v and scale_max %v must satisfy 0 < scale_min <= scale_max <= 1", r.ScaleMin, r.ScaleMax)
	probability := func(name string, p float64) {
		check(0 <= p && p <= 1, "%s is %v; give a probability between 0 and 1", name, p)
	}
	probability("flip_prob", r.FlipProb)
	probability("jitter_prob", r.JitterProb)
	probability("gray_prob", r.GrayProb)
	probability("blur_prob", r.BlurProb)
	strength := func(name string, s, most float64) {
		check(0 <= s && s <= most, "%s is %v; give a number between 0 (off) and %v", name, s, most)
	}
	strength("brightness", r.Brightness, maxStrength)
	strength("contrast", r.Contrast, maxStrength)
	strength("saturation", r.Saturation, maxStrength)
	strength("hue", r.Hue, 0.5)
	check(0 <= r.BlurMin && r.BlurMin <= r.BlurMax && r.BlurMax <= maxSigma,
		"blur_min %v and blur_max %v must satisfy 0 <= blur_min <= blur_max <= %v", r.BlurMin, r.BlurMax, maxSigma)
	for c, s := range r.Std {
		check(s > 0, "std[%d] is %v; give a positive number", c, s)
	}
	return errors.Join(errs...)
}

// Far beyond any use; the limits keep blending from overflowing and the box
// filter from running long.
const (
	maxStrength = 100
	maxSigma    = 1000
)
