package augment

import (
	"math"
	"math/rand/v2"
)

// Box is a crop in pixels of the source image.
type Box struct{ Top, Left, Height, Width int }

// Params are the decisions that make one view.
type Params struct {
	Box  Box
	Flip bool

	Jitter     bool
	Order      [4]uint8 // which of OpBrightness..OpHue comes first, second, ...
	Brightness float64  // factor; 1 changes nothing
	Contrast   float64  // factor; 1 changes nothing
	Saturation float64  // factor; 1 changes nothing
	Hue        float64  // shift in turns, -0.5..0.5; 0 leaves the operation out

	Gray bool

	Blur  bool
	Sigma float64 // standard deviation in pixels of the view
}

// The operations of colour jitter, numbered as in torchvision's ColorJitter.
const (
	OpBrightness uint8 = iota
	OpContrast
	OpSaturation
	OpHue
)

// The crop's ratio of width to height, log-uniform between these.
const (
	ratioMin = 3. / 4
	ratioMax = 4. / 3
)

// Draw draws the decisions for one view of a height x width image.
func (r *Recipe) Draw(rnd *rand.Rand, height, width int) Params {
	p := Params{
		Box:   r.drawBox(rnd, height, width),
		Flip:  rnd.Float64() < r.FlipProb,
		Order: [4]uint8{OpBrightness, OpContrast, OpSaturation, OpHue},
	}
	p.Jitter = rnd.Float64() < r.JitterProb
	for i := len(p.Order) - 1; i > 0; i-- {
		j := rnd.IntN(i + 1)
		p.Order[i], p.Order[j] = p.Order[j], p.Order[i]
	}
	p.Brightness = uniform(rnd, max(0, 1-r.Brightness), 1+r.Brightness)
	p.Contrast = uniform(rnd, max(0, 1-r.Contrast), 1+r.Contrast)
	p.Saturation = uniform(rnd, max(0, 1-r.Saturation), 1+r.Saturation)
	p.Hue = uniform(rnd, -r.Hue, r.Hue)
	p.Gray = rnd.Float64() < r.GrayProb
	p.Blur = rnd.Float64() < r.BlurProb
	p.Sigma = uniform(rnd, r.BlurMin, r.BlurMax)
	return p
}

// drawBox is torchvision's RandomResizedCrop.get_params: ten tries, then the
// largest central crop whose ratio is allowed.
func (r *Recipe) drawBox(rnd *rand.Rand, height, width int) Box {
	area := float64(height) * float64(width)
	for range 10 {
		target := area * uniform(rnd, r.ScaleMin, r.ScaleMax)
		ratio := math.Exp(uniform(rnd, math.Log(ratioMin), math.Log(ratioMax)))
		w := int(math.RoundToEven(math.Sqrt(target * ratio)))
		h := int(math.RoundToEven(math.Sqrt(target / ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			return Box{Top: rnd.IntN(height - h + 1), Left: rnd.IntN(width - w + 1), Height: h, Width: w}
		}
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < ratioMin:
		h = int(math.RoundToEven(float64(w) / ratioMin))
	case ratio > ratioMax:
		w = int(math.RoundToEven(float64(h) * ratioMax))
	}
	return Box{Top: (height - h) / 2, Left: (width - w) / 2, Height: h, Width: w}
}

func uniform(rnd *rand.Rand, low, high float64) float64 {
	return low + float64((high-low)*rnd.Float64())
}
