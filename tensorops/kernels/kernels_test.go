package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// use makes new pools use an instruction set until the test ends.
func use(t testing.TB, s *isa) {
	old := active
	active = s
	t.Cleanup(func() { active = old })
}

// forEachISA runs f with each instruction set that this CPU supports; with -short, with the best one only.
func forEachISA(t *testing.T, f func(t *testing.T)) {
	all := supported()
	if testing.Short() {
		all = all[len(all)-1:]
	}
	for _, s := range all {
		t.Run(s.name, func(t *testing.T) {
			use(t, s)
			f(t)
		})
	}
}

func newPool(t testing.TB, threads int) *Pool {
	p := NewPool(threads)
	t.Cleanup(p.Close)
	return p
}

func randomFloats(r *rand.Rand, n int) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = float32(r.NormFloat64())
	}
	return s
}

// reference holds sums computed in float64 by plain loops, and the sums of absolute products, which bound the rounding
// error.
type reference struct{ sum, abs []float64 }

func newReference(n int) reference { return reference{make([]float64, n), make([]float64, n)} }

func (r reference) add(i int, a, b float32) {
	r.sum[i] += float64(a) * float64(b)
	r.abs[i] += math.Abs(float64(a) * float64(b))
}

func (r reference) check(t require.TestingT, what string, got []float32) {
	require.Len(t, got, len(r.sum))
	largest := 0.0 // algorithms that mix pixels have errors of that scale in small sums, too
	for _, a := range r.abs {
		if a > largest && !math.IsInf(a, 0) {
			largest = a
		}
	}
	for i, want := range r.sum {
		if math.IsNaN(want) && math.IsNaN(float64(got[i])) || math.IsInf(want, 0) && want == float64(got[i]) {
			continue
		}
		if !(math.Abs(float64(got[i])-want) <= 1e-5*(r.abs[i]+largest)+1e-30) {
			require.FailNow(t, what, "element %d: got %v, want %v", i, got[i], want)
		}
	}
}

// convReference calls visit for each product of the convolution, with the indices of x, w and y.
func convReference(c Conv, visit func(x, w, y int)) {
	for n := range c.N {
		for oh := range c.OutH() {
			for ow := range c.OutW() {
				for kh := range c.KH {
					for kw := range c.KW {
						ih, iw := oh*c.Stride+kh-c.Pad, ow*c.Stride+kw-c.Pad
						if ih < 0 || ih >= c.H || iw < 0 || iw >= c.W {
							continue
						}
						for ci := range c.Cin {
							if c.Depthwise {
								visit(((n*c.H+ih)*c.W+iw)*c.Cin+ci, (kh*c.KW+kw)*c.Cin+ci, ((n*c.OutH()+oh)*c.OutW()+ow)*c.Cin+ci)
								continue
							}
							for co := range c.Cout {
								visit(((n*c.H+ih)*c.W+iw)*c.Cin+ci,
									((kh*c.KW+kw)*c.Cin+ci)*c.Cout+co,
									((n*c.OutH()+oh)*c.OutW()+ow)*c.Cout+co)
							}
						}
					}
				}
			}
		}
	}
}

func sizes(c Conv) (x, w, y int) {
	return c.N * c.H * c.W * c.Cin, c.Weights(), c.N * c.OutH() * c.OutW() * c.Cout
}

func checkConv(t require.TestingT, p *Pool, c Conv, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 0))
	nx, nw, ny := sizes(c)
	checkConvOn(t, p, c, randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny))
}

// checkConvOn compares all three passes on the given input, weights and output gradient with plain loops.
func checkConvOn(t require.TestingT, p *Pool, c Conv, x, w, dy []float32) {
	nx, nw, ny := sizes(c)
	// The outputs' previous content must not matter.
	y, dx, dw := slices.Clone(dy), slices.Clone(x), slices.Clone(w)
	plan := NewConvPlan(c, FP32, p)
	plan.Forward(x, w, y)
	plan.BackwardData(dy, w, dx)
	plan.BackwardWeights(x, dy, dw)
	wantY, wantDx, wantDw := newReference(ny), newReference(nx), newReference(nw)
	convReference(c, func(i, j, k int) {
		wantY.add(k, x[i], w[j])
		wantDx.add(i, dy[k], w[j])
		wantDw.add(j, x[i], dy[k])
	})
	name := fmt.Sprintf("%+v", c)
	wantY.check(t, "Forward "+name, y)
	wantDx.check(t, "BackwardData "+name, dx)
	wantDw.check(t, "BackwardWeights "+name, dw)
}

