package ssl_test

import (
	"bytes"
	"math"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/internal/hashed"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestMatchesLightly trains for 20 steps on the weights and views of testdata/make_golden.py. Losses, student weights,
// target weights and the queue must equal lightly's.
func TestMatchesLightly(t *testing.T) {
	const batch, size, steps, dim, queue = 16, 16, 20, 12, 96
	for _, c := range []struct {
		method   string
		settings ssl.Values
		lr       float32
		weights  []string // to compare
	}{
		{"byol", ssl.Values{"momentum": 0.9}, 0.03, []string{"projector.3.bias"}},
		{"moco", ssl.Values{"temperature": 0.2, "momentum": 0.9, "queue": queue}, 0.004, []string{"projector.2.bias"}},
		{
			"swav", ssl.Values{"temperature": 0.1, "epsilon": 0.05, "prototypes": 20}, 0.03,
			[]string{"projector.3.bias", "prototypes.weight"},
		},
	} {
		t.Run(c.method, func(t *testing.T) {
			data, err := os.ReadFile("testdata/" + c.method + ".safetensors")
			require.NoError(t, err)
			golden, err := safetensors.Read(bytes.NewReader(data))
			require.NoError(t, err)
			want := func(name string) []float32 {
				tensor, err := golden.Tensor(name)
				require.NoError(t, err)
				return tensor.F32
			}
			method := ssl.Lookup(c.method)
			cfg := ssl.Config{
				Backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4},
				Heads:    method.Heads(ssl.Sizes{Hidden: 16, Dim: dim, Predictor: 8}, c.settings),
				Size:     size, Batch: batch,
				Loss:      method.Loss(c.settings),
				Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4},
			}
			layout := nn.NewLayout(cfg.Backbone, cfg.Heads)
			params, memory := calm(layout), cfg.Memory(rng.New(1, rng.Queue))
			if len(memory) > 0 {
				memory = unitRows(hashed.Values("queue", queue*dim), dim)
			}
			nets, err := sdrnet.New(layout, sdrnet.Config{}, params, cfg.State(params), memory)
			require.NoError(t, err)
			pool := kernels.NewPool(2)
			defer pool.Close()
			l, err := ssl.Open(ssl.Device{}, cfg, pool)
			require.NoError(t, err)
			require.NoError(t, l.Load(nets, nil))
			for n, loss := range want("losses") {
				views(l.Views(), n, batch, size)
				require.NoError(t, l.Submit(ssl.Step{LR: c.lr, Number: n + 1, Of: steps}))
				m, err := l.Wait()
				require.NoError(t, err)
				require.InDelta(t, loss, m.Loss, 1e-4, "step %d", n)
			}
			require.NoError(t, l.Sync())
			state := nets.State()
			student, target := state[0].Values, state[1].Values[layout.NumParams:] // after the velocity
			for _, name := range append(c.weights, "conv1.weight", "layer4.1.bn2.weight") {
				p, ok := layout.Param(name)
				require.True(t, ok)
				requireClose(t, want("student."+name), fileOrder(p, student))
				if cfg.Loss.Target != nil {
					requireClose(t, want("target."+name), fileOrder(p, target))
				}
			}
			if len(memory) > 0 {
				requireClose(t, want("queue"), state[2].Values)
			}
		})
	}
}

// unitRows returns the l2-normalized rows of x.
func unitRows(x []float64, dim int) (unit []float32) {
	for row := range slices.Chunk(x, dim) {
		var squares float64
		for _, v := range row {
			squares += v * v
		}
		for _, v := range row {
			unit = append(unit, float32(v/math.Sqrt(squares)))
		}
	}
	return unit
}

// calm returns the script's weights, which keep BatchNorm's outputs away from the kink of ReLU.
func calm(l *nn.Layout) []float32 {
	params := make([]float32, l.NumParams)
	for _, p := range l.Params {
		w, u := params[p.Offset:][:p.Size], hashed.Values(p.Name, p.Size)
		for i := range w {
			switch p.Kind {
			case nn.ConvWeight:
				u[i] *= math.Sqrt(6 / float64(p.Shape[0]*p.Shape[1]*p.Filters))
			case nn.LinearWeight:
				u[i] /= math.Sqrt(float64(p.Shape[0]))
			case nn.Bias:
				u[i] /= 8
			case nn.Scale:
				u[i] = (1 + u[i]/8) / 2
			case nn.Shift:
				u[i] = u[i]/8 + 1
			}
		}
		for file, mem := range memory(p) {
			w[mem] = float32(u[file])
		}
	}
	return params
}

// memory maps each element of a parameter, in PyTorch's order, to its index in memory.
func memory(p nn.Param) []int {
	order, inputs, taps := make([]int, 0, p.Size), 1, 1
	switch p.Kind {
	case nn.ConvWeight:
		inputs, taps = p.Shape[2], p.Shape[0]*p.Shape[1]
	case nn.LinearWeight:
		inputs = p.Shape[0]
	}
	for filter := range p.Filters {
		for in := range inputs {
			for tap := range taps {
				order = append(order, (tap*inputs+in)*p.Filters+filter)
			}
		}
	}
	return order
}

func fileOrder(p nn.Param, params []float32) []float32 {
	out := make([]float32, p.Size)
	for file, mem := range memory(p) {
		out[file] = params[p.Offset+mem]
	}
	return out
}

// views fills a batch as the script's training_images does.
func views(to []float32, step, batch, size int) {
	colours := hashed.Values("colours "+strconv.Itoa(step), 3*batch)
	noise := hashed.Values("noise "+strconv.Itoa(step), len(to))
	for i := range to {
		image := i / (3 * size * size) % batch
		to[i] = float32(colours[3*image+i%3] + noise[i]/2)
	}
}

// requireClose checks that the difference of two vectors is small relative to the norm of the wanted one.
func requireClose(t *testing.T, want, got []float32) {
	t.Helper()
	var off, norm float64
	for i, w := range want {
		off += math.Pow(float64(got[i]-w), 2)
		norm += math.Pow(float64(w), 2)
	}
	require.LessOrEqual(t, math.Sqrt(off), 1e-4*math.Sqrt(norm))
}
