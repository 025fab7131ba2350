package kmeans_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/kmeans"
)

// device is a kernels.Vectors that computes by the definition. It loses its rows after some assignments.
type device struct {
	parts               [][]float32
	width               int
	assigned, most      int
	held, released, ill int
}

func (d *device) Search(kernels.Search) (bool, error) { return false, nil }

func (d *device) Hold(parts [][]float32, width, _ int) (kernels.Held, bool, error) {
	d.parts, d.width = parts, width
	d.held++
	return d, true, nil
}

func (d *device) Close() error {
	d.released++
	return nil
}

func (d *device) Assign(a kernels.Assignment) (bool, error) {
	if d.assigned == d.most {
		d.ill++
		return false, nil
	}
	d.assigned++
	x := slices.Concat(d.parts...)
	for p := range len(a.Starts) - 1 {
		for i := a.Starts[p]; i < a.Starts[p+1]; i++ {
			row := i
			if a.Order != nil {
				row = int(a.Order[i])
			}
			v, nearest, square, least := x[row*d.width:][:d.width], p*a.K, 0., math.Inf(1)
			for g := p * a.K; g < (p+1)*a.K; g++ {
				distance := vecs.SquareDistance(v, a.Centroids[g*d.width:][:d.width])
				if cost := distance + a.Prices[g]; cost < least {
					nearest, square, least = g, distance, cost
				}
			}
			a.Clusters[row] = int32(nearest)
			if a.Squares != nil {
				a.Squares[row] = square
			}
			if a.Sums != nil {
				d.add(a.Sums, len(a.Low), nearest, row, v, square, a.Squares != nil)
			}
		}
	}
	return true, nil
}

func (d *device) add(s *kernels.FixedSums, clusters, g, row int, v []float32, square float64, squares bool) {
	stride, weight := len(s.Sums)/clusters, 1.
	of := s.Sums[g*stride:][:stride]
	if s.Weights != nil {
		weight = float64(s.Weights[row])
		of[d.width+2] += int64(math.RoundToEven(weight * s.Weight))
	}
	if s.Vectors {
		vecs.AddFixed(of[:d.width], v, s.Unit*weight)
	}
	if squares {
		of[d.width] += int64(math.RoundToEven(square * weight * s.Square))
	}
	of[d.width+1]++
}

// offload makes the process cluster on a device, until the test ends.
func offload(t *testing.T, to kernels.Vectors) {
	set := func(to kernels.Vectors) {
		require.NoError(t, compute.Run(func(pool *kernels.Pool) error {
			pool.Offload(to)
			return nil
		}))
	}
	set(to)
	t.Cleanup(func() { set(nil) })
}

// Clusterings whose rows a device has are those without, bit by bit, also if it loses them on the way.
func TestOnDevice(t *testing.T) {
	type weighted struct {
		ID      int32     `arrow:"id"`
		Feature []float32 `arrow:"feature"`
		Weight  float32   `arrow:"weight"`
	}
	features := blobs(3, 700, 5, 8)
	rows := make([]weighted, len(features))
	for i, f := range features {
		rows[i] = weighted{f.ID, f.Feature, float32(i%7) / 3}
	}
	for name, cfg := range map[string]kmeans.Config{
		"flat":         {Branching: []int{5}, Iterations: 6},
		"hierarchical": {Branching: []int{3, 2, 2}, Iterations: 4, Tolerance: .01},
		"balanced":     {Branching: []int{4, 3}, Iterations: 4, Balance: 1.2},
		"parallel":     {Branching: []int{4, 2}, Iterations: 4, Init: kmeans.Parallel, Spherical: true},
		"weighted":     {Branching: []int{4, 2}, Iterations: 4, Weight: "weight"},
		"empty":        {Branching: []int{2, 400}, Iterations: 3},
	} {
		cfg.Column, cfg.Local, cfg.Seed = "feature", true, 5
		batches := append(beamtest.Split(rows, 90), beamtest.Split(rows[:0], 1)...)
		want, wantClusters, err := cluster(t, "direct", cfg, batches)
		require.NoError(t, err)
		for _, most := range []int{math.MaxInt, 3} {
			t.Run(fmt.Sprint(name, most), func(t *testing.T) {
				d := &device{most: most}
				offload(t, d)
				got, clusters, err := cluster(t, "direct", cfg, batches)
				require.NoError(t, err)
				require.Equal(t, want, got)
				require.Equal(t, wantClusters, clusters)
				require.Equal(t, []int{1, 1}, []int{d.held, d.released})
				require.Greater(t, d.assigned, 2)
				require.Equal(t, min(1, math.MaxInt-most), d.ill)
			})
		}
	}
}
