package cuda

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestDepthwise compares the kernels with the CPU's convolutions, for whole and partial groups and tiles of channels.
func TestDepthwise(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			channels := rapid.SampledFrom([]int{1, 3, 8, 24, 33, 136}).Draw(rt, "channels")
			c := kernels.Conv{
				N: rapid.IntRange(1, 2).Draw(rt, "images"), H: rapid.IntRange(1, 9).Draw(rt, "height"),
				W: rapid.IntRange(1, 9).Draw(rt, "width"), Cin: channels, Cout: channels, Depthwise: true,
				Stride: rapid.SampledFrom([]int{1, 1, 2, 2, 4}).Draw(rt, "stride"), Pad: rapid.IntRange(0, 3).Draw(rt, "padding"),
			}
			c.KH = rapid.IntRange(1, min(4, c.H+2*c.Pad)).Draw(rt, "kernel height")
			c.KW = rapid.IntRange(1, min(5, c.W+2*c.Pad)).Draw(rt, "kernel width")
			x, w := s.round(noise(1, c.N*c.H*c.W*c.Cin)), s.round(noise(2, c.Weights()))
			dy := s.round(noise(3, c.N*c.OutH()*c.OutW()*c.Cout))
			plan := kernels.NewConvPlan(c, kernels.FP32, pool)
			y, dx, dw := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
			plan.Forward(x, reorder(c, w, false), y)
			plan.BackwardData(dy, reorder(c, w, false), dx)
			plan.BackwardWeights(x, dy, dw)

			v := newDepthwise(s, s, c, s.actsOf(w), s.acts(len(w)))
			gotY, gotDX := s.acts(len(y)), s.acts(len(x))
			v.Forward(s.actsOf(x), gotY)
			v.BackwardData(s.actsOf(dy), gotDX)
			v.BackwardWeights(s.actsOf(x), s.actsOf(dy))
			near(rt, wide(y), s.readActs(gotY), allowed(bf16), "y")
			near(rt, wide(dx), s.readActs(gotDX), allowed(bf16), "dx")
			near(rt, wide(reorder(c, dw, true)), s.readActs(v.dw), allowed(bf16), "dw")
		})
	})
}

// TestDepthwiseOfShape splits large shapes without computing: each pixel is in a chunk, and CUDA's limits are kept.
func TestDepthwiseOfShape(t *testing.T) {
	for _, c := range []int{1, 32, 96, 960, 3840} {
		for _, pixels := range []int{1, 500, 1 << 17, 512 * 112 * 112} {
			for _, blocks := range []int{1, 3, 21} {
				s := slicingOf(c, pixels, blocks)
				require.EqualValues(t, threads, s.block[0]*s.block[1])
				require.LessOrEqual(t, int(s.block[0])*lanes, 128, "DEPTHWISE_CHANNELS")
				require.GreaterOrEqual(t, int(s.grid[0]*s.block[0])*lanes, c)
				require.GreaterOrEqual(t, int(s.grid[1])*s.chunk, pixels)
				require.Less(t, (int(s.grid[1])-1)*s.chunk, pixels)
				require.Less(t, s.grid[1], uint32(1<<16))
			}
		}
	}
	require.Panics(t, func() {
		newDepthwise(nil, nowhere{}, kernels.Conv{N: 1, H: 9, W: 9, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 3, Depthwise: true}, Buffer{}, Buffer{})
	})
}
