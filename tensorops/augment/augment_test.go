package augment

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawImage(t *rapid.T) *Image {
	height, width := rapid.IntRange(1, 40).Draw(t, "height"), rapid.IntRange(1, 40).Draw(t, "width")
	return &Image{Pix: rapid.SliceOfN(rapid.Byte(), height*width*3, height*width*3).Draw(t, "pixels"), Height: height, Width: width}
}

func TestIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		got := drawImage(t)
		pix := slices.Clone(got.Pix)
		HorizontalFlip{}.Apply(got, true)
		HorizontalFlip{}.Apply(got, true)
		require.Equal(t, pix, got.Pix, "flip twice")
		Solarize{Threshold: 0}.Apply(got, true)
		Solarize{Threshold: 0}.Apply(got, true)
		require.Equal(t, pix, got.Pix, "invert twice")
		for _, op := range []string{"brightness", "contrast", "saturation"} {
			apply(op, got, 1)
			require.Equal(t, pix, got.Pix, op)
		}
		GaussianBlur{}.Apply(got, 0)
		HorizontalFlip{}.Apply(got, false)
		Grayscale{}.Apply(got, false)
		Solarize{}.Apply(got, false)
		ColorJitter{}.Apply(got, Jitter{})
		require.Equal(t, pix, got.Pix, "nothing drawn")
		ColorJitter{}.Apply(got, Jitter{On: true, Brightness: 1, Contrast: 1, Saturation: 1, Order: [4]uint8{OpHue, OpBrightness, OpSaturation, OpContrast}})
		require.Equal(t, pix, got.Pix, "jitter with nothing to do")
		Grayscale{}.Apply(got, true)
		once := slices.Clone(got.Pix)
		Grayscale{}.Apply(got, true)
		require.Equal(t, once, got.Pix, "grayscale is a projection")
	})
}

func TestBlurCommutesWithFlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := drawImage(t)
		b := &Image{Pix: slices.Clone(a.Pix), Height: a.Height, Width: a.Width}
		sigma := rapid.Float64Range(0, 50).Draw(t, "sigma")
		GaussianBlur{}.Apply(a, sigma)
		HorizontalFlip{}.Apply(a, true)
		HorizontalFlip{}.Apply(b, true)
		GaussianBlur{}.Apply(b, sigma)
		require.Equal(t, a.Pix, b.Pix)
	})
}

// Any operations in any order, some of them repeated, make a view of any image, and a used worker makes the same view
// as a fresh one.
func TestViewOfAnything(t *testing.T) {
	const size = 9
	rapid.Check(t, func(t *rapid.T) {
		operations := rapid.SliceOf(rapid.SampledFrom(append(Defaults(), SimSiam(64)...))).Draw(t, "operations")
		at := rapid.IntRange(0, len(operations)).Draw(t, "crop at")
		operations = slices.Insert(operations, at, Operation(RandomResizedCrop{
			Scale: [2]float64{rapid.Float64Range(.01, 1).Draw(t, "scale"), 1},
			Ratio: [2]float64{rapid.Float64Range(.01, 1).Draw(t, "ratio"), rapid.Float64Range(1, 100).Draw(t, "ratio")},
		}))
		require.NoError(t, Validate(operations))
		used, fresh := newWorker(operations, size), newWorker(operations, size)
		used.View(make([]float32, size*size*3), make([]uint8, 50*3), 5, 10, rng.NewGenerator())

		m, random := drawImage(t), rng.NewGenerator()
		random.Seek(rapid.Uint64().Draw(t, "seed"))
		before := slices.Clone(m.Pix)
		got, want := make([]float32, size*size*3), make([]float32, size*size*3)
		used.View(got, m.Pix, m.Height, m.Width, random)
		fresh.View(want, m.Pix, m.Height, m.Width, random)
		require.Equal(t, want, got)
		require.Equal(t, before, m.Pix, "the source is not written to")
		Normalize(want, fresh.pixels(m.Pix, m.Height, m.Width, random), imagenetMean, imagenetStd)
		require.Equal(t, want, got)
	})
}

func newWorker(operations []Operation, size int) *Worker {
	return NewWorker(operations, size, imagenetMean, imagenetStd)
}

// spy is an operation that only records a drawn number.
type spy struct {
	name  string
	drawn map[string][]uint64 // of all spies, in their order
}

func (s spy) Name() string  { return s.name }
func (spy) Validate() error { return nil }
func (s spy) Transform(_ *Image, random *rand.Rand) {
	s.drawn[s.name] = append(s.drawn[s.name], random.Uint64())
	for range len(s.drawn) { // as many numbers as there are names: what others draw does not matter
		random.Uint64()
	}
}

// What an operation draws depends on its name, on the number of earlier operations with that name and on the view, but
// not on the other operations.
func TestStreamsAreIndependent(t *testing.T) {
	random := rng.NewGenerator()
	draw := func(view uint64, names ...string) map[string][]uint64 {
		drawn := map[string][]uint64{}
		var operations []Operation
		for _, name := range names {
			operations = append(operations, spy{name, drawn})
		}
		random.Seek(1, rng.View, 5, view)
		newWorker(operations, 1).pixels(make([]uint8, 3), 1, 1, random)
		return drawn
	}
	all := draw(0, "a", "b", "b", "c")
	require.Equal(t, rng.New(1, rng.View, 5, 0, rng.Name("b"), 1).Uint64(), all["b"][1])
	numbers := slices.Concat(all["a"], all["b"], all["c"], draw(1, "a")["a"])
	slices.Sort(numbers)
	require.Len(t, slices.Compact(numbers), 5, "all different")
	for _, names := range [][]string{{"a"}, {"c", "a"}, {"b"}, {"b", "c", "x", "b"}, {"x", "x", "a", "b", "b", "c"}} {
		for name, got := range draw(0, names...) {
			if name != "x" {
				require.Equal(t, all[name][:len(got)], got, "%s of %v", name, names)
			}
		}
	}
}

