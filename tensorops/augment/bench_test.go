package augment

import (
	"fmt"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// benchImage is the smooth 32x32 image of the golden file, on which branch prediction works as on real photographs.
func benchImage(b *testing.B) picture { return readGolden(b).Sources[0] }

func BenchmarkOp(b *testing.B) {
	src := benchImage(b)
	for _, c := range []struct {
		op    string
		value float64
	}{{"brightness", 1.2}, {"contrast", 1.2}, {"saturation", 1.2}, {"hue", 0.05}, {"gray", 0}, {"blur", 1}, {"flip", 0}, {"solarize", 128}} {
		b.Run(c.op, func(b *testing.B) {
			m := src.image()
			b.ReportAllocs()
			for b.Loop() {
				copy(m.Pix, src.Pixels)
				apply(c.op, m, c.value)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*src.Height*src.Width), "ns/pixel")
		})
	}
}

func BenchmarkView(b *testing.B) {
	src := benchImage(b)
	for _, size := range []int{20, 24, 32, 64} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			w, dst := newWorker(SimSiam(size), size), make([]float32, size*size*3)
			random, step := rng.NewGenerator(), uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				random.Seek(1, rng.View, step)
				w.View(dst, src.Pixels, src.Height, src.Width, random)
				step++
			}
		})
	}
}

func BenchmarkPlan(b *testing.B) {
	w, random, step := newWorker(SimSiam(64), 32), rng.NewGenerator(), uint64(0)
	var steps []Step
	b.ReportAllocs()
	for b.Loop() {
		random.Seek(1, rng.View, step)
		steps = w.Plan(steps[:0], 32, 32, random)
		step++
	}
}

func BenchmarkNormalize(b *testing.B) {
	src := benchImage(b)
	dst := make([]float32, len(src.Pixels))
	for b.Loop() {
		Normalize(dst, src.Pixels, imagenetMean, imagenetStd)
	}
}
