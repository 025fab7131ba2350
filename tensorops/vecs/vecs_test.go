package vecs

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// forEachISA runs f with each instruction set that this CPU supports.
func forEachISA(t *testing.T, f func(t *testing.T)) {
	for _, name := range kernels.ISAs() {
		t.Run(name, func(t *testing.T) {
			old := active
			active = isas[name]
			t.Cleanup(func() { active = old })
			f(t)
		})
	}
}

// operands are the arguments of an operation: data of one length and tiles of another.
type operands struct {
	out, x, g, h, y, w, v []float32
	a, b, c, s, q         []float32
}

func (o *operands) each(f func(s *[]float32)) {
	for _, s := range []*[]float32{&o.out, &o.x, &o.g, &o.h, &o.y, &o.w, &o.v, &o.a, &o.b, &o.c, &o.s, &o.q} {
		f(s)
	}
}

// copied returns a deep copy.
func (o operands) copied() *operands {
	o.each(func(s *[]float32) { *s = append([]float32{}, *s...) })
	return &o
}

// newCase returns random operands: rows tiles, then the first extra elements of another. y is rectified and capped.
func newCase(rows, tile, extra int) *operands {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(tile*1000+extra)))
	o := &operands{}
	o.each(func(s *[]float32) {
		n := rows*tile + extra
		switch s {
		case &o.a, &o.b, &o.c, &o.s, &o.q:
			n = tile
		}
		*s = make([]float32, n)
		for i := range *s {
			(*s)[i] = float32(r.NormFloat64())
		}
	})
	for i, v := range o.y {
		o.y[i] = min(max(0, v), top)
	}
	return o
}

// awkward are sizes around those at which the loops are split.
var awkward = []struct{ rows, tile, extra int }{
	{0, 1, 0}, {1, 1, 0}, {63, 1, 0}, {0, 7, 1}, {1, 7, 0}, {9, 7, 6}, {0, 64, 63}, {3, 63, 1}, {1, 64, 0}, {5, 64, 8},
	{2, 65, 64}, {4, 100, 0}, {2, 127, 5}, {3, 128, 64}, {1, 1000, 999},
}

const (
	scale, decay, momentum = 0.7, 0.01, 0.9 // of Step
	keep, size, floor      = 0.9, 0.3, 0.5  // of AdamW
	rateA, rateB           = 0.3, 0.2       // of both
	top                    = 1.25           // of ReLU
)