func TestConvAgainstPlainLoops(t *testing.T) {
	shapes := []Conv{
		{N: 1, H: 1, W: 1, Cin: 1, Cout: 1, KH: 1, KW: 1, Stride: 1},
		{N: 2, H: 1, W: 1, Cin: 3, Cout: 17, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 1, H: 13, W: 11, Cin: 3, Cout: 63, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{N: 3, H: 9, W: 7, Cin: 17, Cout: 8, KH: 1, KW: 1, Stride: 2},
		{N: 3, H: 6, W: 5, Cin: 63, Cout: 17, KH: 1, KW: 1, Stride: 1},
		{N: 2, H: 20, W: 20, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 40, H: 3, W: 3, Cin: 16, Cout: 64, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 37, H: 5, W: 5, Cin: 32, Cout: 40, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 2, H: 33, W: 32, Cin: 3, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 2, H: 8, W: 9, Cin: 4, Cout: 5, KH: 2, KW: 3, Stride: 3, Pad: 0},
		{N: 2, H: 5, W: 5, Cin: 2, Cout: 3, KH: 3, KW: 3, Stride: 1, Pad: 5},
		{N: 1, H: 40, W: 50, Cin: 16, Cout: 6, KH: 3, KW: 5, Stride: 1, Pad: 2},
		{N: 20, H: 4, W: 4, Cin: 32, Cout: 33, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 25, H: 8, W: 8, Cin: 8, Cout: 16, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{N: 2, H: 2, W: 8, Cin: 16, Cout: 1, KH: 1, KW: 1, Stride: 2, Pad: 3}, // bands of nothing but padding
		{N: 3, H: 32, W: 32, Cin: 96, Cout: 96, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
		{N: 3, H: 9, W: 17, Cin: 41, Cout: 41, KH: 3, KW: 3, Stride: 2, Pad: 1, Depthwise: true},
		{N: 40, H: 2, W: 2, Cin: 24, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
		{N: 2, H: 12, W: 19, Cin: 7, Cout: 7, KH: 5, KW: 9, Stride: 3, Pad: 4, Depthwise: true}, // more taps than rows of a kernel
		{N: 2, H: 4, W: 5, Cin: 16, Cout: 16, KH: 1, KW: 1, Stride: 2, Pad: 3, Depthwise: true},
	}
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		for i, c := range shapes {
			checkConv(t, p, c, uint64(i))
		}
	})
}

func TestConvRandomShapes(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		rapid.Check(t, func(t *rapid.T) {
			channels := rapid.OneOf(rapid.SampledFrom([]int{1, 3, 8, 16, 17, 33, 63, 64}), rapid.IntRange(1, 70))
			c := Conv{
				N: rapid.IntRange(1, 30).Draw(t, "n"), H: rapid.IntRange(1, 9).Draw(t, "h"), W: rapid.IntRange(1, 30).Draw(t, "w"),
				Cin: channels.Draw(t, "cin"), Cout: channels.Draw(t, "cout"),
				KH: rapid.SampledFrom([]int{1, 2, 3, 7}).Draw(t, "kh"), KW: rapid.SampledFrom([]int{1, 2, 3, 7}).Draw(t, "kw"),
				Stride: rapid.IntRange(1, 3).Draw(t, "stride"), Pad: rapid.IntRange(0, 3).Draw(t, "pad"),
				Depthwise: rapid.Bool().Draw(t, "depthwise"),
			}
			if c.Depthwise {
				c.Cout = c.Cin
			}
			if c.KH > c.H+2*c.Pad || c.KW > c.W+2*c.Pad || c.N*c.H*c.W*c.KH*c.KW*c.Cin*c.Cout > 2e6 {
				t.Skip("no output, or slow")
			}
			checkConv(t, p, c, rapid.Uint64().Draw(t, "seed"))
		})
	})
}

func checkGemm(t require.TestingT, p *Pool, transA, transB bool, m, n, k, gap int, accumulate bool, seed uint64) {
	r := rand.New(rand.NewPCG(seed, 1))
	rowsA, lda, rowsB, ldb := m, k+gap, k, n+gap
	if transA {
		rowsA, lda = k, m+gap
	}
	if transB {
		rowsB, ldb = n, k+gap
	}
	ldc := n + gap
	a, b, c := randomFloats(r, rowsA*lda), randomFloats(r, rowsB*ldb), randomFloats(r, m*ldc)
	want := newReference(m * ldc)
	for i := range m {
		for j := range ldc {
			at := i*ldc + j
			if accumulate || j >= n {
				want.add(at, c[at], 1)
			}
			for l := range k {
				if j >= n {
					break
				}
				ai, bi := i*lda+l, l*ldb+j
				if transA {
					ai = l*lda + i
				}
				if transB {
					bi = j*ldb + l
				}
				want.add(at, a[ai], b[bi])
			}
		}
	}
	p.Gemm(transA, transB, m, n, k, a, lda, b, ldb, c, ldc, accumulate)
	want.check(t, fmt.Sprintf("Gemm %v %v %dx%dx%d gap %d accumulate %v", transA, transB, m, n, k, gap, accumulate), c)
}

