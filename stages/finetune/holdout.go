package finetune

import (
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/rng"
)

// holdOut divides images into those to train on and a fraction that is held out, alike for all classes. A class keeps at
// least one image to train on. Both lists are sorted.
func holdOut(labels []int64, fraction float64, seed uint64) (train, held []int32) {
	rows := make([]int32, len(labels))
	for i, at := range rng.New(seed, rng.Sample).Perm(len(labels)) {
		rows[i] = int32(at)
	}
	slices.SortStableFunc(rows, func(a, b int32) int { return int(labels[a] - labels[b]) })
	kept := map[int64]bool{}
	for i, row := range rows {
		label := labels[row]
		last := i+1 == len(rows) || labels[rows[i+1]] != label
		due := math.Floor(float64(i+1)*fraction) > math.Floor(float64(i)*fraction)
		if due && (kept[label] || !last) {
			held = append(held, row)
		} else {
			train, kept[label] = append(train, row), true
		}
	}
	slices.Sort(train)
	slices.Sort(held)
	return train, held
}