// operations are the exported functions and, for element i of the data and t of the tile, the expected results in
// double precision: the values written to out and v, and the summands of s and q.
var operations = []struct {
	name string
	run  func(o *operands)
	want func(o *operands, i, t int) (out, v, s, q float64)
}{
	{"ScaleShift", func(o *operands) { ScaleShift(o.out, o.x, o.a, o.b) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			return mul(o.a[t], o.x[i]) + float64(o.b[t]), same(o.v[i]), 0, 0
		}},
	{"ScaleShiftReLU", func(o *operands) { ScaleShiftReLU(o.out, o.x, o.a, o.b, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			return min(max(0, mul(o.a[t], o.x[i])+float64(o.b[t])), top), same(o.v[i]), 0, 0
		}},
	{"ScaleShiftAdd", func(o *operands) { ScaleShiftAdd(o.out, o.x, o.g, o.a, o.b) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			return mul(o.a[t], o.x[i]) + float64(o.b[t]) + float64(o.g[i]), same(o.v[i]), 0, 0
		}},
	{"ScaleShiftAddReLU", func(o *operands) { ScaleShiftAddReLU(o.out, o.x, o.g, o.a, o.b, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			return min(max(0, mul(o.a[t], o.x[i])+float64(o.b[t])+float64(o.g[i])), top), same(o.v[i]), 0, 0
		}},
	{"Combine", func(o *operands) { Combine(o.out, o.g, o.x, o.a, o.b, o.c, o.s) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			return mul(o.a[t], o.g[i]) + float64(o.b[t])*(float64(o.x[i])-float64(o.s[t])) + float64(o.c[t]), same(o.v[i]), 0, 0
		}},
	{"Step", func(o *operands) { copy(o.out, o.w); Step(o.out, o.g, o.v, scale, decay, momentum, rateA, rateB) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			d := scale * (float64(o.g[i]) + decay*float64(o.w[i]))
			v = momentum*float64(o.v[i]) + d
			return float64(o.w[i]) - rateA*v - rateB*d, v, 0, 0
		}},
	{"AdamW", func(o *operands) { copy(o.out, o.w); AdamW(o.out, o.g, o.v, o.y, keep, rateA, rateB, size, floor) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			m, square := o.averages(i)
			return keep*float64(o.w[i]) - size*m/(math.Sqrt(square)+floor), m, 0, 0
		}},
	{"AdamW's squares", func(o *operands) { copy(o.out, o.y); AdamW(o.w, o.g, o.v, o.out, keep, rateA, rateB, size, floor) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			m, square := o.averages(i)
			return square, m, 0, 0
		}},
	{"Moments", func(o *operands) { Moments(o.s, o.q, o.x, o.a) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			d := float64(o.x[i]) - float64(o.a[t])
			return same(o.out[i]), same(o.v[i]), d, d * d
		}},
	{"GradMoments", func(o *operands) { GradMoments(o.s, o.q, nil, o.g, nil, nil, o.x, o.a, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			_, s, q = o.grad(float64(o.g[i]), i, t)
			return same(o.out[i]), same(o.v[i]), s, q
		}},
	{"GradMoments of a sum", func(o *operands) { GradMoments(o.s, o.q, o.out, o.g, o.h, nil, o.x, o.a, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			out, s, q = o.grad(float64(o.g[i])+float64(o.h[i]), i, t)
			return out, same(o.v[i]), s, q
		}},
	{"GradMoments gated", func(o *operands) { copy(o.out, o.g); GradMoments(o.s, o.q, o.out, o.out, nil, o.y, o.x, o.a, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			out, s, q = o.grad(open(o.y[i], float64(o.g[i])), i, t)
			return out, same(o.v[i]), s, q
		}},
	{"GradMoments of a gated sum", func(o *operands) { GradMoments(o.s, o.q, o.out, o.g, o.h, o.y, o.x, o.a, top) },
		func(o *operands, i, t int) (out, v, s, q float64) {
			out, s, q = o.grad(open(o.y[i], float64(o.g[i])+float64(o.h[i])), i, t)
			return out, same(o.v[i]), s, q
		}},
}

// averages returns AdamW's averages after a step.
func (o *operands) averages(i int) (m, square float64) {
	m = (1-rateA)*float64(o.v[i]) + rateA*float64(o.g[i])
	return m, (1-rateB)*float64(o.y[i]) + rateB*mul(o.g[i], o.g[i])
}

func mul(a, b float32) float64 { return float64(a) * float64(b) }
func same(v float32) float64   { return float64(v) }
func open(y float32, g float64) float64 {
	if y == 0 || y == top {
		return 0
	}
	return g
}

// grad returns the gradient d of element i and its summands.
func (o *operands) grad(d float64, i, t int) (out, s, q float64) {
	return d, d, d * (float64(o.x[i]) - float64(o.a[t]))
}

// TestOperations compares every operation on every instruction set with double precision, for whole and partial tiles.
func TestOperations(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		check := func(t require.TestingT, rows, tile, extra int) {
			for _, op := range operations {
				before := newCase(rows, tile, extra)
				after := before.copied()
				op.run(after)
				sum, size := make([]float64, 2*tile), make([]float64, 2*tile)
				for i := range tile {
					sum[i], sum[tile+i] = float64(before.s[i]), float64(before.q[i])
					size[i], size[tile+i] = math.Abs(sum[i]), math.Abs(sum[tile+i])
				}
				for i := range before.x {
					out, v, s, q := op.want(before, i, i%tile)
					require.InDelta(t, out, after.out[i], 1e-6*(2+math.Abs(out)), "%s: element %d", op.name, i)
					require.InDelta(t, v, after.v[i], 1e-6*(1+math.Abs(v)), "%s: v, element %d", op.name, i)
					sum[i%tile] += s
					sum[tile+i%tile] += q
					size[i%tile] += math.Abs(s)
					size[tile+i%tile] += math.Abs(q)
				}
				for i, got := range append(after.s, after.q...) {
					require.InDelta(t, sum[i], got, 2e-6*size[i], "%s: sum %d", op.name, i)
				}
			}
		}
		for _, size := range awkward {
			check(t, size.rows, size.tile, size.extra)
		}
		rapid.Check(t, func(t *rapid.T) {
			tile := rapid.IntRange(1, 200).Draw(t, "tile")
			check(t, rapid.IntRange(0, 20).Draw(t, "rows"), tile, rapid.IntRange(0, tile-1).Draw(t, "extra"))
		})
	})
}

// TestSumsStayPrecise sums as many values per call as the networks do, far from the pivot.
func TestSumsStayPrecise(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		const n, tile = 1 << 14, 64
		x, s, q, pivot := make([]float32, n), make([]float32, tile), make([]float32, tile), make([]float32, tile)
		r := rand.New(rand.NewPCG(1, 2))
		sum, squares := make([]float64, tile), make([]float64, tile)
		for i := range x {
			x[i] = float32(3 + r.NormFloat64())
			sum[i%tile] += float64(x[i])
			squares[i%tile] += mul(x[i], x[i])
		}
		Moments(s, q, x, pivot)
		for i := range tile {
			require.InEpsilon(t, sum[i], s[i], 2e-6)
			require.InEpsilon(t, squares[i], q[i], 2e-6)
		}
	})
}

// TestSpecialValues checks that NaN and infinities propagate as documented, in whole and partial vectors.
func TestSpecialValues(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	forEachISA(t, func(t *testing.T) {
		const n = 64 + 16 + 8 + 3
		one, zero, y := constant(n, 1), constant(n, 0), make([]float32, n)
		for _, c := range []struct{ x, rectified float32 }{
			{nan, nan}, {inf, 3}, {3, 3}, {2, 2}, {-inf, 0}, {0, 0}, {float32(math.Copysign(0, -1)), 0}, {-1e-45, 0}, {1e-45, 1e-45},
		} {
			x := constant(n, c.x)
			same := func(want float32) {
				for i, got := range y {
					require.True(t, got == want || got != got && want != want, "%v: element %d: got %v, want %v", c.x, i, got, want)
				}
			}
			ScaleShift(y, x, one, zero)
			same(c.x)
			ScaleShiftReLU(y, x, one, zero, 3)
			same(c.rectified)
			ScaleShiftAddReLU(y, zero, x, one, zero, 3)
			same(c.rectified)
			// ReLU passes the gradient where its output is neither 0 nor the largest.
			GradMoments(make([]float32, n), make([]float32, n), y, one, zero, x, one, zero, 3)
			if c.x == 0 || c.x == 3 {
				same(0)
			} else {
				same(1)
			}
			s := make([]float32, n)
			Moments(s, make([]float32, n), x, zero)
			copy(y, s)
			same(c.x)
		}
	})
}

func constant(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

func TestArgumentsAreChecked(t *testing.T) {
	four, five := make([]float32, 4), make([]float32, 5)
	require.PanicsWithValue(t, "vecs: ScaleShift: operands of 4 and 5 elements; want slices of equal length",
		func() { ScaleShift(four, five, four, four) })
	require.PanicsWithValue(t, "vecs: Moments: an empty tile; want at least one row",
		func() { Moments(nil, nil, four, nil) })
	require.Panics(t, func() { GradMoments(four, four, four, four, five, nil, four, four, 6) })
	require.Panics(t, func() { Combine(four, four, four, four, five, four, four) })
}

func TestNothingIsAllocated(t *testing.T) {
	o := newCase(10, 64, 3)
	for _, op := range operations {
		require.Zero(t, testing.AllocsPerRun(3, func() { op.run(o) }), op.name)
	}
}

// BenchmarkOperations measures the loops on data that fit a core's cache.
func BenchmarkOperations(b *testing.B) {
	o := newCase(256, 64, 0)
	for _, name := range kernels.ISAs() {
		for _, op := range operations {
			b.Run(name+"/"+op.name, func(b *testing.B) {
				old := active
				active = isas[name]
				defer func() { active = old }()
				for b.Loop() {
					op.run(o)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(o.x)), "ns/element")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