func TestGemmAgainstPlainLoops(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		seed := uint64(0)
		for _, s := range [][3]int{{1, 1, 1}, {1, 1, 700}, {17, 63, 5}, {100, 129, 330}, {128, 64, 64}, {3, 300, 0}, {29, 3100, 7}, {0, 5, 3}, {200, 1, 9}} {
			for bits := range 8 {
				seed++
				checkGemm(t, p, bits&1 != 0, bits&2 != 0, s[0], s[1], s[2], 3*(bits>>2), bits == 0 || bits == 6, seed)
			}
		}
	})
}

func TestGemmRandomShapes(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		rapid.Check(t, func(t *rapid.T) {
			m, n, k := rapid.IntRange(1, 120).Draw(t, "m"), rapid.IntRange(1, 200).Draw(t, "n"), rapid.IntRange(0, 60).Draw(t, "k")
			checkGemm(t, p, rapid.Bool().Draw(t, "transA"), rapid.Bool().Draw(t, "transB"), m, n, k,
				rapid.IntRange(0, 5).Draw(t, "gap"), rapid.Bool().Draw(t, "accumulate"), rapid.Uint64().Draw(t, "seed"))
		})
	})
}

func TestNonFiniteValuesPropagate(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		for _, stride := range []int{1, 2} {
			c := Conv{N: 3, H: 9, W: 21, Cin: 5, Cout: 19, KH: 3, KW: 3, Stride: stride}
			r := rand.New(rand.NewPCG(7, 7))
			nx, nw, ny := sizes(c)
			x, w, dy := randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)
			x[1000], dy[500] = nan, inf
			checkConvOn(t, p, c, x, w, dy)
		}
		a, b, c := make([]float32, 6), []float32{1, nan, inf, 2, 3, 4}, make([]float32, 4)
		p.Gemm(false, false, 2, 2, 3, a, 3, b, 2, c, 2, false)
		for _, i := range []int{0, 1} { // 0*NaN and 0*Inf are NaN in either column
			require.True(t, math.IsNaN(float64(c[i])) && math.IsNaN(float64(c[2+i])))
		}
	})
}

// TestDenormalsAreKept checks that normal products of denormal numbers are not lost.
func TestDenormalsAreKept(t *testing.T) {
	c := Conv{N: 2, H: 9, W: 9, Cin: 8, Cout: 16, KH: 3, KW: 3, Stride: 1, Pad: 1}
	r := rand.New(rand.NewPCG(9, 9))
	nx, nw, ny := sizes(c)
	x, w, dy := randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)
	for i := range x {
		x[i] *= 1e-39
	}
	for _, s := range [][]float32{w, dy} {
		for i := range s {
			s[i] *= 1e18
		}
	}
	want := references(c, x, w, dy)
	forEachISA(t, func(t *testing.T) {
		p := newPool(t, 2)
		for what, operands := range map[pass][2][]float32{forward: {x, w}, backwardWeights: {x, dy}} {
			for _, a := range algorithms(c, what, FP32) {
				got := make([]float32, len(want[what].sum))
				p.compute(a.prepare(c, what, p), operands[0], operands[1], got)
				want[what].check(t, fmt.Sprint(a, " ", what), got)
			}
		}
	})
}

var mixedShapes = []Conv{
	{N: 70, H: 20, W: 20, Cin: 3, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
	{N: 70, H: 20, W: 20, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1},
	{N: 70, H: 10, W: 10, Cin: 16, Cout: 32, KH: 3, KW: 3, Stride: 2, Pad: 1},
	{N: 70, H: 10, W: 10, Cin: 16, Cout: 32, KH: 1, KW: 1, Stride: 2},
	{N: 70, H: 3, W: 3, Cin: 64, Cout: 72, KH: 3, KW: 3, Stride: 1, Pad: 1},
	{N: 1, H: 32, W: 32, Cin: 8, Cout: 100, KH: 1, KW: 1, Stride: 1},
	{N: 20, H: 8, W: 16, Cin: 48, Cout: 48, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
	{N: 20, H: 15, W: 15, Cin: 33, Cout: 33, KH: 3, KW: 3, Stride: 2, Pad: 1, Depthwise: true},
}

func TestBitwiseEqualForAnyNumberOfThreads(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 3))
		for _, c := range mixedShapes {
			nx, nw, ny := sizes(c)
			x, w, dy := randomFloats(r, nx), randomFloats(r, nw), randomFloats(r, ny)
			var first [][]float32
			for _, threads := range []int{1, 2, 3, 3} {
				plan := NewConvPlan(c, FP32, newPool(t, threads))
				got := [][]float32{make([]float32, ny), make([]float32, nx), make([]float32, nw)}
				plan.Forward(x, w, got[0])
				plan.BackwardData(dy, w, got[1])
				plan.BackwardWeights(x, dy, got[2])
				if first == nil {
					first = got
				}
				for i := range got {
					requireSameBits(t, first[i], got[i])
				}
			}
		}
		a, b := randomFloats(r, 150*700), randomFloats(r, 700*200)
		var first []float32
		for _, threads := range []int{1, 2, 3, 3} {
			got := make([]float32, 150*200)
			newPool(t, threads).Gemm(false, false, 150, 200, 700, a, 700, b, 200, got, 200, false)
			if first == nil {
				first = got
			}
			requireSameBits(t, first, got)
		}
	})
}

