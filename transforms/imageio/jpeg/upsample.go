package jpeg

// upsampler returns the rows of a component at the width and height of the image.
type upsampler struct {
	*component
	// across and down are the numbers of pixels per sample.
	across, down int
	// fancy interpolates when there are 2 pixels per sample; otherwise samples are repeated.
	fancy bool
	out   []uint8
}

func (d *decoder) upsampler(c *component) upsampler {
	u := upsampler{component: c}
	u.across = d.maxH * d.dctSize / (c.h * c.dctSize)
	u.down = d.maxV * d.dctSize / (c.v * c.dctSize)
	u.fancy = d.dctSize > 1 && (u.across == 1 || c.width > 2)
	u.out = make([]uint8, c.width*u.across)
	return u
}

// row returns row y of the image, valid until the next call.
func (u *upsampler) row(y int) []uint8 {
	switch {
	case u.across == 1 && u.down == 1:
		return u.samples(y)
	case u.fancy && u.across == 2 && u.down == 1:
		expand(u.out, u.samples(y), u.samples(y), 4, 8)
	case u.fancy && u.across == 1 && u.down == 2:
		between(u.out, u.samples(y/2), u.samples(y/2-1+y%2*2), 1+y%2)
	case u.fancy && u.across == 2 && u.down == 2:
		expand(u.out, u.samples(y/2), u.samples(y/2-1+y%2*2), 8, 7)
	default:
		for x, v := range u.samples(y / u.down) {
			for i := range u.across {
				u.out[x*u.across+i] = v
			}
		}
	}
	return u.out
}

// samples returns row y of the samples, or the nearest existing one.
func (u *upsampler) samples(y int) []uint8 {
	return u.pix[min(max(y, 0), u.height-1)*u.stride:][:u.width]
}

// between writes a row of samples between two others: 3/4 of the nearer plus 1/4 of the farther.
func between(out, near, far []uint8, bias int) {
	far = far[:len(near)]
	for x, v := range near {
		out[x] = uint8((3*int(v) + int(far[x]) + bias) >> 2)
	}
}

// expandRange writes two pixels per sample, for the samples [begin, end): 3/4 of the sample plus 1/4 of its left or
// right neighbor, where a sample is 3/4 of the one in the nearer row plus 1/4 of the one in the farther row. left and
// right, in 16ths, are added before rounding down.
func expandRange(out, near, far []uint8, left, right, begin, end int) {
	last := len(near) - 1
	sum := func(x int) int { return 3*int(near[x]) + int(far[x]) }
	before, here := sum(max(begin-1, 0)), sum(begin)
	for x := begin; x < end; x++ {
		after := sum(min(x+1, last))
		two := out[2*x:][:2]
		two[0] = uint8((3*here + before + left) >> 4)
		two[1] = uint8((3*here + after + right) >> 4)
		before, here = here, after
	}
}
