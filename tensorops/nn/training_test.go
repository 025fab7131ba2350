package nn

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/internal/hashed"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/optim"
)

// trainingImages is training_images of make_golden.py.
func trainingImages(step int) []float32 {
	colours, noise := hashed.Values(fmt.Sprintf("colours %d", step), 16*3), hashed.Values(fmt.Sprintf("noise %d", step), 32*16*16*3)
	images := make([]float32, len(noise))
	for i, v := range noise {
		image, channel := i/(16*16*3)%16, i%3
		images[i] = float32(colours[image*3+channel] + v/2)
	}
	return images
}

// reference is a training that PyTorch ran as well; see make_golden.py.
type reference struct {
	name        string
	width       int
	heads       Heads
	lr          float32
	temperature float64
	tolerance   float64
}

var references = []reference{
	{"simsiam", 4, simSiamHeads, 0.03, 0, 1e-4},
	{"ntxent", 4, Heads{ProjectorHidden: 16, ProjectorDim: 12, ProjectorLayers: 2}, 0.004, 0.2, 1e-4},
	{"simsiam_long", 8, Heads{
		ProjectorHidden: 32, ProjectorDim: 24, ProjectorLayers: 3, ProjectorBN: true, PredictorHidden: 16,
	}, 0.01, 0, 1e-3},
	{"ntxent_long", 8, Heads{ProjectorHidden: 32, ProjectorDim: 24, ProjectorLayers: 2, ProjectorBN: true}, 0.003, 0.5, 1e-4},
}

// losses returns golden losses of a kind and a function that returns this package's loss of step i.
func (r reference) losses(t *testing.T, kind string, mode Mode, pool *kernels.Pool) (golden []float32, step func(i int) float64) {
	n := New(Backbone{"resnet18", "small", r.width}, r.heads, 16, 32, 2, pool, mode)
	initialise(n.Layout, n.Params)
	calm(n.Layout, n.Params)
	method, _, _ := strings.Cut(r.name, "_")
	train := newStep(n, method, r.temperature, pool)
	return goldenTensor(t, readGolden(t, "train_"+r.name), kind), func(i int) float64 { return train(trainingImages(i), r.lr) }
}

// TestTrainingMatchesPyTorch trains from the same weights on the same images as PyTorch did in double precision, for 20
// steps and, with enough channels for Winograd convolutions, for 200. The relative error of each loss must be within
// the tolerance. (SimSiam's loss crosses zero on its way to -1; it is as small as 0.001 only once.)
func TestTrainingMatchesPyTorch(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, c := range references {
		t.Run(c.name, func(t *testing.T) {
			want, step := c.losses(t, "losses", Train, pool)
			for i, w := range want {
				require.InEpsilon(t, w, step(i), c.tolerance, "step %d", i)
			}
		})
	}
}

// TestBF16TrainingIsAsCloseAsPyTorchs trains with all products in bfloat16. The losses must not be further from those
// in double precision than PyTorch's with autocast to bfloat16.
func TestBF16TrainingIsAsCloseAsPyTorchs(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	pool.Tune(kernels.Prefer("direct bf16", "gathered bf16"))
	for _, c := range references[2:] {
		t.Run(c.name, func(t *testing.T) {
			exact, step := c.losses(t, "losses", Train|BF16, pool)
			var ours, theirs float64
			for i, torch := range goldenTensor(t, readGolden(t, "train_"+c.name), "bf16") {
				off := step(i) - float64(exact[i])
				ours += off * off
				off = float64(torch - exact[i])
				theirs += off * off
			}
			require.LessOrEqual(t, ours, theirs)
			require.Greater(t, ours, theirs/1e4, "bfloat16 was not used")
		})
	}
}

// newStep returns a training step of SimSiam or of NT-Xent at a temperature.
func newStep(n *Net, method string, temperature float64, pool *kernels.Pool) func(images []float32, lr float32) float64 {
	dim := n.Heads.ProjectorDim
	gradient, velocity := make([]float32, len(n.Z)), make([]float32, len(n.Params))
	cosine, ntxent := NewNegCosine(n.graph.batch, dim, pool), NewNTXent(n.graph.batch, dim, temperature, pool)
	return func(images []float32, lr float32) (loss float64) {
		n.Forward(images, UpdateStats)
		clear(gradient)
		if method == "simsiam" {
			loss = cosine.Loss(n.P, n.Z, gradient, 1)
			n.Backward(nil, gradient)
		} else {
			loss = ntxent.Loss(n.Z, gradient, 1)
			n.Backward(gradient, nil)
		}
		optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}.Step(n.Params, n.Grads, velocity, lr)
		return loss
	}
}

func TestStepAllocatesNothing(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, method := range []string{"simsiam", "ntxent"} {
		n := New(Backbone{"resnet18", "imagenet", 4}, simSiamHeads, 32, 8, 2, pool, Train)
		initialise(n.Layout, n.Params)
		images := hashed32("images", 8*32*32*3)
		step := newStep(n, method, 0.2, pool)
		require.Zero(t, testing.AllocsPerRun(3, func() { step(images, 0.01) }), method)
	}
}

// BenchmarkStep measures whole training steps on two views of 128 images, without augmentation.
func BenchmarkStep(b *testing.B) {
	heads := map[string]Heads{
		"simsiam": {ProjectorHidden: 512, ProjectorDim: 512, ProjectorLayers: 3, ProjectorBN: true, PredictorHidden: 128},
		"ntxent":  {ProjectorHidden: 256, ProjectorDim: 128, ProjectorLayers: 2},
	}
	for _, method := range []string{"simsiam", "ntxent"} {
		for _, width := range []int{8, 16} {
			for _, size := range []int{20, 24, 32} {
				b.Run(fmt.Sprintf("%s/width%d/%dpx", method, width, size), func(b *testing.B) {
					pool := kernels.NewPool(0)
					defer pool.Close()
					n := New(Backbone{"resnet18", "small", width}, heads[method], size, 256, 2, pool, Train)
					initialise(n.Layout, n.Params)
					images := hashed32("images", 256*size*size*3)
					step := newStep(n, method, 0.2, pool)
					step(images, 0.01)
					for b.Loop() {
						step(images, 0.01)
					}
					b.ReportMetric(128*float64(b.N)/b.Elapsed().Seconds(), "images/s")
				})
			}
		}
	}
}
