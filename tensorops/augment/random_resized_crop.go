package augment

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/resample"
)

// RandomResizedCrop crops a rectangle from an image and resizes it to the size of a view. It is torchvision's
// RandomResizedCrop with bilinear interpolation.
type RandomResizedCrop struct {
	Scale [2]float64 `yaml:"scale"` // minimum and maximum area, as a fraction of the image's
	Ratio [2]float64 `yaml:"ratio"` // minimum and maximum width / height; log-uniform in between
}

var randomResizedCrop = RandomResizedCrop{Scale: [2]float64{0.08, 1}, Ratio: [2]float64{3. / 4, 4. / 3}}

// Box is a crop of an image, in pixels.
type Box struct{ Top, Left, Height, Width int }

// Name returns "random_resized_crop".
func (RandomResizedCrop) Name() string { return "random_resized_crop" }

// Resizes marks a Resizer.
func (RandomResizedCrop) Resizes() {}

// Validate checks that Scale is an interval within 0.01 to 1, and Ratio within 0.01 to 100.
func (o RandomResizedCrop) Validate() error {
	return cmp.Or(interval("scale", o.Scale, 0.01, 1), interval("ratio", o.Ratio, 0.01, 100))
}

// Draw draws a crop like torchvision's get_params: ten attempts, then the largest center crop with an allowed ratio.
func (o RandomResizedCrop) Draw(random *rand.Rand, height, width int) Box {
	area := float64(height) * float64(width)
	low, high := math.Log(o.Ratio[0]), math.Log(o.Ratio[1])
	for range 10 {
		target := area * uniform(random, o.Scale[0], o.Scale[1])
		ratio := math.Exp(uniform(random, low, high))
		w := int(math.RoundToEven(math.Sqrt(target * ratio)))
		h := int(math.RoundToEven(math.Sqrt(target / ratio)))
		if 0 < w && w <= width && 0 < h && h <= height {
			return Box{Top: random.IntN(height - h + 1), Left: random.IntN(width - w + 1), Height: h, Width: w}
		}
	}
	w, h := width, height
	switch ratio := float64(width) / float64(height); {
	case ratio < o.Ratio[0]:
		h = max(1, int(math.RoundToEven(float64(w)/o.Ratio[0])))
	case ratio > o.Ratio[1]:
		w = max(1, int(math.RoundToEven(float64(h)*o.Ratio[1])))
	}
	return Box{Top: (height - h) / 2, Left: (width - w) / 2, Height: h, Width: w}
}

// Apply crops the box and resizes it to the size of a view. It panics if the box extends beyond the image.
func (RandomResizedCrop) Apply(m *Image, b Box) {
	cropped := cut(m, b)
	view := slices.Grow(m.spare[:0], m.Size*m.Size*3)[:m.Size*m.Size*3]
	whole := [4]float64{0, 0, float64(b.Width), float64(b.Height)}
	resample.Resize(view, m.Size, m.Size, cropped, b.Width, b.Height, whole, resample.Bilinear, &m.resizer)
	m.Pix, m.spare = view, m.Pix
	m.Height, m.Width = m.Size, m.Size
}

// Transform draws the parameters and applies them.
func (o RandomResizedCrop) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the step that applies them.
func (o RandomResizedCrop) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	b := o.Draw(random, height, width)
	return append(to, Step{Kind: StepCrop, Args: [4]int32{int32(b.Top), int32(b.Left), int32(b.Height), int32(b.Width)}})
}

// cut moves the pixels of the box to the front of the image's buffer. Torchvision crops before it resizes, so the
// resize filter must not see the pixels around the box.
func cut(m *Image, b Box) []uint8 {
	if b.Top < 0 || b.Left < 0 || b.Height <= 0 || b.Width <= 0 || b.Top+b.Height > m.Height || b.Left+b.Width > m.Width {
		panic(fmt.Sprintf("augment: crop %+v is empty or not inside the [%d %d 3] image", b, m.Height, m.Width))
	}
	stride := b.Width * 3
	for y := range b.Height {
		copy(m.Pix[y*stride:][:stride], m.Pix[((b.Top+y)*m.Width+b.Left)*3:])
	}
	return m.Pix[:b.Height*stride]
}
