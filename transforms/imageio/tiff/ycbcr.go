package tiff

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// subsample sets how many pixels have their colors in common, in an image that is compressed otherwise than as JPEG.
func (d *Directory) subsample(l *layout, width, height int) error {
	l.across, l.down = 2, 2
	if v := whole(d.values(d.seen(tagSubsampling))); len(v) == 2 {
		l.across, l.down = v[0], v[1]
	}
	known := slices.Contains([]int{1, 2, 4}, l.across) && slices.Contains([]int{1, 2}, l.down)
	switch {
	case l.samples != 3, l.planar && l.across*l.down != 1, !known:
		return fmt.Errorf("YCbCr of %d samples in groups of %d x %d pixels: %w", l.samples, l.across, l.down, ErrUnsupported)
	case width < l.across || height < l.down:
		return fmt.Errorf("fewer pixels than a group of YCbCr, %d x %d", l.across, l.down)
	}
	return nil
}

// toRGB converts YCbCr like libtiff, with the factors and the ranges of values that the file names.
func (d *Directory) toRGB(pix []uint8) error {
	luma := d.floats(tagCoefficients, []float32{0.299, 0.587, 0.114})
	ranges := d.floats(tagBlackWhite, []float32{0, 255, 128, 255, 128, 255})
	for _, v := range luma {
		if math.IsNaN(float64(v)) || luma[1] == 0 {
			return errors.New("damaged factors of YCbCr")
		}
	}
	for _, v := range ranges {
		if !(v > -math.MaxInt32+128 && v < math.MaxInt32) {
			return errors.New("damaged black and white of YCbCr")
		}
	}
	// scaled maps the values from black to white to those from 0 to most.
	scaled := func(v int, black, white, most float32) int32 {
		extent := white - black
		if extent == 0 {
			extent = 1
		}
		return int32(max(-128*32, min(float32(v-int(black))*most/extent, 128*32)))
	}
	// fixed has 16 fractional bits.
	fixed := func(v float32) int32 {
		if !(v >= 0) {
			v = 0
		}
		return int32(float64(min(v, 2))*65536 + 0.5)
	}
	const half = 1 << 15
	red, blue := 2-float32(2*luma[0]), 2-float32(2*luma[2])
	redOfGreen, blueOfGreen := fixed(luma[0]*red/luma[1]), fixed(luma[2]*blue/luma[1])
	var y, r, b, gr, gb [256]int32
	for i := range y {
		y[i] = scaled(i, ranges[0], ranges[1], 255)
		cr := scaled(i-128, ranges[4]-128, ranges[5]-128, 127)
		cb := scaled(i-128, ranges[2]-128, ranges[3]-128, 127)
		r[i], b[i] = (fixed(red)*cr+half)>>16, (fixed(blue)*cb+half)>>16
		gr[i], gb[i] = -redOfGreen*cr, -blueOfGreen*cb+half
	}
	byteOf := func(v int32) uint8 { return uint8(max(0, min(v, 255))) }
	for ; len(pix) >= 3; pix = pix[3:] {
		luma, cb, cr := y[pix[0]], pix[1], pix[2]
		pix[0], pix[1], pix[2] = byteOf(luma+r[cr]), byteOf(luma+(gr[cr]+gb[cb])>>16), byteOf(luma+b[cb])
	}
	return nil
}

// floats returns the first values of a tag, as many as in missing, which it returns where the tag has fewer. What is divided
// by 0 is 0.
func (d *Directory) floats(tag uint16, missing []float32) []float32 {
	value := d.seen(tag)
	v := d.values(value)
	if len(v) < len(missing) {
		return missing
	}
	out := make([]float32, len(missing))
	for i := range out {
		if f := v[i]; value.kind != typeRational || f-f == 0 {
			out[i] = float32(f)
		}
	}
	return out
}

// fromYCbCr converts to RGB like Pillow itself, without libtiff, with 6 fractional bits.
func fromYCbCr(pix []uint8) {
	fraction := func(v uint8, factor float64) int { return int(float64(int(v)-128)*factor*64 + 0.5) }
	for ; len(pix) >= 3; pix = pix[3:] {
		luma, blue, red := int(pix[0]), pix[1], pix[2]
		r := luma + fraction(red, 1.402)>>6
		g := luma + (fraction(blue, -0.34414)+fraction(red, -0.71414))>>6
		b := luma + fraction(blue, 1.772)>>6
		pix[0], pix[1], pix[2] = clip(float64(r)), clip(float64(g)), clip(float64(b))
	}
}
