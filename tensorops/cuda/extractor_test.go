package cuda

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestExtractor compares features and BatchNorm statistics with the CPU's, on a GPU or on the simulated one.
func TestExtractor(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, c := range []struct {
		backbone    nn.Backbone
		heads       nn.Heads
		size, batch int
	}{
		{nn.Backbone{Arch: "resnet18", Stem: "small", Width: 8}, simSiam, 12, 5},
		{nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 4}, nn.Heads{}, 40, 3},
	} {
		driver, f, tuning := &gpus{load}, (*fake)(nil), (*kernels.Tuning)(nil)
		if !onGPU {
			f, tuning = newFake(t, ssl.FP32), preferred()
			driver = &gpus{f.load}
		}
		got, err := driver.OpenExtractor(ssl.Device{Libraries: os.Getenv("SDR_CUDA_LIBS"), Tuning: tuning}, c.backbone, c.heads, c.size, c.batch)
		require.NoError(t, err)
		want, err := ssl.OpenExtractor(ssl.Device{}, c.backbone, c.heads, c.size, c.batch, pool)
		require.NoError(t, err)
		layout := nn.NewLayout(c.backbone, c.heads)
		params := make([]float32, layout.NumParams)
		layout.Init(params, rng.New(1, rng.Weights))
		stats := make([]float32, layout.NumStats)
		layout.InitStats(stats)
		var observed [2]nn.Statistics
		for range 2 { // with the initial statistics, then with those of other images
			for i := range 3 {
				for _, x := range []ssl.Extractor{want, got} {
					images := x.Images(c.batch)
					copy(images, noise(uint64(i), len(images)))
					require.NoError(t, x.Load(params, stats))
				}
				expected, err := want.Features()
				require.NoError(t, err)
				found, err := got.Features()
				require.NoError(t, err)
				near(t, wide(expected), found, 1e-4, "features")
				require.NoError(t, want.Observe(&observed[0]))
				require.NoError(t, got.Observe(&observed[1]))
			}
			stats = observed[0].Average()
			near(t, wide(stats), observed[1].Average(), 1e-4, "statistics")
		}
		require.NoError(t, got.Close())
		if !onGPU {
			f.closed()
		}
	}
}
