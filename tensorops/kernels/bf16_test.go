package kernels

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// bfloat16s rounds each value to bfloat16.
func bfloat16s(s []float32) []float32 {
	s = slices.Clone(s)
	for i, v := range s {
		s[i] = math.Float32frombits(round(v) << 16)
	}
	return s
}

// special are values for which rounding easily goes wrong: ties, the largest numbers, infinities, denormals, NaNs.
var special = []uint32{
	0, 0x80000000, 1, 0x80000001, 0x7fff, 0x8000, 0x8001, 0x007fffff, 0x00800000, 0x3f800000, 0x3f808000, 0x3f818000, 0x3f807fff,
	0x3f808001, 0x7f7f7fff, 0x7f7f8000, 0x7f7fffff, 0xff7fffff, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001, 0xffffffff, 0x7fffffff,
}

func values(n int) []float32 {
	r := rand.New(rand.NewPCG(11, 11))
	s := make([]float32, n)
	for i := range s {
		if i < len(special) {
			s[i] = math.Float32frombits(special[i])
		} else {
			s[i] = math.Float32frombits(r.Uint32())
		}
	}
	r.Shuffle(n, func(i, j int) { s[i], s[j] = s[j], s[i] })
	return s
}

func TestRoundingIsToTheNearestAndTiesToEven(t *testing.T) {
	const infinity = 0x1p128 // the successor of the largest number, if there were one
	float := func(bits uint32) float64 {
		if bits&0x7fff == 0x7f80 {
			return math.Copysign(infinity, float64(int32(bits<<16)))
		}
		return float64(math.Float32frombits(bits << 16))
	}
	for _, v := range values(100_000) {
		got := round(v)
		if v != v {
			require.True(t, math.IsNaN(float64(math.Float32frombits(got<<16))))
			continue
		}
		if math.IsInf(float64(v), 0) {
			require.Equal(t, math.Float32bits(v)>>16, got)
			continue
		}
		below := math.Float32bits(v) >> 16 // toward zero
		low, high := math.Abs(float64(v)-float(below)), math.Abs(float(below+1)-float64(v))
		want := below
		if high < low || high == low && below&1 == 1 {
			want = below + 1
		}
		require.Equal(t, want, got, "%v %#x", v, math.Float32bits(v))
	}
}

func TestWordsAreMadeAlikeByAllInstructionSets(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for n := range 70 {
			low, high := values(n), values(n + 1)[1:]
			got, want := make([]float32, n), make([]float32, n)
			for i := range want {
				want[i] = word(low[i], high[i])
			}
			active.join(got, low, high)
			requireSameBits(t, want, got)
			active.join(got, low, nil)
			for i := range want {
				want[i] = word(low[i], 0)
			}
			requireSameBits(t, want, got)

			got, want = make([]float32, words(n)), make([]float32, words(n))
			padded := append(slices.Clone(low), 0)
			for i := range want {
				want[i] = word(padded[2*i], padded[2*i+1])
			}
			active.joinNeighbours(got, low)
			requireSameBits(t, want, got)
		}
		for _, size := range [][2]int{{1, 1}, {2, 9}, {16, 8}, {17, 8}, {31, 17}, {64, 24}, {67, 33}} {
			rows, cols := size[0], size[1]
			ld := cols + 3
			src := values(rows * cols)
			got := make([]float32, (words(rows)-1)*ld+cols)
			for _, strides := range [][2]int{{cols, 1}, {1, rows}} {
				rs, cs := strides[0], strides[1]
				active.packPairs(got, ld, rows, cols, src, rs, cs)
				for k := range words(rows) {
					for j := range cols {
						high := float32(0)
						if 2*k+1 < rows {
							high = src[(2*k+1)*rs+j*cs]
						}
						requireSameBits(t, []float32{word(src[2*k*rs+j*cs], high)}, got[k*ld+j:k*ld+j+1])
					}
				}
			}
		}
	})
}

// TestPairsKeepNonFiniteValues checks that products of bfloat16 propagate NaN and infinities.
func TestPairsKeepNonFiniteValues(t *testing.T) {
	c := Conv{N: 2, H: 3, W: 3, Cin: 5, Cout: 19, KH: 3, KW: 3, Stride: 1}
	nx, nw, ny := sizes(c)
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 1)
		r := rand.New(rand.NewPCG(7, 7))
		x, w, y := randomFloats(r, nx), randomFloats(r, nw), make([]float32, ny)
		x[3], w[8] = float32(math.NaN()), float32(math.Inf(1))
		p.compute(algorithm{pairs: true}.prepare(c, forward, p), x, w, y)
		for i, v := range y {
			require.Equal(t, i < c.Cout, v != v, "element %d is %v", i, v)
			require.Equal(t, i == c.Cout+8, math.IsInf(float64(v), 0))
		}
	})
}
