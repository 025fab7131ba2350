package augment

// shiftHue rotates the hue of every pixel by shift/255 of the color wheel, like torchvision's adjust_hue with Pillow's
// conversions: RGB to HSV in three bytes, a wrapping byte addition to H, and back. The conversions lose precision, so
// even a shift of 0 changes pixels.
//
// Pillow computes in floating point. Exact integer arithmetic yields the same bytes except where the exact H is an
// integer; hueErrors corrects those.
func shiftHue(pix []uint8, shift uint8) {
	for i := 0; i < len(pix); i += 3 {
		p := (*[3]uint8)(pix[i:])
		r, g, b := int32(p[0]), int32(p[1]), int32(p[2])
		v := max(r, g, b)
		c := v - min(r, g, b) // chroma

		// The hue is n/c in sixths of a turn, 0 <= n <= 6c, and H = 255/6 n/c.
		n := 4*c + r - g
		if g == v {
			n = 2*c + b - r
		}
		if r == v {
			n = g - b
		}
		if n < 0 {
			n += 6 * c
		}
		n *= 85 // H is n/2c now
		h := divide(uint32(n), uint8(c))
		if h*2*uint32(c) == uint32(n) {
			h -= uint32(hueErrors[uint8(h)])
		}
		s := divide(uint32(2*255*c), uint8(v))

		to := &sectors[uint8(h)+shift]
		high := uint32(v)
		p[to.high] = uint8(high)
		p[to.middle] = uint8(high - (2*high*s*uint32(to.slope)+255*255)/(2*255*255))
		p[to.low] = uint8(high - (2*high*s+255)/(2*255))
	}
}

// hueByte converts a shift in turns to what torchvision adds to the H byte.
func hueByte(turns float64) uint8 { return uint8(int(turns * 255)) }

// divide returns n / 2d, rounded down, for n <= 6*85*255, and 0 for d = 0.
func divide(n uint32, d uint8) uint32 {
	return uint32(uint64(n) * uint64(reciprocals[d]) >> reciprocalBits)
}

// reciprocals[d] is 1/2d in fixed point, rounded up. The bits suffice because
// n < 1<<17 times the rounding error, below 2d < 1<<9, stays below 1<<26.
var reciprocals = func() (t [256]uint32) {
	for d := uint32(1); d < 256; d++ {
		t[d] = (1<<reciprocalBits + 2*d - 1) / (2 * d)
	}
	return t
}()

const reciprocalBits = 26

// hueErrors[H] is by how much, 0 or 1, Pillow's rgb2hsv falls short of H for the colors whose hue is exactly H/255 of a
// turn. Its rounding errors depend only on ratios of channel differences, so one such color represents all; with a
// chroma of 85 there is one for every H.
var hueErrors = func() (t [256]uint8) {
	for h := range 255 {
		var rgb [3]uint8
		rgb[sectors[h].high] = 85
		rgb[sectors[h].middle] = 85 - sectors[h].slope/3
		t[h] = uint8(h) - pillowHue(rgb)
	}
	return t
}()

// pillowHue returns the H byte of a color as Pillow's rgb2hsv computes it, with the same float and double operations.
// The channels must not be all equal.
func pillowHue(rgb [3]uint8) uint8 {
	r, g, b := rgb[0], rgb[1], rgb[2]
	v := max(r, g, b)
	chroma := float32(v - min(r, g, b))
	rc, gc, bc := float32(v-r)/chroma, float32(v-g)/chroma, float32(v-b)/chroma
	var h float32
	switch v {
	case r:
		h = bc - gc
	case g:
		h = float32(2 + float64(rc) - float64(bc))
	default:
		h = float32(4 + float64(gc) - float64(rc))
	}
	turn := float64(h)/6 + 1
	if turn >= 1 {
		turn--
	}
	return uint8(float64(float32(turn)) * 255)
}

// sector describes the colors of one H byte: which channel is the largest, the middle and the smallest one, and how far
// the middle one is below the largest, in 255ths of the distance of the smallest one.
type sector struct{ high, middle, low, slope uint8 }

var sectors = func() (t [256]sector) {
	for h := range t {
		switch i, f := h*6/255, h*6%255; i % 6 {
		case 0:
			t[h] = sector{0, 1, 2, uint8(255 - f)}
		case 1:
			t[h] = sector{1, 0, 2, uint8(f)}
		case 2:
			t[h] = sector{1, 2, 0, uint8(255 - f)}
		case 3:
			t[h] = sector{2, 1, 0, uint8(f)}
		case 4:
			t[h] = sector{2, 0, 1, uint8(255 - f)}
		case 5:
			t[h] = sector{0, 2, 1, uint8(f)}
		}
	}
	return t
}()
