// Package resample resizes 8-bit RGB images with Pillow's antialiasing separable filters. Its results equal those of
// Pillow's Image.resize(size, filter, box) byte for byte, so that models can be compared with ones trained on images
// that Pillow resized.
//
// As in Pillow, each axis is one pass with fixed-point weights, and the image between the passes is rounded to 8 bits.
// The horizontal pass comes first unless the height shrinks by more than twice as much as the width. Pillow before 13.0
// lacks that exception; its results then differ by one or two gray levels.
package resample

import (
	"fmt"
	"math"
)

// Filter is a resampling kernel: it weights source pixels by their distance.
type Filter int

// The filters, with Pillow's names.
const (
	Bilinear Filter = iota // support 1: triangle
	Bicubic                // support 2: Keys' cubic convolution with a = -0.5
)

// String returns the filter's name.
func (f Filter) String() string {
	return [...]string{"bilinear", "bicubic"}[f]
}

func (f Filter) support() float64 { return [...]float64{1, 2}[f] }

// weight returns the kernel's value at distance x. The explicit conversions prevent fused multiply-adds, which would
// make results depend on the machine.
func (f Filter) weight(x float64) float64 {
	switch f {
	case Bilinear:
		if x = math.Abs(x); x < 1 {
			return 1 - x
		}
	case Bicubic:
		if x = math.Abs(x); x < 1 {
			return float64((float64(1.5*x)-2.5)*x*x) + 1
		} else if x < 2 {
			return (float64((float64((x-5)*x)+8)*x) - 4) * -0.5
		}
	}
	return 0
}

// Scratch holds the weights and the intermediate image of Resize, so that repeated calls do not allocate. Weights are
// reused while the geometry stays the same. The zero value is ready to use. A Scratch must not be used by two
// goroutines at once.
type Scratch struct {
	horizontal, vertical axis
	middle               []uint8
}

// Resize resizes the region box (left, top, right, bottom, in pixels, possibly fractional) of src, sh x sw pixels of 3
// interleaved bytes, to dst, dh x dw pixels. As in Pillow, pixels outside the box contribute where the kernel reaches
// beyond its edge; crop first if they must not. dst and src must not overlap. Resize panics if a buffer's length does
// not match its size, or if the box is empty or exceeds the image.
func Resize(dst []uint8, dw, dh int, src []uint8, sw, sh int, box [4]float64, filter Filter, scratch *Scratch) {
	switch {
	case dw <= 0 || dh <= 0 || len(dst) != dw*dh*3:
		panic(fmt.Sprintf("resample: destination of %d bytes is not %dx%d pixels of 3 bytes", len(dst), dw, dh))
	case sw <= 0 || sh <= 0 || len(src) != sw*sh*3:
		panic(fmt.Sprintf("resample: source of %d bytes is not %dx%d pixels of 3 bytes", len(src), sw, sh))
	case !(box[0] >= 0 && box[1] >= 0 && box[0] < box[2] && box[1] < box[3] && box[2] <= float64(sw) && box[3] <= float64(sh)):
		panic(fmt.Sprintf("resample: box %v is empty or not inside the %dx%d image", box, sw, sh))
	}
	x, y := &scratch.horizontal, &scratch.vertical
	x.plan(sw, dw, box[0], box[2], filter)
	y.plan(sh, dh, box[1], box[3], filter)
	if x.identity && y.identity {
		copy(dst, src)
		return
	}
	if x.identity {
		y.columns(dst, src, 3*dw, 0)
		return
	}
	if y.identity {
		x.rows(dst, src, sw, sh)
		return
	}
	if sh > dh && sh-dh > 2*(sw-dw) {
		middle := scratch.buffer(sw * dh * 3)
		y.columns(middle, src, 3*sw, 0)
		x.rows(dst, middle, sw, dh)
		return
	}
	// Scale only the rows that the vertical pass reads.
	first := y.spans[0].first
	last := y.spans[dh-1].first + y.spans[dh-1].n
	middle := scratch.buffer((last - first) * dw * 3)
	x.rows(middle, src[first*sw*3:last*sw*3], sw, last-first)
	y.columns(dst, middle, 3*dw, first)
}

// buffer returns n bytes for the image between the passes.
func (s *Scratch) buffer(n int) []uint8 {
	if cap(s.middle) < n {
		s.middle = make([]uint8, n)
	}
	return s.middle[:n]
}
