package augment

import (
	"fmt"
	"slices"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// benchImage is the smooth 32x32 image of the golden file, which branches are
// predicted for as for real photographs.
func benchImage(b *testing.B) image { return readGolden(b).Sources[0] }

func BenchmarkOp(b *testing.B) {
	src := benchImage(b)
	for _, c := range []struct {
		op    string
		value float64
	}{{"brightness", 1.2}, {"contrast", 1.2}, {"saturation", 1.2}, {"hue", 0.05}, {"gray", 0}, {"blur", 1}, {"flip", 0}} {
		b.Run(c.op, func(b *testing.B) {
			pix, blurrer := slices.Clone(src.Pixels), new(blurrer)
			b.ReportAllocs()
			for b.Loop() {
				copy(pix, src.Pixels)
				if c.op == "blur" {
					blurrer.gaussian(pix, src.Height, src.Width, c.value)
				} else {
					apply(c.op, pix, src.Height, src.Width, c.value)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*src.Height*src.Width), "ns/pixel")
		})
	}
}

func BenchmarkView(b *testing.B) {
	src := benchImage(b)
	for _, size := range []int{20, 24, 32, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			recipe := SimSiam(size)
			w := NewWorker(&recipe)
			dst := make([]float32, size*size*3)
			rnd := rng.New(1)
			b.ReportAllocs()
			for b.Loop() {
				w.Apply(dst, src.Pixels, src.Height, src.Width, recipe.Draw(rnd, src.Height, src.Width))
			}
		})
	}
}

func BenchmarkNormalize(b *testing.B) {
	src := benchImage(b)
	recipe := SimSiam(32)
	dst := make([]float32, len(src.Pixels))
	for b.Loop() {
		Normalize(dst, src.Pixels, recipe.Mean, recipe.Std)
	}
}