func requireSameBits(t *testing.T, want, got []float32) {
	t.Helper()
	require.True(t, slices.EqualFunc(want, got, func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }))
}

func TestCallsAllocateNothing(t *testing.T) {
	p := newPool(t, 2)
	f := func(_, _ int) {}
	require.Zero(t, testing.AllocsPerRun(20, func() { p.For(10, f) }))
	for _, c := range mixedShapes {
		nx, nw, ny := sizes(c)
		x, w, y := make([]float32, nx), make([]float32, nw), make([]float32, ny)
		plan := NewConvPlan(c, FP32, p)
		require.Zero(t, testing.AllocsPerRun(3, func() {
			plan.Forward(x, w, y)
			plan.BackwardData(y, w, x)
			plan.BackwardWeights(x, y, w)
		}))
	}
	a, b, c := make([]float32, 200*300), make([]float32, 300*150), make([]float32, 200*150)
	require.Zero(t, testing.AllocsPerRun(3, func() {
		p.Gemm(false, false, 200, 150, 300, a, 300, b, 150, c, 150, true)
	}))
}

func TestWrongSizesPanic(t *testing.T) {
	p := newPool(t, 1)
	require.PanicsWithValue(t, "kernels: convolution {N:1 H:2 W:2 Cin:1 Cout:1 KH:3 KW:3 Stride:1 Pad:0 Depthwise:false}: "+
		"the kernel is larger than the padded image; raise Pad or the image size",
		func() { NewConvPlan(Conv{N: 1, H: 2, W: 2, Cin: 1, Cout: 1, KH: 3, KW: 3, Stride: 1}, FP32, p) })
	require.Panics(t, func() { NewConvPlan(Conv{N: 1, H: 2, W: 2, Cin: 1, Cout: 1, KH: 1, KW: 1}, FP32, p) })
	require.Panics(t, func() {
		NewConvPlan(Conv{N: 1, H: 2, W: 2, Cin: 2, Cout: 4, KH: 1, KW: 1, Stride: 1, Depthwise: true}, FP32, p)
	})
	plan := NewConvPlan(Conv{N: 1, H: 2, W: 2, Cin: 1, Cout: 1, KH: 1, KW: 1, Stride: 1}, FP32, p)
	require.Panics(t, func() { plan.Forward(make([]float32, 3), make([]float32, 1), make([]float32, 4)) })
	require.Panics(t, func() { plan.BackwardData(make([]float32, 5), make([]float32, 1), make([]float32, 4)) })
	require.Panics(t, func() { plan.BackwardWeights(make([]float32, 4), make([]float32, 4), make([]float32, 2)) })
	require.Panics(t, func() {
		p.Gemm(false, false, 2, 2, 2, make([]float32, 3), 2, make([]float32, 4), 2, make([]float32, 4), 2, false)
	})
	require.Panics(t, func() {
		p.Gemm(false, false, 2, 2, 2, make([]float32, 4), 1, make([]float32, 4), 2, make([]float32, 4), 2, false)
	})
}

func TestInstructionSetIsChosenByName(t *testing.T) {
	all := supported()
	require.Equal(t, all[len(all)-1], choose(""))
	require.Equal(t, portable, choose("portable"))
	require.PanicsWithValue(t, `kernels: environment variable SDR_CPU="z80": this CPU supports `+
		map[int]string{1: "portable", 2: "portable, avx2", 3: "portable, avx2, avx512", 4: "portable, avx2, avx512, bf16"}[len(all)]+
		"; unset it or set it to one of these", func() { choose("z80") })
	use(t, portable)
	require.Equal(t, "portable", ISA())
}

func TestSplitCoversAllRowsEvenly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &width{tiles: make([]func(*tile), rapid.IntRange(1, 24).Draw(t, "longest"))}
		m := rapid.IntRange(0, 200).Draw(t, "m")
		next, least, most := 0, m, 0
		for s := w.split(m); s.next(); next += s.rows {
			require.Equal(t, next, s.row)
			least, most = min(least, s.rows), max(most, s.rows)
		}
		require.Equal(t, m, next)
		require.LessOrEqual(t, most, len(w.tiles))
		require.LessOrEqual(t, most-least, 1)
	})
}
