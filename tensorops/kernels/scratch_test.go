package kernels

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestStaleScratch checks that no algorithm of any instruction set uses what an earlier computation, which may have run on
// another thread, has left in the pool's memory.
func TestStaleScratch(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	shapes := []Conv{
		{N: 4, H: 16, W: 16, Cin: 3, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 4, H: 16, W: 16, Cin: 8, Cout: 16, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 4, H: 16, W: 16, Cin: 8, Cout: 16, KH: 1, KW: 1, Stride: 2},
		{N: 64, H: 2, W: 2, Cin: 32, Cout: 32, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 64, H: 4, W: 4, Cin: 16, Cout: 16, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 7, W: 9, Cin: 20, Cout: 12, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 2, H: 23, W: 17, Cin: 3, Cout: 8, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{N: 4, H: 16, W: 16, Cin: 24, Cout: 24, KH: 3, KW: 3, Stride: 2, Pad: 1, Depthwise: true},
	}
	forEachISA(t, func(t *testing.T) {
		for _, c := range shapes {
			for _, what := range []pass{forward, backwardData, backwardWeights} {
				for _, precision := range []Precision{FP32, BF16} {
					for _, a := range algorithms(c, what, precision) {
						p := newPool(t, 2)
						nx, nw, ny := sizes(c)
						x, w, y := randomFloats(random, nx), randomFloats(random, nw), randomFloats(random, ny)
						operands := [...][3][]float32{{x, w, y}, {y, w, x}, {x, y, w}}[what]
						pass := a.prepare(c, what, p)
						results := make([][]float32, 2)
						for r, stale := range []float32{0, float32(math.NaN())} {
							for _, memory := range append([][]float32{p.shared, operands[2]}, p.workers[0].scratch, p.workers[1].scratch) {
								for i := range memory {
									memory[i] = stale
								}
							}
							p.compute(pass, operands[0], operands[1], operands[2])
							results[r] = append([]float32{}, operands[2]...)
						}
						for i, want := range results[0] {
							require.Equal(t, math.Float32bits(want), math.Float32bits(results[1][i]), "%s, %s: %d", shapeOf(c, what, precision), a, i)
						}
					}
				}
			}
		}
	})
}