// The same for real operations: an added one changes the view only by its own effect, if it commutes with those that
// follow.
func TestOneMoreOperation(t *testing.T) {
	src := readGolden(t).Sources[1]
	random := rng.NewGenerator()
	view := func(step uint64, operations ...Operation) []uint8 {
		random.Seek(2, rng.View, step)
		return slices.Clone(newWorker(operations, 20).pixels(src.Pixels, src.Height, src.Width, random))
	}
	recipe := SimSiam(64)
	for step := range uint64(50) {
		want := view(step, recipe...)
		for i := range recipe {
			require.Equal(t, want, view(step, slices.Insert(slices.Clone(recipe), i, Operation(spy{"spy", map[string][]uint64{}}))...))
		}
		m := &Image{Pix: want, Height: 20, Width: 20}
		HorizontalFlip{}.Apply(m, true)
		for i := 2; i <= len(recipe); i++ {
			require.Equal(t, m.Pix, view(step, slices.Insert(slices.Clone(recipe), i, Operation(HorizontalFlip{P: 1}))...))
		}
	}
}

func TestViewDoesNotAllocate(t *testing.T) {
	w := newWorker(slices.Concat(Defaults(), SimSiam(64)), 20)
	src, dst := make([]uint8, 32*32*3), make([]float32, 20*20*3)
	random, step := rng.NewGenerator(), uint64(0)
	view := func() {
		random.Seek(1, rng.View, step)
		w.View(dst, src, 32, 32, random)
		step++
	}
	for range 200 {
		view()
	}
	require.Zero(t, testing.AllocsPerRun(200, view))
}

func TestBadBuffersPanic(t *testing.T) {
	w, random := newWorker(SimSiam(4), 4), rng.NewGenerator()
	src, dst := make([]uint8, 5*6*3), make([]float32, 4*4*3)
	require.NotPanics(t, func() { w.View(dst, src, 5, 6, random) })
	require.PanicsWithValue(t, "augment: destination of 47 values is not [4 4 3]", func() { w.View(dst[1:], src, 5, 6, random) })
	require.PanicsWithValue(t, "augment: source of 89 bytes is not [5 6 3]", func() { w.View(dst, src[1:], 5, 6, random) })
	w = newWorker([]Operation{grayscale}, 4)
	require.PanicsWithValue(t, "augment: the operations leave an image of [5 6 3], not the view's [4 4 3]", func() { w.View(dst, src, 5, 6, random) })
	require.NotPanics(t, func() { w.View(dst, src[:48], 4, 4, random) })
	for _, b := range []Box{{}, {1, 0, 5, 6}, {0, 1, 5, 6}, {-1, 0, 2, 2}, {0, -1, 2, 2}, {0, 0, 0, 2}} {
		m := &Image{Pix: src, Height: 5, Width: 6, Size: 4}
		require.Panics(t, func() { RandomResizedCrop{}.Apply(m, b) }, "%+v", b)
	}
	require.Panics(t, func() { Normalize(dst, src, imagenetMean, imagenetStd) })
}

// A plan draws what a view draws and is empty only if the operation changes nothing.
func TestPlan(t *testing.T) {
	src := readGolden(t).Sources[1]
	for _, o := range slices.Concat(Defaults(), SimSiam(64)) {
		planned := 0
		for i := range uint64(200) {
			m, a, b := src.image(), rng.New(i), rng.New(i)
			m.Size = 20
			o.Transform(m, a)
			steps := o.(Portable).Plan(nil, b, src.Height, src.Width)
			require.Equal(t, a.Uint64(), b.Uint64(), o.Name())
			require.LessOrEqual(t, len(steps), MaxSteps)
			if len(steps) == 0 {
				require.Equal(t, src.Pixels, m.Pix, o.Name())
			}
			planned += len(steps)
		}
		require.Positive(t, planned, o.Name())
	}
}

// A worker plans with the streams and image sizes of a view: its second crop is one of the first one's result.
func TestPlanOfWorker(t *testing.T) {
	operations := []Operation{HorizontalFlip{P: .5}, randomResizedCrop, HorizontalFlip{P: .5}, randomResizedCrop}
	require.NoError(t, CheckPortable(operations))
	w, random := newWorker(operations, 20), rng.NewGenerator()
	random.Seek(1, rng.View, 2)
	steps := w.Plan(nil, 50, 40, random)
	var want []Step
	for i, o := range operations {
		height, width := 50, 40
		if i > 1 {
			height, width = 20, 20
		}
		want = o.(Portable).Plan(want, rng.New(1, rng.View, 2, rng.Name(o.Name()), uint64(i/2)), height, width)
	}
	require.Equal(t, want, steps)
	require.Zero(t, testing.AllocsPerRun(100, func() { w.Plan(steps[:0], 50, 40, random) }))

	operations = append(operations, spy{name: "spy"})
	require.EqualError(t, CheckPortable(operations), "augment: only the CPU can apply spy")
	w = newWorker([]Operation{HorizontalFlip{}}, 20)
	require.PanicsWithValue(t, "augment: the operations leave an image of [5 6 3], not the view's [20 20 3]", func() { w.Plan(nil, 5, 6, random) })
}
