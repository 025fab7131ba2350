package augment

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func drawImage(t *rapid.T) (pix []uint8, height, width int) {
	height, width = rapid.IntRange(1, 40).Draw(t, "height"), rapid.IntRange(1, 40).Draw(t, "width")
	return rapid.SliceOfN(rapid.Byte(), height*width*3, height*width*3).Draw(t, "pixels"), height, width
}

func TestIdentities(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pix, height, width := drawImage(t)
		got := slices.Clone(pix)
		flip(got, width)
		flip(got, width)
		require.Equal(t, pix, got, "flip twice")
		for _, op := range []string{"brightness", "contrast", "saturation"} {
			apply(op, got, height, width, 1)
			require.Equal(t, pix, got, op)
		}
		apply("blur", got, height, width, 0)
		require.Equal(t, pix, got, "blur with sigma 0")
		jitter(got, Params{Brightness: 1, Contrast: 1, Saturation: 1, Order: [4]uint8{OpHue, OpBrightness, OpSaturation, OpContrast}})
		require.Equal(t, pix, got, "jitter with nothing to do")
		gray(got)
		once := slices.Clone(got)
		gray(got)
		require.Equal(t, once, got, "grey is a projection")
	})
}

func TestBlurCommutesWithFlip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pix, height, width := drawImage(t)
		sigma := rapid.Float64Range(0, 50).Draw(t, "sigma")
		other := slices.Clone(pix)
		apply("blur", pix, height, width, sigma)
		flip(pix, width)
		flip(other, width)
		apply("blur", other, height, width, sigma)
		require.Equal(t, pix, other)
	})
}

// Whatever is drawn can be applied, whatever the image's shape, and a worker
// that has made other views before makes the same one as a fresh worker.
func TestApplyWhatIsDrawn(t *testing.T) {
	recipe := SimSiam(9)
	recipe.BlurProb = 0.5
	used := NewWorker(&recipe)
	rapid.Check(t, func(t *rapid.T) {
		pix, height, width := drawImage(t)
		p := recipe.Draw(rng.New(rapid.Uint64().Draw(t, "seed")), height, width)
		before := slices.Clone(pix)
		got, want := make([]float32, 9*9*3), make([]float32, 9*9*3)
		used.Apply(got, pix, height, width, p)
		NewWorker(&recipe).Apply(want, pix, height, width, p)
		require.Equal(t, want, got)
		require.Equal(t, before, pix, "the source is not written to")

		bytes := make([]uint8, len(got))
		used.Pixels(bytes, pix, height, width, p)
		Normalize(want, bytes, recipe.Mean, recipe.Std)
		require.Equal(t, want, got)
	})
}

func TestApplyDoesNotAllocate(t *testing.T) {
	recipe := SimSiam(20)
	recipe.BlurProb = 0.5
	w := NewWorker(&recipe)
	src := make([]uint8, 32*32*3)
	dst := make([]float32, 20*20*3)
	rnd := rng.New(1)
	view := func() { w.Apply(dst, src, 32, 32, recipe.Draw(rnd, 32, 32)) }
	for range 100 {
		view()
	}
	require.Zero(t, testing.AllocsPerRun(100, view))
}

func TestBadBuffersPanic(t *testing.T) {
	recipe := SimSiam(4)
	w := NewWorker(&recipe)
	whole := Params{Box: Box{0, 0, 5, 6}}
	src, dst := make([]uint8, 5*6*3), make([]float32, 4*4*3)
	require.NotPanics(t, func() { w.Apply(dst, src, 5, 6, whole) })
	require.PanicsWithValue(t, "augment: destination of 47 values is not [4 4 3]", func() { w.Apply(dst[1:], src, 5, 6, whole) })
	require.PanicsWithValue(t, "augment: destination of 47 bytes is not [4 4 3]", func() { w.Pixels(make([]uint8, 47), src, 5, 6, whole) })
	require.PanicsWithValue(t, "augment: source of 89 bytes is not [5 6 3]", func() { w.Apply(dst, src[1:], 5, 6, whole) })
	for _, b := range []Box{{}, {1, 0, 5, 6}, {0, 1, 5, 6}, {-1, 0, 2, 2}, {0, -1, 2, 2}, {0, 0, 0, 2}} {
		require.Panics(t, func() { w.Apply(dst, src, 5, 6, Params{Box: b}) }, "%+v", b)
	}
	require.Panics(t, func() { Normalize(dst, src, recipe.Mean, recipe.Std) })
}

