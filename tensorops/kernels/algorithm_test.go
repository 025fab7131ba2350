package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// relativeErrors bounds the error ‖y - y64‖ / ‖Σ|products|‖ against float64, by the tile size m of the algorithm.
// Cancellation does not count against it, so it holds for any shape.
var relativeErrors = map[int]float64{0: 1e-6, 2: 2e-6, 3: 5e-6, 4: 1e-5}

// checkAlgorithms compares each algorithm for each pass of c with plain loops.
func checkAlgorithms(t require.TestingT, p *Pool, c Conv, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	nx, nw, ny := sizes(c)
	x, w, dy := randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)
	exact, rounded := references(c, x, w, dy), references(c, bfloat16s(x), bfloat16s(w), bfloat16s(dy))
	inputs := [3][2][]float32{{x, w}, {dy, w}, {x, dy}}
	for what := range exact {
		for _, a := range algorithms(c, pass(what), BF16) {
			want := exact[what]
			if a.pairs {
				want = rounded[what]
			}
			got := randomFloats(r, len(want.sum)) // previous content must not matter
			p.compute(a.prepare(c, pass(what), p), inputs[what][0], inputs[what][1], got)
			name := fmt.Sprintf("%v, %v of %+v", a, pass(what), c)
			var off, all, worst float64
			largest := slices.Max(want.abs) // tiles mix their pixels, so small sums can have errors of that scale
			for i, v := range want.sum {
				d := float64(got[i]) - v
				worst = max(worst, math.Abs(d))
				off += d * d
				all += want.abs[i] * want.abs[i]
			}
			require.LessOrEqual(t, worst, 10*relativeErrors[a.m]*largest, name)
			require.LessOrEqual(t, math.Sqrt(off), relativeErrors[a.m]*math.Sqrt(all)+1e-30, name)
		}
	}
}

// references computes each pass with plain loops.
func references(c Conv, x, w, dy []float32) [3]reference {
	r := [3]reference{newReference(len(dy)), newReference(len(x)), newReference(len(w))}
	convReference(c, func(i, j, k int) {
		r[forward].add(k, x[i], w[j])
		r[backwardData].add(i, dy[k], w[j])
		r[backwardWeights].add(j, x[i], dy[k])
	})
	return r
}

func TestAlgorithmsAgainstPlainLoops(t *testing.T) {
	shapes := []Conv{
		{N: 2, H: 8, W: 8, Cin: 8, Cout: 16, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 5, W: 7, Cin: 16, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 1, W: 1, Cin: 16, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 5, W: 4, Cin: 16, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 0},
		{N: 3, H: 5, W: 4, Cin: 40, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 2},
		{N: 13, H: 8, W: 8, Cin: 64, Cout: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 5, H: 22, W: 21, Cin: 24, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 21, W: 20, Cin: 48, Cout: 33, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 1, H: 1, W: 1, Cin: 1, Cout: 1, KH: 1, KW: 1, Stride: 1},
		{N: 300, H: 1, W: 1, Cin: 131, Cout: 200, KH: 1, KW: 1, Stride: 1},
		{N: 33, H: 1, W: 1, Cin: 1200, Cout: 9, KH: 1, KW: 1, Stride: 1},
		{N: 2, H: 9, W: 9, Cin: 9, Cout: 5, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{N: 2, H: 20, W: 17, Cin: 65, Cout: 40, KH: 1, KW: 1, Stride: 1},
		{N: 2, H: 20, W: 17, Cin: 24, Cout: 40, KH: 1, KW: 1, Stride: 2},
		{N: 20, H: 14, W: 14, Cin: 72, Cout: 72, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
	}
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		for i, c := range shapes {
			checkAlgorithms(t, p, c, uint64(i))
		}
	})
}

func TestAlgorithmsRandomShapes(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		rapid.Check(t, func(t *rapid.T) {
			c := Conv{
				N: rapid.IntRange(1, 40).Draw(t, "n"), H: rapid.IntRange(1, 20).Draw(t, "h"), W: rapid.IntRange(1, 20).Draw(t, "w"),
				Cin: 8 * rapid.IntRange(1, 9).Draw(t, "cin"), Cout: 8 * rapid.IntRange(1, 9).Draw(t, "cout"),
				KH: 3, KW: 3, Stride: 1, Pad: rapid.IntRange(0, 2).Draw(t, "pad"),
			}
			if rapid.Bool().Draw(t, "no Winograd") {
				c.Cin, c.Cout = c.Cin+rapid.IntRange(0, 9).Draw(t, "more in"), c.Cout+rapid.IntRange(0, 9).Draw(t, "more out")
				c.KH, c.KW = rapid.IntRange(1, 3).Draw(t, "kh"), rapid.IntRange(1, 3).Draw(t, "kw")
				c.Stride = rapid.IntRange(1, 3).Draw(t, "stride")
			}
			if c.KH > c.H+2*c.Pad || c.KW > c.W+2*c.Pad || c.N*c.H*c.W*c.Cin*c.Cout > 1e5 {
				t.Skip("no output, or slow")
			}
			checkAlgorithms(t, p, c, rapid.Uint64().Draw(t, "seed"))
		})
	})
}

