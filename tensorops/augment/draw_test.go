package augment

import (
	"math"
	"slices"
	"testing"

	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/stretchr/testify/require"
)

const draws = 40_000

// requireShare compares the frequency of an event with its probability, with a margin of five standard errors.
func requireShare(t *testing.T, p float64, draw func() bool) {
	t.Helper()
	var n float64
	for range draws {
		if draw() {
			n++
		}
	}
	require.InDelta(t, p, n/draws, 5*math.Sqrt(p*(1-p)/draws))
}

// requireUniform checks the quartiles and the range.
func requireUniform(t *testing.T, x []float64, low, high float64) {
	t.Helper()
	slices.Sort(x)
	require.GreaterOrEqual(t, x[0], low)
	require.Less(t, x[len(x)-1], high)
	for q := range 5 {
		want := low + (high-low)*float64(q)/4
		require.InDelta(t, want, x[q*(len(x)-1)/4], (high-low)*0.015, "quartile %d", q)
	}
}

func TestDrawProbabilities(t *testing.T) {
	random := rng.New(4)
	for _, p := range []float64{0, 0.1, 0.5, 0.8, 1} {
		requireShare(t, p, func() bool { return HorizontalFlip{p}.Draw(random, 8, 8) })
		requireShare(t, p, func() bool { return Grayscale{p}.Draw(random, 8, 8) })
		requireShare(t, p, func() bool { return ColorJitter{P: p}.Draw(random, 8, 8).On })
		requireShare(t, p, func() bool { return Solarize{P: p}.Draw(random, 8, 8) })
		requireShare(t, p, func() bool { return GaussianBlur{p, [2]float64{.1, 2}}.Draw(random, 8, 8) > 0 })
	}
}

// The margins are five standard errors or more.
func TestDrawCrop(t *testing.T) {
	o, random := RandomResizedCrop{Scale: [2]float64{.2, 1}, Ratio: [2]float64{3. / 4, 4. / 3}}, rng.New(3)
	const height, width = 100, 100
	var area, area2, logRatio, logRatio2, top, left float64
	for range draws {
		b := o.Draw(random, height, width)
		a := float64(b.Height*b.Width) / (height * width)
		area += a
		area2 += a * a
		l := math.Log(float64(b.Width) / float64(b.Height))
		logRatio += l
		logRatio2 += l * l
		if b.Height < height {
			top += float64(b.Top)/float64(height-b.Height) - 0.5
		}
		if b.Width < width {
			left += float64(b.Left)/float64(width-b.Width) - 0.5
		}
	}
	// Crops that do not fit are redrawn, which makes large areas rarer: on a square, area s is kept with the probability
	// that |log ratio| <= -log s.
	var mass, mean float64
	for i := range 1000 {
		s := 0.2 + 0.8*(float64(i)+0.5)/1000
		keep := min(1, -math.Log(s)/math.Log(4./3))
		mass += keep
		mean += keep * s
	}
	mean /= mass
	require.InDelta(t, mean, area/draws, 0.008)
	require.InDelta(t, 0.19, math.Sqrt(area2/draws-area*area/draws/draws), 0.02)
	require.InDelta(t, 0, logRatio/draws, 0.006)
	require.InDelta(t, 0.15, math.Sqrt(logRatio2/draws), 0.02)
	require.InDelta(t, 0, top/draws, 0.01)
	require.InDelta(t, 0, left/draws, 0.01)
}

// Ratios are log-uniform between the bounds, for any bounds.
func TestDrawRatio(t *testing.T) {
	o, random := RandomResizedCrop{Scale: [2]float64{.05, .05}, Ratio: [2]float64{2, 4}}, rng.New(6)
	var logs []float64
	for range draws {
		b := o.Draw(random, 1000, 1000)
		require.InDelta(t, 0.05*1e6, b.Height*b.Width, 1000)
		logs = append(logs, math.Log(float64(b.Width)/float64(b.Height)))
	}
	slices.Sort(logs)
	require.InDelta(t, math.Log(2), logs[0], 0.01)
	require.InDelta(t, 1.5*math.Log(2), logs[draws/2], 0.02)
	require.InDelta(t, math.Log(4), logs[draws-1], 0.01)
}

// No crop with at least 0.9 of the area and a ratio of at most 4/3 fits into these images, so all ten attempts fail.
func TestDrawFallsBackToCentre(t *testing.T) {
	o, random := randomResizedCrop, rng.New(1)
	o.Scale[0] = 0.9
	require.Equal(t, Box{Top: 0, Left: 83, Height: 100, Width: 133}, o.Draw(random, 100, 300))
	require.Equal(t, Box{Top: 83, Left: 0, Height: 133, Width: 100}, o.Draw(random, 300, 100))
	o.Ratio = [2]float64{.01, .1}
	require.Equal(t, Box{Top: 0, Left: 2, Height: 1, Width: 1}, o.Draw(random, 1, 5), "one pixel at least")
}

func TestDrawJitter(t *testing.T) {
	o, random := ColorJitter{P: 1, Brightness: .4, Contrast: .3, Saturation: 3, Hue: .1}, rng.New(5)
	var brightness, contrast, saturation, hue []float64
	orders := map[[4]uint8]int{}
	for range draws {
		j := o.Draw(random, 8, 8)
		brightness, contrast = append(brightness, j.Brightness), append(contrast, j.Contrast)
		saturation, hue = append(saturation, j.Saturation), append(hue, j.Hue)
		orders[j.Order]++
	}
	requireUniform(t, brightness, 0.6, 1.4)
	requireUniform(t, contrast, 0.7, 1.3)
	requireUniform(t, saturation, 0, 4) // a strength above 1 is clipped at 0
	requireUniform(t, hue, -0.1, 0.1)
	require.Len(t, orders, 24)
	for order, times := range orders {
		require.InDelta(t, draws/24., times, 210, "%v", order)
	}
	j := ColorJitter{P: 1}.Draw(random, 8, 8)
	require.Equal(t, Jitter{On: true, Order: j.Order, Brightness: 1, Contrast: 1, Saturation: 1}, j, "strength 0 is off")
}

func TestDrawSigma(t *testing.T) {
	o, random := GaussianBlur{P: 1, Sigma: [2]float64{.1, 2}}, rng.New(7)
	var sigmas []float64
	for range draws {
		sigmas = append(sigmas, o.Draw(random, 8, 8))
	}
	requireUniform(t, sigmas, 0.1, 2)
}
