package metrics

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"
)

// Jackknife returns the average precision without each of so many groups of images; image i is in group i mod groups.
func (m *Matches) Jackknife(groups int) []float64 {
	classes := make([]int, len(m.classes))
	for c := range classes {
		classes[c] = c
	}
	without := make([]float64, groups)
	for g := range without {
		times := slices.Repeat([]uint8{1}, m.images)
		for i := g; i < m.images; i += groups {
			times[i] = 0
		}
		without[g], _, _, _ = m.means(classes, anySize, maxDetections, times)
	}
	return without
}

// JackknifeError returns the standard error of a figure by its values without each of some groups of the observations
// (delete-a-group jackknife).
func JackknifeError(without []float64) float64 {
	n := float64(len(without))
	return (n - 1) * math.Sqrt(stat.Variance(without, nil)/n)
}
