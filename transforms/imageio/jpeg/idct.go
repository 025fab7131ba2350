package jpeg

import "math"

// The inverse DCTs are in fixed point: first columns, whose results keep passBits fractional bits, then rows. They
// equal libjpeg's bit for bit.
const (
	constBits = 13
	passBits  = 2
)

// The constants of the DCTs, scaled by 2^constBits.
const (
	fix0_211164243 = 1730
	fix0_298631336 = 2446
	fix0_390180644 = 3196
	fix0_509795579 = 4176
	fix0_541196100 = 4433
	fix0_601344887 = 4926
	fix0_720959822 = 5906
	fix0_765366865 = 6270
	fix0_850430095 = 6967
	fix0_899976223 = 7373
	fix1_061594337 = 8697
	fix1_175875602 = 9633
	fix1_272758580 = 10426
	fix1_451774981 = 11893
	fix1_501321110 = 12299
	fix1_847759065 = 15137
	fix1_961570560 = 16069
	fix2_053119869 = 16819
	fix2_172734803 = 17799
	fix2_562915447 = 20995
	fix3_072711026 = 25172
	fix3_624509785 = 29692
)

// block is 8 x 8 dequantized coefficients in natural order.
type block [64]int16

// reconstruct turns the coefficients of a block into samples. last is the zigzag index of the last nonzero one.
func (c *component) reconstruct(b *block, last, x, y int) {
	dst := c.pix[(y*c.stride+x)*c.dctSize:]
	if c.dctSize == 8 {
		b.overflow()
	}
	switch {
	case last == 0:
		v := sample(descale(int32(b[0]), 3))
		for y := range c.dctSize {
			row := dst[y*c.stride:][:c.dctSize]
			for x := range row {
				row[x] = v
			}
		}
	case c.dctSize == 8:
		idct8(dst, c.stride, b)
	case c.dctSize == 4:
		idct4(dst, c.stride, b)
	default:
		idct2(dst, c.stride, b)
	}
}

// dot turns the first coefficient of a block into its only sample. libjpeg, which has no loop for AVX2 here, keeps the low ten
// bits of what does not fit.
func (c *component) dot(coeff int16, x, y int) {
	v := descale(int32(coeff)*c.quant.factors[0], 3)
	c.pix[y*c.stride+x] = sample(v << 22 >> 22)
}

// overflow drops the high bits of the first row, if the others are 0: for such blocks libjpeg-turbo has a shortcut that
// loses them.
func (b *block) overflow() {
	high := int16(0)
	for _, v := range b[:8] {
		high |= v ^ v<<1
	}
	if high >= 0 && high<<1 >= 0 { // the highest three bits of each are equal
		return
	}
	for _, v := range b[8:] {
		if v != 0 {
			return
		}
	}
	for i, v := range b[:8] {
		b[i] = v << passBits >> passBits
	}
}

// descale divides by 2^n and rounds.
func descale(v int32, n int) int32 { return (v + 1<<(n-1)) >> n }

// sample shifts from -128..127 to 0..255 and clips.
func sample(v int32) uint8 { return clip(v + 128) }

// idct8Pixels is idct8 in Go.
func idct8Pixels(dst []uint8, stride int, b *block) {
	var work, out block
	transform8(&work, b, constBits-passBits)
	transform8(&out, &work, constBits+passBits+3)
	for y := range 8 {
		row := (*[8]uint8)(dst[y*stride:])
		for x := range row {
			row[x] = sample(int32(out[8*y+x]))
		}
	}
}