// The expectations are the recipe's own, and the margins five standard errors
// or more.
func TestDrawDistribution(t *testing.T) {
	recipe := SimSiam(64)
	rnd := rng.New(3)
	const n = 40_000
	const height, width = 100, 100
	var area, area2, logRatio, logRatio2, top, flips, jitters, grays, blurs float64
	var factors [3][]float64
	var hues, sigmas []float64
	orders := map[[4]uint8]int{}
	for range n {
		p := recipe.Draw(rnd, height, width)
		a := float64(p.Box.Height*p.Box.Width) / (height * width)
		area += a
		area2 += a * a
		l := math.Log(float64(p.Box.Width) / float64(p.Box.Height))
		logRatio += l
		logRatio2 += l * l
		if p.Box.Height < height {
			top += float64(p.Box.Top)/float64(height-p.Box.Height) - 0.5
		}
		flips += count(p.Flip)
		jitters += count(p.Jitter)
		grays += count(p.Gray)
		blurs += count(p.Blur)
		for i, f := range []float64{p.Brightness, p.Contrast, p.Saturation} {
			factors[i] = append(factors[i], f)
		}
		hues = append(hues, p.Hue)
		sigmas = append(sigmas, p.Sigma)
		orders[p.Order]++
	}
	// Crops that do not fit are drawn again, which thins out large areas: the
	// kept share of area s on a square is what |log ratio| <= -log s leaves of
	// the ratio's range.
	var mass, mean float64
	for i := range 1000 {
		s := 0.2 + 0.8*(float64(i)+0.5)/1000
		keep := min(1, -math.Log(s)/math.Log(4./3))
		mass += keep
		mean += keep * s
	}
	mean /= mass
	require.InDelta(t, mean, area/n, 0.008)
	require.InDelta(t, 0.19, math.Sqrt(area2/n-area*area/n/n), 0.02)
	require.InDelta(t, 0, logRatio/n, 0.006)
	require.InDelta(t, 0.15, math.Sqrt(logRatio2/n), 0.02)
	require.InDelta(t, 0, top/n, 0.01)

	require.InDelta(t, 0.5, flips/n, 0.013)
	require.InDelta(t, 0.8, jitters/n, 0.011)
	require.InDelta(t, 0.2, grays/n, 0.011)
	require.InDelta(t, 0.5, blurs/n, 0.013)
	for _, f := range factors {
		requireUniform(t, f, 0.6, 1.4)
	}
	requireUniform(t, hues, -0.1, 0.1)
	requireUniform(t, sigmas, 0.1, 2)

	require.Len(t, orders, 24)
	for order, times := range orders {
		require.InDelta(t, n/24., times, 210, "%v", order)
	}
}

func count(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// requireUniform compares the quartiles, and the range.
func requireUniform(t *testing.T, x []float64, low, high float64) {
	t.Helper()
	slices.Sort(x)
	require.GreaterOrEqual(t, x[0], low)
	require.Less(t, x[len(x)-1], high)
	for q := range 5 {
		want := low + (high-low)*float64(q)/4
		require.InDelta(t, want, x[q*(len(x)-1)/4], (high-low)*0.013, "quartile %d", q)
	}
}

// No crop of 0.9 or more of the area and a ratio of at most 4/3 fits these
// images, so all ten tries fail.
func TestDrawFallsBackToCentre(t *testing.T) {
	recipe := SimSiam(32)
	recipe.ScaleMin = 0.9
	rnd := rand.New(rand.NewPCG(1, 2))
	require.Equal(t, Box{Top: 0, Left: 83, Height: 100, Width: 133}, recipe.Draw(rnd, 100, 300).Box)
	require.Equal(t, Box{Top: 83, Left: 0, Height: 133, Width: 100}, recipe.Draw(rnd, 300, 100).Box)
}

func TestStrengthAboveOneStopsAtZero(t *testing.T) {
	recipe := SimSiam(32)
	recipe.Brightness = 3
	rnd := rng.New(5)
	var factors []float64
	for range 40_000 {
		factors = append(factors, recipe.Draw(rnd, 8, 8).Brightness)
	}
	requireUniform(t, factors, 0, 4)
}

func TestRecipe(t *testing.T) {
	require.Zero(t, func() float64 { r := SimSiam(32); return r.BlurProb }())
	for _, size := range []int{20, 32, 64, 224} {
		r := SimSiam(size)
		require.NoError(t, r.Validate())
		text, err := yaml.Marshal(r)
		require.NoError(t, err)
		var back Recipe
		require.NoError(t, yaml.UnmarshalWithOptions(text, &back, yaml.Strict()))
		require.Equal(t, r, back)
	}
	for _, c := range []struct {
		damage func(*Recipe)
		want   string
	}{
		{func(r *Recipe) { r.Size = 0 }, "size is 0"},
		{func(r *Recipe) { r.ScaleMin = 0 }, "scale_min 0"},
		{func(r *Recipe) { r.ScaleMax = 1.5 }, "scale_max 1.5"},
		{func(r *Recipe) { r.FlipProb = -1 }, "flip_prob is -1"},
		{func(r *Recipe) { r.JitterProb = math.NaN() }, "jitter_prob is NaN"},
		{func(r *Recipe) { r.GrayProb = 2 }, "gray_prob is 2"},
		{func(r *Recipe) { r.BlurProb = 2 }, "blur_prob is 2"},
		{func(r *Recipe) { r.Brightness = -1 }, "brightness is -1"},
		{func(r *Recipe) { r.Hue = 0.6 }, "hue is 0.6"},
		{func(r *Recipe) { r.BlurMin = 3 }, "blur_min 3"},
		{func(r *Recipe) { r.Std[1] = 0 }, "std[1] is 0"},
	} {
		r := SimSiam(64)
		c.damage(&r)
		require.ErrorContains(t, r.Validate(), c.want)
	}
}
