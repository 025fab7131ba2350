package augment

import "math/rand/v2"

// HorizontalFlip flips an image left to right. It is torchvision's RandomHorizontalFlip.
type HorizontalFlip struct {
	P float64 `yaml:"p"` // probability
}

var horizontalFlip = HorizontalFlip{P: 0.5}

// Name returns "horizontal_flip".
func (HorizontalFlip) Name() string { return "horizontal_flip" }

// Validate checks that P is a probability.
func (o HorizontalFlip) Validate() error { return within("p", o.P, 0, 1) }

// Draw decides at random whether to flip.
func (o HorizontalFlip) Draw(random *rand.Rand, _, _ int) bool { return chance(random, o.P) }

// Apply flips the image if flip is set.
func (HorizontalFlip) Apply(m *Image, flip bool) {
	if !flip {
		return
	}
	for row := m.Pix; len(row) > 0; row = row[m.Width*3:] {
		for l, r := 0, (m.Width-1)*3; l < r; l, r = l+3, r-3 {
			a, b := (*[3]uint8)(row[l:]), (*[3]uint8)(row[r:])
			*a, *b = *b, *a
		}
	}
}

// Transform draws the parameters and applies them.
func (o HorizontalFlip) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the step that applies them.
func (o HorizontalFlip) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	if o.Draw(random, height, width) {
		to = append(to, Step{Kind: StepFlip})
	}
	return to
}
