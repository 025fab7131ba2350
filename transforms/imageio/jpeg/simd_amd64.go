package jpeg

import "github.com/sdr-ml/sdr/tensorops/kernels"

//go:generate go run ./gen -out avx2_amd64.s -stubs avx2_amd64.go -pkg jpeg

// simd reports whether to use the loops in avx2_amd64.s.
var simd = kernels.ISA() != "portable"

// idct8 writes 8 x 8 samples.
func idct8(dst []uint8, stride int, b *block) {
	if !simd {
		idct8Pixels(dst, stride, b)
		return
	}
	avx2IDCT8(dst[:7*stride+8], stride, (*[64]int16)(b))
}

// idct4 writes 4 x 4 samples.
func idct4(dst []uint8, stride int, b *block) {
	if !simd {
		idct4Pixels(dst, stride, b)
		return
	}
	avx2IDCT4(dst[:3*stride+4], stride, (*[64]int16)(b))
}

// convertYCC converts pixels from luma and two chroma planes.
func convertYCC(out, luma, blue, red []uint8) {
	done := 0
	if simd && len(luma) >= 16 {
		done = (len(luma) - 2) &^ 7 // its last store extends over two more pixels
		avx2FromYCC(out, luma, blue, red, done)
	}
	convertPixels(out[3*done:], luma[done:], blue[done:], red[done:])
}

// expand writes two pixels for each sample; see expandRange.
func expand(out, near, far []uint8, left, right int) {
	done := 0
	if simd && len(near) >= 18 {
		expandRange(out, near, far, left, right, 0, 1)
		n := (len(near) - 2) &^ 15
		avx2Expand(out, near, far, uint16(left), uint16(right), n)
		done = n + 1
	}
	expandRange(out, near, far, left, right, done, len(near))
}
