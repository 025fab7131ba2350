package augment

import "fmt"

// Normalize normalizes images without augmentation, for evaluation: it writes (src/255 - mean) / std to dst, like
// torchvision's ToTensor and Normalize, but keeps the channels-last layout [..., 3] of src. It panics if the lengths
// differ or are not a multiple of 3.
func Normalize(dst []float32, src []uint8, mean, std [3]float32) {
	if len(dst) != len(src) || len(src)%3 != 0 {
		panic(fmt.Sprintf("augment: %d bytes and %d values are not the same number of RGB pixels", len(src), len(dst)))
	}
	table := newNormTable(mean, std)
	table.apply(dst, src)
}

// normTable holds the normalized value of every byte in every channel.
type normTable [256][3]float32

func newNormTable(mean, std [3]float32) (t normTable) {
	for v := range t {
		for c := range 3 {
			t[v][c] = (float32(v)/255 - mean[c]) / std[c]
		}
	}
	return t
}

func (t *normTable) apply(dst []float32, src []uint8) {
	dst = dst[:len(src)] // eliminates bounds checks below
	for i := 2; i < len(src); i += 3 {
		dst[i-2] = t[src[i-2]][0]
		dst[i-1] = t[src[i-1]][1]
		dst[i] = t[src[i]][2]
	}
}