// transform8 writes the inverse DCTs of the columns of in to the rows of out, scaled by 2^(constBits-shift) times the
// square root of 8. Results that do not fit are clipped; four sums before are of 16 bits, too, and overflow.
func transform8(out, in *block, shift int) {
	round := int32(1) << (shift - 1)
	for i := range 8 {
		sum := func(a, b int) int32 { return int32(in[8*a+i] + in[8*b+i]) }
		wide := func(a int) int32 { return int32(in[8*a+i]) }
		x1, x2, x3, x5, x6, x7 := wide(1), wide(2), wide(3), wide(5), wide(6), wide(7)
		row := (*[8]int16)(out[8*i:])
		z := (x2 + x6) * fix0_541196100
		t2, t3 := z-x6*fix1_847759065, z+x2*fix0_765366865
		t0, t1 := sum(0, 4)<<constBits+round, int32(in[i]-in[32+i])<<constBits+round
		e0, e1, e2, e3 := t0+t3, t1+t2, t1-t2, t0-t3

		z1, z2, z3, z4 := (x7+x1)*-fix0_899976223, (x5+x3)*-fix2_562915447, sum(7, 3), sum(5, 1)
		z5 := (z3 + z4) * fix1_175875602
		z3, z4 = z5-z3*fix1_961570560, z5-z4*fix0_390180644
		o0 := x1*fix1_501321110 + z1 + z4
		o1 := x3*fix3_072711026 + z2 + z3
		o2 := x5*fix2_053119869 + z2 + z4
		o3 := x7*fix0_298631336 + z1 + z3
		row[0], row[7] = clip16((e0+o0)>>shift), clip16((e0-o0)>>shift)
		row[1], row[6] = clip16((e1+o1)>>shift), clip16((e1-o1)>>shift)
		row[2], row[5] = clip16((e2+o2)>>shift), clip16((e2-o2)>>shift)
		row[3], row[4] = clip16((e3+o3)>>shift), clip16((e3-o3)>>shift)
	}
}

func clip16(v int32) int16 { return int16(min(max(v, math.MinInt16), math.MaxInt16)) }

// idct4Pixels is idct4 in Go.
func idct4Pixels(dst []uint8, stride int, b *block) {
	var work [4][8]int32
	for x := range 8 {
		if x == 4 { // unused by the rows
			continue
		}
		v := transform4(int32(b[x]), int32(b[x+8]), int32(b[x+16]), int32(b[x+24]),
			int32(b[x+40]), int32(b[x+48]), int32(b[x+56]))
		for y := range 4 {
			work[y][x] = int32(clip16(descale(v[y], constBits-passBits+1)))
		}
	}
	for y := range 4 {
		w, out := &work[y], dst[y*stride:][:4]
		v := transform4(w[0], w[1], w[2], w[3], w[5], w[6], w[7])
		for x := range 4 {
			out[x] = sample(descale(v[x], constBits+passBits+3+1))
		}
	}
}

// transform4 is the inverse DCT of 8 values to 4, which does not use the fifth, scaled by 2^(constBits+1) times the
// square root of 8.
func transform4(x0, x1, x2, x3, x5, x6, x7 int32) [4]int32 {
	t0, t2 := x0<<(constBits+1), x2*fix1_847759065-x6*fix0_765366865
	e0, e1 := t0+t2, t0-t2
	o1 := -x7*fix0_211164243 + x5*fix1_451774981 - x3*fix2_172734803 + x1*fix1_061594337
	o0 := -x7*fix0_509795579 - x5*fix0_601344887 + x3*fix0_899976223 + x1*fix2_562915447
	return [4]int32{e0 + o0, e1 + o1, e1 - o1, e0 - o0}
}

// idct2 writes 2 x 2 samples.
func idct2(dst []uint8, stride int, b *block) {
	var work [2][8]int32
	for _, x := range [...]int{0, 1, 3, 5, 7} {
		v0, v1 := transform2(int32(b[x]), int32(b[x+8]), int32(b[x+24]), int32(b[x+40]), int32(b[x+56]))
		work[0][x], work[1][x] = descale(v0, constBits-passBits+2), descale(v1, constBits-passBits+2)
	}
	for y := range 2 {
		w, out := &work[y], dst[y*stride:][:2]
		v0, v1 := transform2(w[0], w[1], w[3], w[5], w[7])
		const shift = constBits + passBits + 3 + 2
		out[0], out[1] = sample(descale(v0, shift)), sample(descale(v1, shift))
	}
}

// transform2 is the inverse DCT of 8 values to 2, which uses only the first and those with odd indices, scaled by
// 2^(constBits+2) times the square root of 8.
func transform2(x0, x1, x3, x5, x7 int32) (v0, v1 int32) {
	even := x0 << (constBits + 2)
	odd := -x7*fix0_720959822 + x5*fix0_850430095 - x3*fix1_272758580 + x1*fix3_624509785
	return even + odd, even - odd
}