func TestAlgorithmsAreBitwiseEqualForAnyNumberOfThreads(t *testing.T) {
	c := Conv{N: 21, H: 9, W: 9, Cin: 32, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1}
	r := rand.New(rand.NewPCG(3, 3))
	nx, nw, ny := sizes(c)
	operands := [3][]float32{randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)}
	forEachISA(t, func(t *testing.T) {
		for what, at := range [3][3]int{{0, 1, 2}, {2, 1, 0}, {0, 2, 1}} {
			for _, a := range algorithms(c, pass(what), BF16) {
				var first []float32
				for _, threads := range []int{1, 2, 3} {
					p := newPool(t, threads)
					got := make([]float32, len(operands[at[2]]))
					p.compute(a.prepare(c, pass(what), p), operands[at[0]], operands[at[1]], got)
					if first == nil {
						first = got
					}
					requireSameBits(t, first, got)
				}
			}
		}
	})
}

func TestTuningDecidesOnceAndForAll(t *testing.T) {
	c := Conv{N: 2, H: 6, W: 6, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}
	path := filepath.Join(t.TempDir(), "cache", "tuning.json")
	first, err := OpenTuning(path)
	require.NoError(t, err)
	second, err := OpenTuning(path)
	require.NoError(t, err)
	p, q := newPool(t, 2), newPool(t, 2)
	p.Tune(first)
	q.Tune(second)
	for what := range pass(3) {
		a := p.choose(c, what, FP32)
		require.Contains(t, algorithms(c, what, FP32), a)
		require.Equal(t, a, q.choose(c, what, FP32), "a second process keeps the first one's choice")
	}
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Contains(t, string(kept), p.machine()+": "+shapeOf(c, forward, FP32))

	// A run's own choice takes precedence over the machine's, unless it is unknown, and that of another machine too.
	third, err := OpenTuning(filepath.Join(t.TempDir(), "tuning.json"))
	require.NoError(t, err)
	q.Tune(third)
	for _, name := range []string{"winograd2 staged", "winograd3", "direct"} {
		third.Share(store{shapeOf(c, forward, FP32): name})
		require.Equal(t, name, q.choose(c, forward, FP32).String())
		third.Share(store{shapeOf(c, forward, FP32): "fft"})
		require.NotEqual(t, "fft", q.choose(c, forward, FP32).String())
	}
	shared := store{}
	third.Share(shared)
	a := q.choose(c, forward, FP32)
	require.Equal(t, store{shapeOf(c, forward, FP32): a.String(), Processor: q.processor()}, shared)
	third.Join(Part{GPU, "a"})
	require.Equal(t, "a", shared[GPU])

	require.NoError(t, os.WriteFile(path, []byte("{"), 0o644))
	_, err = OpenTuning(path)
	require.ErrorContains(t, err, "delete it to measure again")
}

// store is a run's choices in memory.
type store map[string]string

func (s store) Get(shape string) (algorithm string, err error) { return s[shape], nil }
func (s store) Put(shape, algorithm, _ string) (string, error) {
	s[shape] = algorithm
	return algorithm, nil
}
func (s store) Join(part Part) error {
	s[part.Kind] = part.Name
	return nil
}

func BenchmarkAlgorithms(b *testing.B) {
	for _, width := range []int{16, 32, 64} {
		layers := resNet18(128, 32, width)
		for _, name := range []string{"1same", "2same", "3same", "4same"} {
			c := layers[name]
			nx, nw, ny := sizes(c)
			operands := [3][]float32{NewFloats(nx), NewFloats(nw), NewFloats(ny)}
			for i := range operands {
				for j := range operands[i] {
					operands[i][j] = float32(j%7) - 3
				}
			}
			for _, threads := range []int{1, 2} {
				p := newPool(b, threads)
				for what, at := range [3][3]int{{0, 1, 2}, {2, 1, 0}, {0, 2, 1}} {
					for _, a := range algorithms(c, pass(what), BF16) {
						b.Run(fmt.Sprintf("width=%d/%s/threads=%d/%v/%v", width, name, threads, pass(what), a), func(b *testing.B) {
							prepared := a.prepare(c, pass(what), p)
							for b.Loop() {
								p.compute(prepared, operands[at[0]], operands[at[1]], operands[at[2]])
							}
							report(b, ny*c.KH*c.KW*c.Cin)
						})
					}
				}
			}
		}
	}
}
