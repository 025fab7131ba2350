package cuda

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// viewCase is a batch of images and the operations that make their views.
type viewCase struct {
	size, side, batch int // of views, of images, of images per batch
	operations        [2][]augment.Operation
	seed              uint64
}

var (
	viewMean = [3]float32{0.485, 0.456, 0.406}
	viewStd  = [3]float32{0.229, 0.224, 0.225}
)

// workers return what makes the first views and the second ones.
func (c viewCase) workers() (w [2]*augment.Worker) {
	for i, operations := range c.operations {
		w[i] = augment.NewWorker(operations, c.size, viewMean, viewStd)
	}
	return w
}

// views describes the case for a device.
func (c viewCase) views() *ssl.Views {
	most := max(len(c.operations[0]), len(c.operations[1]))
	return &ssl.Views{Size: c.side, Mean: viewMean, Std: viewStd, Steps: augment.MaxSteps * most}
}

// image returns an image with smooth, flat and noisy parts, and with all kinds of colors.
func (c viewCase) image(i int) []uint8 {
	random, pixels := rng.New(c.seed, rng.Sample, uint64(i)), make([]uint8, c.side*c.side*3)
	for y := range c.side {
		for x := range c.side {
			p := pixels[(y*c.side+x)*3:]
			switch (x/5 + y/7 + i) % 4 {
			case 0: // any color
				p[0], p[1], p[2] = uint8(random.IntN(256)), uint8(random.IntN(256)), uint8(random.IntN(256))
			case 1: // nearly gray
				v := random.IntN(254)
				p[0], p[1], p[2] = uint8(v+random.IntN(3)), uint8(v+random.IntN(3)), uint8(v+random.IntN(3))
			case 2: // saturated
				p[random.IntN(3)] = 255
				p[random.IntN(3)] = uint8(5 * y)
			case 3:
				p[0], p[1], p[2] = uint8(3*x), uint8(2*y), uint8(x+y)
			}
		}
	}
	return pixels
}

// seek moves to the stream of a view of a step.
func (c viewCase) seek(random *rng.Generator, step uint64, view int) {
	random.Seek(c.seed, rng.View, step, uint64(view))
}

// onCPU returns the views of a step.
func (c viewCase) onCPU(step uint64) []float32 {
	n, w, random := c.size*c.size*3, c.workers(), rng.NewGenerator()
	out := make([]float32, 2*c.batch*n)
	for i := range 2 * c.batch {
		c.seek(random, step, i)
		w[i/c.batch].View(out[i*n:][:n], c.image(i%c.batch), c.side, c.side, random)
	}
	return out
}

// draw writes what they are made from.
func (c viewCase) draw(step uint64, to ssl.Sources) {
	w, random := c.workers(), rng.NewGenerator()
	for i := range c.batch {
		copy(to.Images[i*c.side*c.side*3:], c.image(i))
	}
	most := c.views().Steps
	for i := range 2 * c.batch {
		c.seek(random, step, i)
		w[i/c.batch].Fill(to.Steps[i*most:][:most], c.side, c.side, random)
	}
}

// check compares the kernels' views with the CPU's, bit by bit.
func (c viewCase) check(t require.TestingT, s bench, steps uint64) {
	m := newViewMaker(s, s, *c.views(), c.batch, c.size)
	host, out := make([]byte, m.sources.Len), s.acts(2*c.batch*c.size*c.size*3)
	for step := range steps {
		c.draw(step, m.in(host))
		s.put(m.sources, unsafe.Pointer(&host[0]))
		m.run(out)
		want, got := s.round(c.onCPU(step)), s.readActs(out)
		for i, v := range want {
			if math.Float32bits(v) != math.Float32bits(got[i]) {
				n := c.size * c.size * 3
				require.FailNow(t, "views differ", "step %d, view %d, value %d: %v, want %v", step, i/n, i%n, got[i], v)
			}
		}
	}
}

// loud are all operations with settings that draw much of what there is to draw.
func loud() []augment.Operation {
	return []augment.Operation{
		augment.RandomResizedCrop{Scale: [2]float64{.02, 1}, Ratio: [2]float64{.2, 5}},
		augment.HorizontalFlip{P: .5},
		augment.ColorJitter{P: .9, Brightness: .8, Contrast: 1.5, Saturation: 2, Hue: .5},
		augment.Grayscale{P: .2},
		augment.GaussianBlur{P: .7, Sigma: [2]float64{0, 9}},
		augment.Solarize{P: .4, Threshold: 128},
	}
}

// TestViews makes views by each operation alone, by all of them, and by none.
func TestViews(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		s := newBench(t, bf16)
		all := loud()
		for i, o := range append(slices.Clone(all), nil) {
			operations := []augment.Operation{all[0], o}
			switch i {
			case 0:
				operations = all[:1]
			case len(all):
				operations = all
			}
			c := viewCase{20, 32, 20, [2][]augment.Operation{operations, operations}, 3}
			t.Run(fmt.Sprint(len(operations), i), func(t *testing.T) { c.check(t, s, 1) })
		}
		viewCase{size: 9, side: 9, batch: 2}.check(t, s, 1)
	})
}

// TestViewsOfAnything makes views by any operations in any order, of any size, in shared and in other memory.
func TestViewsOfAnything(t *testing.T) {
	s := newBench(t, false)
	rapid.Check(t, func(rt *rapid.T) {
		side := rapid.OneOf(rapid.IntRange(1, 40), rapid.IntRange(60, 90))
		c := viewCase{
			size: side.Draw(rt, "size"), side: side.Draw(rt, "side"), batch: rapid.IntRange(1, 3).Draw(rt, "batch"),
			seed: rapid.Uint64().Draw(rt, "seed"),
		}
		for i := range c.operations {
			operations := rapid.SliceOfN(rapid.SampledFrom(append(loud(), augment.Defaults()...)), 0, 6).Draw(rt, "operations")
			if c.size != c.side && !augment.Resizes(operations) {
				operations = slices.Insert(operations, rapid.IntRange(0, len(operations)).Draw(rt, "crop at"), loud()[0])
			}
			c.operations[i] = operations
		}
		c.check(rt, s, 2)
	})
}

// TestViewsOfPhotos makes more views of 224 px than there are blocks, of which each has several.
func TestViewsOfPhotos(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	operations := augment.SimSiam(224)
	c := viewCase{224, 256, 3, [2][]augment.Operation{operations, loud()}, 5}
	c.check(t, newBench(t, false), 1)
	c = viewCase{66, 66, viewBlocks/2 + 2, [2][]augment.Operation{{augment.HorizontalFlip{P: .5}}, {augment.Solarize{P: .5}}}, 6}
	c.check(t, newBench(t, false), 1)
}
