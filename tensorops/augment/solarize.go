package augment

import (
	"cmp"
	"math/rand/v2"
)

// Solarize inverts all bytes at or above a threshold. It is torchvision's RandomSolarize.
type Solarize struct {
	P         float64 `yaml:"p"`         // probability
	Threshold int     `yaml:"threshold"` // 0..255
}

var solarize = Solarize{P: 0.5, Threshold: 128} // Pillow's threshold; torchvision has no default

// Name returns "solarize".
func (Solarize) Name() string { return "solarize" }

// Validate checks that P is a probability and that Threshold is a byte.
func (o Solarize) Validate() error {
	return cmp.Or(within("p", o.P, 0, 1), within("threshold", float64(o.Threshold), 0, 255))
}

// Draw decides at random whether to solarize.
func (o Solarize) Draw(random *rand.Rand, _, _ int) bool { return chance(random, o.P) }

// Apply inverts the bytes if on is set.
func (o Solarize) Apply(m *Image, on bool) {
	if !on {
		return
	}
	for i, v := range m.Pix {
		if int(v) >= o.Threshold {
			m.Pix[i] = 255 - v
		}
	}
}

// Transform draws the parameters and applies them.
func (o Solarize) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the step that applies them.
func (o Solarize) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	if o.Draw(random, height, width) {
		to = append(to, Step{Kind: StepSolarize, Args: [4]int32{int32(o.Threshold)}})
	}
	return to
}
