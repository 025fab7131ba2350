//go:build !amd64

package jpeg

func idct8(dst []uint8, stride int, b *block) { idct8Pixels(dst, stride, b) }
func idct4(dst []uint8, stride int, b *block) { idct4Pixels(dst, stride, b) }
func convertYCC(out, luma, blue, red []uint8) { convertPixels(out, luma, blue, red) }
func expand(out, near, far []uint8, left, right int) {
	expandRange(out, near, far, left, right, 0, len(near))
}
