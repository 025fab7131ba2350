package cuda

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestConvKernels compares the kernels with the CPU's convolutions.
func TestConvKernels(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	for precision, tolerance := range map[ssl.Precision]float64{ssl.FP32: 1e-5, ssl.TF32: 2e-3, ssl.BF16: 5e-3} {
		size := 4
		if precision == ssl.BF16 {
			size = 2
		}
		t.Run(string(precision), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				s := newBenchOf(t, precision)
				c := kernels.Conv{
					N: rapid.IntRange(1, 3).Draw(rt, "images"), H: rapid.IntRange(1, 14).Draw(rt, "height"),
					W: rapid.IntRange(1, 14).Draw(rt, "width"), Cin: rapid.SampledFrom([]int{1, 3, 8, 16, 24, 40, 72}).Draw(rt, "in"),
					Cout:   rapid.SampledFrom([]int{8, 16, 24, 32, 40, 72}).Draw(rt, "out"),
					Stride: rapid.SampledFrom([]int{1, 1, 2, 4}).Draw(rt, "stride"), Pad: rapid.IntRange(0, 3).Draw(rt, "padding"),
				}
				c.KH = rapid.IntRange(1, min(5, c.H+2*c.Pad)).Draw(rt, "kernel height")
				c.KW = rapid.IntRange(1, min(5, c.W+2*c.Pad)).Draw(rt, "kernel width")
				p := rapid.SampledFrom([]pass{forward, backwardData, backwardWeights}).Draw(rt, "pass")
				list := convKernels(c, p, size)
				if len(list) == 0 {
					require.Equal(rt, backwardData, p)
					require.NotZero(rt, c.Cin%8)
					return
				}
				k := rapid.SampledFrom(list).Draw(rt, "kernel")
				x, w := s.round(noise(1, c.N*c.H*c.W*c.Cin)), s.round(noise(2, c.KH*c.KW*c.Cin*c.Cout))
				dy := s.round(noise(3, c.N*c.OutH()*c.OutW()*c.Cout))
				plan, want := kernels.NewConvPlan(c, kernels.FP32, pool), []float32(nil)
				var out Buffer
				switch p {
				case forward:
					want, out = make([]float32, len(dy)), s.acts(len(dy))
					plan.Forward(x, reorder(c, w, false), want)
					k.run(s, c, p, s.actsOf(x), s.actsOf(w), out, Buffer{})
				case backwardData:
					want, out = make([]float32, len(x)), s.acts(len(x))
					plan.BackwardData(dy, reorder(c, w, false), want)
					k.run(s, c, p, s.actsOf(dy), s.actsOf(w), out, Buffer{})
				case backwardWeights:
					want, out = make([]float32, len(w)), s.acts(len(w))
					plan.BackwardWeights(x, dy, want)
					want = reorder(c, want, true)
					k.run(s, c, p, s.actsOf(x), s.actsOf(dy), out, s.floats(k.workspace(c, p)/4))
				}
				near(rt, wide(want), s.readActs(out), tolerance, k.name)
			})
		})
	}
}

// TestConvKernelsKeepNaN convolves an image with a pixel that is not a number.
func TestConvKernelsKeepNaN(t *testing.T) {
	c := kernels.Conv{N: 1, H: 3, W: 3, Cin: 8, Cout: 8, KH: 1, KW: 1, Stride: 1}
	for _, p := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
		for _, bits := range []uint32{0x7fc00000, 0x7fffffff, 0xffffffff} {
			s := newBenchOf(t, p)
			x, y := noise(1, 72), s.acts(72)
			x[5*8] = math.Float32frombits(bits)
			convKernels(c, forward, 4)[0].run(s, c, forward, s.actsOf(x), s.actsOf(noise(2, 64)), y, Buffer{})
			for i, v := range s.readActs(y) {
				require.Equal(t, i/8 == 5, v != v, "%s %x: %d", p, bits, i)
			}
		}
	}
}

// TestConvKernelsGrid checks that the most channels that a recipe allows keep within CUDA's limits.
func TestConvKernelsGrid(t *testing.T) {
	for _, c := range []kernels.Conv{
		{N: 2, H: 4, W: 4, Cin: 2048, Cout: 2048, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 2, H: 7, W: 7, Cin: 8192, Cout: 2048, KH: 1, KW: 1, Stride: 1},
		{N: 512, H: 224, W: 224, Cin: 64, Cout: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
	} {
		for _, p := range []pass{forward, backwardData, backwardWeights} {
			for _, k := range convKernels(c, p, 2) {
				k.run(grids{t}, c, p, Buffer{}, Buffer{}, Buffer{}, Buffer{})
			}
		}
	}
}

// grids is a queue that only checks the numbers of blocks.
type grids struct{ t *testing.T }

func (g grids) launch(kernel string, grid, _ dim3, _ ...any) {
	require.LessOrEqual(g.t, max(grid[1], grid[2]), uint32(65535), kernel)
	require.LessOrEqual(g.t, grid[0], uint32(1<<31-1), kernel)
}
