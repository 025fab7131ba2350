package augment

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// GaussianBlur blurs an image. It is Pillow's ImageFilter.GaussianBlur in torchvision's RandomApply: the blur of
// SimSiam, MoCo v2 and BYOL.
type GaussianBlur struct {
	P     float64    `yaml:"p"`     // probability
	Sigma [2]float64 `yaml:"sigma"` // minimum and maximum standard deviation, in pixels
}

var gaussianBlur = GaussianBlur{P: 0.5, Sigma: [2]float64{0.1, 2}}

// maxSigma is far above any useful value; it limits the cost of the box filter.
const maxSigma = 1000

// Name returns "gaussian_blur".
func (GaussianBlur) Name() string { return "gaussian_blur" }

// Validate checks that P is a probability and that Sigma is an interval of values of at least 0.
func (o GaussianBlur) Validate() error {
	return cmp.Or(within("p", o.P, 0, 1), interval("sigma", o.Sigma, 0, maxSigma))
}

// Draw draws the standard deviation, 0 for no blur.
func (o GaussianBlur) Draw(random *rand.Rand, _, _ int) (sigma float64) {
	if !chance(random, o.P) {
		return 0
	}
	return uniform(random, o.Sigma[0], o.Sigma[1])
}

// Apply blurs the image.
func (GaussianBlur) Apply(m *Image, sigma float64) {
	m.blurrer.gaussian(m.Pix, m.Height, m.Width, sigma)
}

// Transform draws the parameters and applies them.
func (o GaussianBlur) Transform(m *Image, random *rand.Rand) {
	o.Apply(m, o.Draw(random, m.Height, m.Width))
}

// Plan draws the parameters and appends the step that applies them.
func (o GaussianBlur) Plan(to []Step, random *rand.Rand, height, width int) []Step {
	if radius := boxRadius(float32(o.Draw(random, height, width))); radius != 0 {
		r, inner, outer := boxWeights(radius)
		to = append(to, Step{Kind: StepBlur, Args: [4]int32{int32(r), int32(inner), int32(outer)}})
	}
	return to
}

// blurrer implements Pillow's ImageFilter.GaussianBlur: three extended box filters along x, then three along y (Gwosdek
// et al., SSVM 2011), in 24-bit fixed point, rounded to 8 bits after each.
type blurrer struct {
	transposed, spare []uint8
	sums              []uint32
}

const blurPasses = 3

// gaussian blurs an image [height, width, 3] in place; sigma is in pixels.
func (b *blurrer) gaussian(pix []uint8, height, width int, sigma float64) {
	radius := boxRadius(float32(sigma))
	if radius == 0 {
		return
	}
	b.transposed = slices.Grow(b.transposed[:0], len(pix))[:len(pix)]
	b.spare = slices.Grow(b.spare[:0], len(pix))[:len(pix)]
	b.sums = slices.Grow(b.sums[:0], 3*max(height, width))[:3*max(height, width)]

	// A pass filters along columns, so that the bytes of a row are independent of each other; x is filtered in the
	// transposed image.
	transpose(b.transposed, pix, height, width)
	b.box(b.transposed, width, height, radius)
	transpose(pix, b.transposed, width, height)
	b.box(pix, height, width, radius)
}

// box filters the columns of an image [height, width, 3] three times.
func (b *blurrer) box(pix []uint8, height, width int, radius float32) {
	r, inner, outer := boxWeights(radius)
	sums, stride := b.sums[:3*width], 3*width
	from, to := pix, b.spare
	for range blurPasses {
		boxColumns(to, from, height, stride, r, inner, outer, sums)
		from, to = to, from
	}
	copy(pix, from)
}

// boxColumns sets every byte of dst [n, stride] to inner times the sum of the 2r+1 bytes around it in its column plus
// outer times the two beyond them. The first and last row are repeated beyond the edges.
func boxColumns(dst, src []uint8, n, stride, r int, inner, outer uint32, sums []uint32) {
	row := func(y int) []uint8 {
		y = min(max(y, 0), n-1)
		return src[y*stride:][:len(sums)]
	}
	clear(sums)
	for y := -r - 1; y < r; y++ {
		for i, v := range row(y) {
			sums[i] += uint32(v)
		}
	}
	for y := range n {
		first, last, next := row(y-r-1), row(y+r), row(y+r+1)
		to := dst[y*stride:][:len(sums)]
		for i, sum := range sums {
			gone := uint32(first[i])
			sum += uint32(last[i]) - gone
			sums[i] = sum
			to[i] = uint8((sum*inner + (gone+uint32(next[i]))*outer + 1<<23) >> 24)
		}
	}
}

// boxRadius returns the fractional radius of the box filter that has the standard deviation sigma when applied three
// times. It rounds to float32 in the same places as Pillow's _gaussian_blur_radius.
func boxRadius(sigma float32) float32 {
	variance := float32(sigma*sigma) / blurPasses
	length := float32(math.Sqrt(float64(12*float64(variance)) + 1))
	whole := float32(math.Floor((float64(length) - 1) / 2))
	part := (float32(2*whole) + 1) * (float32(whole*(whole+1)) - float32(3*variance))
	part /= 6 * (variance - float32((whole+1)*(whole+1)))
	return whole + part
}

// boxWeights returns how far a box filter reaches with its whole weight, that weight, and that of the two bytes beyond.
func boxWeights(radius float32) (r int, inner, outer uint32) {
	r = int(radius)
	inner = uint32((1 << 24) / (float32(radius*2) + 1))
	return r, inner, ((1 << 24) - uint32(2*r+1)*inner) / 2
}

// transpose copies src [height, width, 3] to dst [width, height, 3].
func transpose(dst, src []uint8, height, width int) {
	for y := range height {
		for x := range width {
			*(*[3]uint8)(dst[(x*height+y)*3:]) = *(*[3]uint8)(src[(y*width+x)*3:])
		}
	}
}
