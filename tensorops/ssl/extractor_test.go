package ssl_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestFewerImages checks that the features of images do not depend on their number, also with algorithms that were
// measured to be the fastest for whole batches.
func TestFewerImages(t *testing.T) {
	for _, b := range []nn.Backbone{
		{Arch: "resnet18", Stem: "small", Width: 16}, {Arch: "resnet50", Stem: "imagenet", Width: 2},
	} {
		t.Run(b.Arch, func(t *testing.T) {
			const size, batch = 32, 64
			tuning, err := kernels.OpenTuning(t.TempDir() + "/tuning.json")
			require.NoError(t, err)
			pool := kernels.NewPool(2)
			defer pool.Close()
			pool.Tune(tuning)
			x, err := ssl.OpenExtractor(ssl.Device{}, b, nn.Heads{}, size, batch, pool)
			require.NoError(t, err)
			defer func() { require.NoError(t, x.Close()) }()
			layout, random := nn.NewLayout(b, nn.Heads{}), rand.New(rand.NewPCG(1, 2))
			params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
			layout.Init(params, random)
			layout.InitStats(stats)
			images := make([]float32, batch*size*size*3)
			for i := range images {
				images[i] = float32(random.NormFloat64())
			}
			features := func(n int) []float32 {
				copy(x.Images(n), images)
				require.NoError(t, x.Load(params, stats))
				found, err := x.Features()
				require.NoError(t, err)
				return append([]float32(nil), found[:n*b.FeatureDim()]...)
			}
			all := features(batch)
			for _, n := range []int{1, 5, 8, 9, 32, 33, 63, 64} {
				require.Equal(t, all[:n*b.FeatureDim()], features(n), fmt.Sprint(n))
			}
		})
	}
}
