package learn

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestFurther checks that only the individual weights of a level are trained, with any method and optimizer, and the
// same ones with more threads; without a level, all are.
func TestFurther(t *testing.T) {
	for _, settings := range [][]string{
		{"ssl.method=ntxent", "split.lr=3", "train.accumulate=2"},
		{"ssl.method=byol", "train.optimizer=lars"},
		{"ssl.method=moco", "ssl.queue=64", "train.optimizer=adamw", "train.lr=0.001"},
	} {
		r, err := recipe.Load("smoke", append(settings, "train.batch=8", "input.crop=8", "input.size=8"))
		require.NoError(t, err)
		layout := nn.NewLayout(r.Backbone, r.Heads())
		params := make([]float32, layout.NumParams)
		layout.Init(params, rng.New(1, rng.Weights))
		pixels := make([]uint8, 20*8*8*3)
		random := rng.New(1, rng.Sample)
		for i := range pixels {
			pixels[i] = uint8(random.IntN(256))
		}
		f := Further{
			Recipe: r, Params: params, Rows: []int32{2, 3, 5, 7, 11, 13, 17, 19}, Name: "test", Device: ssl.Device{Name: ssl.CPU},
			Images: Images{Size: 8, At: func(i int) []uint8 { return pixels[i*8*8*3:][:8*8*3] }},
			Own:    sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{2}, Shared: .5},
		}
		nets, err := sdrnet.New(layout, f.Own, params, nil, nil)
		require.NoError(t, err)
		own := make([]bool, len(params))
		for _, s := range nets.Individual(0) {
			for i := s.From; i < s.To; i++ {
				own[i] = true
			}
		}
		var before []float32
		for threads := range 2 {
			f.Pool = kernels.NewPool(threads + 1)
			got, last, err := f.Train(t.Context(), 4, .05, curves.New(t.TempDir(), "x", 4))
			require.NoError(t, err)
			require.NotZero(t, last.Loss)
			changed := 0
			for i, v := range got {
				if !own[i] {
					require.Equal(t, params[i], v, "shared weight %d with %v", i, settings)
				} else if v != params[i] {
					changed++
				}
			}
			require.Greater(t, changed, 1000)
			if before != nil {
				require.Equal(t, before, got)
			}
			before = got
			f.Pool.Close()
		}
		f.Own.Shared = 1
		_, _, err = f.Train(t.Context(), 4, .05, nil)
		require.ErrorContains(t, err, "no individual weights to train (split.shared: 1)")
		f.Pool, f.Own = kernels.NewPool(2), sdrnet.Config{}
		dir := t.TempDir()
		got, last, err := f.Train(t.Context(), curves.Every+1, .05, curves.New(dir, "x", curves.Every+1))
		require.NoError(t, err)
		points, err := curves.ReadPoints(t.Context(), dir, "x")
		require.NoError(t, err)
		require.Len(t, points, 1)
		require.NotZero(t, points[0].Loss)
		require.InDelta(t, last.Std, points[0].Std, .1)
		_, _, err = f.Train(t.Context(), 4, 1e30, curves.New(dir, "x", 4))
		require.ErrorContains(t, err, "the training diverged")
		stem := layout.Params[0]
		require.NotEqual(t, params[:stem.Size], got[:stem.Size])
		f.Pool.Close()
	}
}
