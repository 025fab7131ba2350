package metrics

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// randomScene returns objects and noisy detections of them in so many images.
func randomScene(seed uint64, images int) (objects []Object, detections []Detection) {
	r := rng.New(seed)
	for image := range images {
		for range 1 + r.IntN(3) {
			box := Box{r.Float64() * 100, r.Float64() * 100, 20, 30}
			class := r.IntN(2)
			objects = append(objects, Object{Image: image, Class: class, Box: box, Area: box.Area()})
			box[0] += r.Float64() * 10
			detections = append(detections, Detection{image, class, box, r.Float64()}, Detection{image, 1 - class, box, r.Float64() / 2})
		}
	}
	return objects, detections
}

// An image that counts several times is as several equal images.
func TestTimes(t *testing.T) {
	objects, detections := randomScene(1, 6)
	times := []uint8{2, 0, 1, 3, 0, 1}
	var moreObjects []Object
	var moreDetections []Detection
	next := 0
	for image, n := range times {
		for range n {
			for _, o := range objects {
				if o.Image == image {
					o.Image = next
					moreObjects = append(moreObjects, o)
				}
			}
			for _, d := range detections {
				if d.Image == image {
					d.Image = next
					moreDetections = append(moreDetections, d)
				}
			}
			next++
		}
	}
	want := NewMatches(moreObjects, moreDetections, next, 2).Summary()
	ap, ap50, ap75, ar := NewMatches(objects, detections, len(times), 2).means([]int{0, 1}, anySize, maxDetections, times)
	require.InDeltaSlice(t, []float64{want.AP, want.AP50, want.AP75, want.AR}, []float64{ap, ap50, ap75, ar}, 1e-12)
	require.Greater(t, ap, .05)
}

// Detectors that are the same differ by nothing; one that finds nothing is worse.
func TestResampleBoxes(t *testing.T) {
	objects, detections := randomScene(2, 20)
	good := NewMatches(objects, detections, 20, 2)
	none := NewMatches(objects, nil, 20, 2)
	a, b := ResampleBoxes([]*Matches{good, good}), ResampleBoxes([]*Matches{none, none})
	require.Equal(t, Interval{}, a.Minus(a).Interval())
	i := a.Minus(b).Interval()
	require.InDelta(t, good.Summary().AP, i.Mean, 1e-12)
	require.Greater(t, i.Low, 0.)
	require.Less(t, i.Low, i.Mean)
	require.Greater(t, i.High, i.Mean)
	mixed := ResampleBoxes([]*Matches{good, none}).Interval()
	require.InDelta(t, good.Summary().AP/2, mixed.Mean, 1e-12)
	require.Less(t, mixed.Low, i.Low, "seeds are resampled, too")
}
