package augment

import (
	"cmp"
	"math/rand/v2"
)

// ColorJitter changes brightness, contrast, saturation and hue in random order. It is torchvision's ColorJitter in a
// RandomApply.
type ColorJitter struct {
	P          float64 `yaml:"p"`          // probability
	Brightness float64 `yaml:"brightness"` // the factor is uniform in 1 ± this, clipped at 0
	Contrast   float64 `yaml:"contrast"`   // as Brightness
	Saturation float64 `yaml:"saturation"` // as Brightness
	Hue        float64 `yaml:"hue"`        // the shift is uniform in ± this, in turns of the color wheel; at most 0.5
}

var colorJitter = ColorJitter{P: 0.5}

// Jitter holds the random parameters of a [ColorJitter].
type Jitter struct {
	On         bool     // if false, the image stays unchanged
	Order      [4]uint8 // the order of OpBrightness..OpHue
	Brightness float64  // factor; 1 changes nothing
	Contrast   float64  // factor; 1 changes nothing
	Saturation float64  // factor; 1 changes nothing
	Hue        float64  // shift in turns, -0.5..0.5; 0 skips the hue shift
}

// The parts of color jitter, numbered as in torchvision's ColorJitter.
const (
	OpBrightness uint8 = iota
	OpContrast
	OpSaturation
	OpHue
)

// maxStrength is far above any useful value; it keeps blending from overflowing.
const maxStrength = 100

// Name returns "color_jitter".
func (ColorJitter) Name() string { return "color_jitter" }

// Validate checks that P is a probability, that the strengths are at least 0 and that Hue is at most 0.5.
func (o ColorJitter) Validate() error {
	return cmp.Or(
		within("p", o.P, 0, 1),
		within("brightness", o.Brightness, 0, maxStrength),
		within("contrast", o.Contrast, 0, maxStrength),
		within("saturation", o.Saturation, 0, maxStrength),
		within("hue", o.Hue, 0, 0.5),
	)
}

// Draw decides at random whether, in which order and by how much to change the colors.
func (o ColorJitter) Draw(random *rand.Rand, _, _ int) Jitter {
	if !chance(random, o.P) {
		return Jitter{}
	}
	j := Jitter{On: true, Order: [4]uint8{OpBrightness, OpContrast, OpSaturation, OpHue}}
	for i := len(j.Order) - 1; i > 0; i-- {
		k := random.IntN(i + 1)
		j.Order[i], j.Order[k] = j.Order[k], j.Order[i]
	}
	j.Brightness = uniform(random, max(0, 1-o.Brightness), 1+o.Brightness)
	j.Contrast = uniform(random, max(0, 1-o.Contrast), 1+o.Contrast)
	j.Saturation = uniform(random, max(0, 1-o.Saturation), 1+o.Saturation)
	j.Hue = uniform(random, -o.Hue, o.Hue)
	return j
}

// Apply changes the colors if j is On.
func (ColorJitter) Apply(m *Image, j Jitter) {
	if !j.On {
		return
	}
	for _, op := range j.Order {
		switch op {
		case OpBrightness:
			brightness(m.Pix, j.Brightness)
		case OpContrast:
			contrast(m.Pix, j.Contrast)
		case OpSaturation:
			saturation(m.Pix, j.Saturation)
		case OpHue:
			if j.Hue != 0 {
				shiftHue(m.Pix, hueByte(j.Hue))
			}
		}
	}
}

// Transform draws the parameters and applies them.
func (o ColorJitter) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the steps that apply them.
func (o ColorJitter) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	j := o.Draw(random, height, width)
	if !j.On {
		return to
	}
	for _, op := range j.Order {
		switch op {
		case OpBrightness:
			to = append(to, Step{Kind: StepBrightness, Factor: float32(j.Brightness)})
		case OpContrast:
			to = append(to, Step{Kind: StepContrast, Factor: float32(j.Contrast)})
		case OpSaturation:
			to = append(to, Step{Kind: StepSaturation, Factor: float32(j.Saturation)})
		case OpHue:
			if j.Hue != 0 {
				to = append(to, Step{Kind: StepHue, Args: [4]int32{int32(hueByte(j.Hue))}})
			}
		}
	}
	return to
}

// blend is Pillow's Image.blend of two bytes: from for alpha 0, to for alpha 1, interpolated or extrapolated otherwise,
// truncated and clipped. It computes in float32 like Pillow; the explicit conversion prevents a fused multiply-add,
// whose result differs between machines.
func blend(from, to int32, alpha float32) uint8 {
	v := int32(float32(from) + float32(alpha*float32(to-from)))
	return uint8(min(max(v, 0), 255))
}

// brightness is Pillow's ImageEnhance.Brightness: a blend with black.
func brightness(pix []uint8, factor float64) { blendConstant(pix, 0, factor) }

// contrast is Pillow's ImageEnhance.Contrast: a blend with the image's mean luminance.
func contrast(pix []uint8, factor float64) {
	sum, n := 0, len(pix)/3
	for i := 0; i < len(pix); i += 3 {
		sum += int(luma((*[3]uint8)(pix[i:])))
	}
	blendConstant(pix, int32(float64(sum)/float64(n)+0.5), factor)
}

func blendConstant(pix []uint8, from int32, factor float64) {
	if factor == 1 {
		return
	}
	var table [256]uint8
	for v := range table {
		table[v] = blend(from, int32(v), float32(factor))
	}
	for i, v := range pix {
		pix[i] = table[v]
	}
}

// saturation is Pillow's ImageEnhance.Color: a blend with the grayscale image.
func saturation(pix []uint8, factor float64) {
	if factor == 1 {
		return
	}
	alpha := float32(factor)
	for i := 0; i < len(pix); i += 3 {
		p := (*[3]uint8)(pix[i:])
		l := luma(p)
		p[0] = blend(l, int32(p[0]), alpha)
		p[1] = blend(l, int32(p[1]), alpha)
		p[2] = blend(l, int32(p[2]), alpha)
	}
}
