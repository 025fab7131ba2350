package metrics

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// The values without a group of images are those of the other images.
func TestJackknife(t *testing.T) {
	objects, detections := randomScene(3, 10)
	without := NewMatches(objects, detections, 10, 2).Jackknife(4)
	require.Len(t, without, 4)
	for group, got := range without {
		var some []Object
		var found []Detection
		for _, o := range objects {
			if o.Image%4 != group {
				some = append(some, o)
			}
		}
		for _, d := range detections {
			if d.Image%4 != group {
				found = append(found, d)
			}
		}
		require.InDelta(t, NewMatches(some, found, 10, 2).Summary().AP, got, 1e-12)
	}
}

// The jackknife's standard error of a mean is the usual one, s/√n.
func TestJackknifeError(t *testing.T) {
	values := []float64{3, 1, 4, 1, 5, 9, 2, 6}
	n, sum, squares := float64(len(values)), 0., 0.
	for _, v := range values {
		sum += v
	}
	without := make([]float64, len(values))
	for i, v := range values {
		without[i] = (sum - v) / (n - 1)
		squares += (v - sum/n) * (v - sum/n)
	}
	require.InDelta(t, math.Sqrt(squares/(n-1)/n), JackknifeError(without), 1e-12)
}
