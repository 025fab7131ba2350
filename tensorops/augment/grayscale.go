package augment

import "math/rand/v2"

// Grayscale replaces every pixel by its luminance, in three equal channels. It is torchvision's RandomGrayscale.
type Grayscale struct {
	P float64 `yaml:"p"` // probability
}

var grayscale = Grayscale{P: 0.1}

// Name returns "grayscale".
func (Grayscale) Name() string { return "grayscale" }

// Validate checks that P is a probability.
func (o Grayscale) Validate() error { return within("p", o.P, 0, 1) }

// Draw decides at random whether to convert to grayscale.
func (o Grayscale) Draw(random *rand.Rand, _, _ int) bool { return chance(random, o.P) }

// Apply converts the image to grayscale if gray is set.
func (Grayscale) Apply(m *Image, gray bool) {
	if !gray {
		return
	}
	for i := 0; i < len(m.Pix); i += 3 {
		p := (*[3]uint8)(m.Pix[i:])
		l := uint8(luma(p))
		p[0], p[1], p[2] = l, l, l
	}
}

// Transform draws the parameters and applies them.
func (o Grayscale) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the step that applies them.
func (o Grayscale) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	if o.Draw(random, height, width) {
		to = append(to, Step{Kind: StepGray})
	}
	return to
}

// luma is Pillow's conversion from RGB to L: ITU-R 601-2 in 16-bit fixed point.
func luma(p *[3]uint8) int32 {
	return (int32(p[0])*19595 + int32(p[1])*38470 + int32(p[2])*7471 + 0x8000) >> 16
}
