package cuda

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// both runs a test in both precisions.
func both(t *testing.T, test func(t *testing.T, bf16 bool)) {
	t.Run("float32", func(t *testing.T) { test(t, false) })
	t.Run("bfloat16", func(t *testing.T) { test(t, true) })
}

// noise returns n normally distributed values.
func noise(seed uint64, n int) []float32 {
	r := rand.New(rand.NewPCG(seed, 7))
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	return values
}

// near compares with a tolerance relative to the largest wanted value, but at least to 1.
func near(t require.TestingT, want []float64, got []float32, tolerance float64, what string) {
	require.Len(t, got, len(want), what)
	nearTo(t, want, got, tolerance*max(1, largest(want)), what)
}

// largest returns the largest magnitude.
func largest(values []float64) (top float64) {
	for _, v := range values {
		top = max(top, math.Abs(v))
	}
	return top
}

// nearTo compares with an absolute tolerance.
func nearTo(t require.TestingT, want []float64, got []float32, tolerance float64, what string) {
	for i, v := range want {
		if d := math.Abs(v - float64(got[i])); !(d <= tolerance) {
			require.FailNow(t, what, "element %d of %d: %g, want %g within %g", i, len(want), got[i], v, tolerance)
		}
	}
}

func wide(values []float32) []float64 {
	out := make([]float64, len(values))
	for i, v := range values {
		out[i] = float64(v)
	}
	return out
}

// allowed returns the tolerance for sums of moderately many values.
func allowed(bf16 bool) float64 {
	if bf16 {
		return 2e-2
	}
	return 1e-4
}

func TestStructsLieAsInCUDA(t *testing.T) {
	s := newShim(t, ssl.FP32)
	var got [18]int32
	s.lib.layout(&got[0])
	var p step
	var v augment.Step
	require.Equal(t, [18]int32{
		int32(unsafe.Sizeof(chunk{})), int32(unsafe.Sizeof(p)),
		int32(unsafe.Offsetof(p.LR)),
		int32(unsafe.Offsetof(p.Size)), int32(unsafe.Offsetof(p.Decay)), int32(unsafe.Offsetof(p.Root)),
		int32(unsafe.Offsetof(p.Levels)), int32(unsafe.Offsetof(p.Vectors)), int32(unsafe.Offsetof(p.Params)),
		int32(unsafe.Offsetof(p.Base)), int32(unsafe.Offsetof(p.State)), int32(unsafe.Offsetof(p.Memory)),
		int32(unsafe.Offsetof(p.Group)), int32(unsafe.Offsetof(p.GroupState)), int32(unsafe.Offsetof(p.GroupSize)),
		int32(unsafe.Sizeof(v)), int32(unsafe.Offsetof(v.Args)), int32(unsafe.Offsetof(v.Factor)),
	}, got)
}

// TestConvert rounds ordinary, huge, tiny and special values, and ties.
func TestConvert(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		s := newBench(t, bf16)
		x := noise(1, 5000)
		for i, bits := range []uint32{
			0, 1 << 31, 0x3f808000, 0x3f818000, 0x3f808001, 0x3f807fff,
			0x7f7fffff, 0x7f800000, 0xff800000, 1, 0x00008000, 0x00018000,
		} {
			x[17*i] = math.Float32frombits(bits)
		}
		y := s.acts(len(x))
		convert(s, s.floatsOf(x), y)
		require.Equal(t, s.round(append([]float32(nil), x...)), s.readActs(y))
		for _, bits := range []uint32{0x7fc00000, 0x7f800001, 0xffffffff} {
			y := s.acts(1)
			convert(s, s.floatsOf([]float32{math.Float32frombits(bits)}), y)
			got := s.readActs(y)[0]
			require.True(t, got != got, "%x", bits)
		}
	})
}

// normReference computes the plain formulas in double precision, for rows of c channels.
type normReference struct {
	c, rows, views      int // rows per view
	batch               bool
	activation          nn.Activation
	scale, shift        []float32 // nil if the layer has none
	y, masked, dx       []float64
	dscale, dshift      []float64
	gain                float64 // largest factor of the gradient: terms of that size cancel
	x, residual, g1, g2 []float32
}

// forward computes y.
func (r *normReference) forward() {
	r.y = make([]float64, len(r.x))
	r.each(func(at func(int) int, ch int, mean, variance float64) {
		for row := range r.rows {
			v := float64(r.x[at(row)])
			if r.batch {
				v = (v - mean) / math.Sqrt(variance+1e-5)
			}
			if r.scale != nil {
				v *= float64(r.scale[ch])
			}
			if r.shift != nil {
				v += float64(r.shift[ch])
			}
			if r.residual != nil {
				v += float64(r.residual[at(row)])
			}
			switch r.activation {
			case nn.ReLU:
				v = max(v, 0)
			case nn.ReLU6:
				v = min(max(v, 0), 6)
			}
			r.y[at(row)] = v
		}
	})
}

// backward computes the gradients from the actual y; keep rounds the masked gradient as it is stored.
func (r *normReference) backward(y []float32, keep func([]float32) []float32) {
	g := append([]float32(nil), r.g1...)
	for i := range g {
		if r.g2 != nil {
			g[i] += r.g2[i]
		}
		if r.activation != nn.Identity && y[i] == 0 || r.activation == nn.ReLU6 && y[i] == 6 {
			g[i] = 0
		}
	}
	r.masked = wide(keep(g))
	r.dx, r.dscale, r.dshift = make([]float64, len(g)), make([]float64, r.c), make([]float64, r.c)
	r.each(func(at func(int) int, ch int, mean, variance float64) {
		if !r.batch {
			mean, variance = 0, 1-1e-5
		}
		inv, m := 1/math.Sqrt(variance+1e-5), float64(r.rows)
		var sum, dot float64
		for row := range r.rows {
			sum += r.masked[at(row)]
			dot += r.masked[at(row)] * (float64(r.x[at(row)]) - mean) * inv
		}
		r.dshift[ch] += sum
		r.dscale[ch] += dot
		factor := inv
		if r.scale != nil {
			factor *= float64(r.scale[ch])
		}
		r.gain = max(r.gain, math.Abs(factor))
		for row := range r.rows {
			d := r.masked[at(row)]
			if r.batch {
				d -= sum/m + (float64(r.x[at(row)])-mean)*inv*dot/m
			}
			r.dx[at(row)] = factor * d
		}
	})
}

// each calls f for each channel of each view, with its statistics.
func (r *normReference) each(f func(at func(row int) int, ch int, mean, variance float64)) {
	for view := range r.views {
		for ch := range r.c {
			at := func(row int) int { return (view*r.rows+row)*r.c + ch }
			var mean, variance float64
			for row := range r.rows {
				mean += float64(r.x[at(row)]) / float64(r.rows)
			}
			for row := range r.rows {
				d := float64(r.x[at(row)]) - mean
				variance += d * d / float64(r.rows)
			}
			f(at, ch, mean, variance)
		}
	}
}

// spec copies the reference's parameters to device memory.
func (r *normReference) spec(s bench) normSpec {
	l := normSpec{Batch: r.batch, Activation: r.activation, Channels: r.c}
	if r.scale != nil {
		l.Scale, l.DScale = s.floatsOf(r.scale), s.floats(r.c)
	}
	if r.shift != nil {
		l.Shift, l.DShift = s.floatsOf(r.shift), s.floats(r.c)
	}
	return l
}

// TestNorm compares BatchNorm and biases with the plain formulas, for one and several chunks, whole and partial groups
// of channels, and all combinations of arrays that may share memory.
func TestNorm(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			r := &normReference{
				c:          rapid.SampledFrom([]int{1, 2, 3, 4, 8, 17, 24, 64, 100, 260}).Draw(rt, "channels"),
				views:      rapid.IntRange(1, 3).Draw(rt, "views"),
				batch:      rapid.SampledFrom([]bool{true, true, true, false}).Draw(rt, "batch"),
				activation: rapid.SampledFrom([]nn.Activation{nn.Identity, nn.ReLU, nn.ReLU6}).Draw(rt, "activation"),
			}
			r.rows = rapid.IntRange(1, max(3, 40000/r.c/r.views)).Draw(rt, "rows of a view")
			size := r.views * r.rows * r.c
			r.x, r.g1 = s.round(noise(1, size)), s.round(noise(2, size))
			if r.batch && rapid.Bool().Draw(rt, "scale") {
				r.scale = noise(3, r.c)
				for i := range r.scale {
					r.scale[i] *= 4 // to reach ReLU6's limit
				}
			}
			if rapid.Bool().Draw(rt, "shift") {
				r.shift = noise(4, r.c)
			}
			if rapid.Bool().Draw(rt, "residual") {
				r.residual = s.round(noise(5, size))
			}
			if rapid.Bool().Draw(rt, "two gradients") {
				r.g2 = s.round(noise(6, size))
			}
			l := r.spec(s)
			n := newNorm(s, s, l, r.views*r.rows, r.views)

			x, y, residual := s.actsOf(r.x), s.acts(size), Buffer{}
			if r.residual != nil {
				residual = s.actsOf(r.residual)
			}
			inPlace := rapid.Bool().Draw(rt, "y is x")
			if inPlace {
				y = s.actsOf(r.x)
				n.Forward(y, residual, y)
			} else {
				n.Forward(x, residual, y)
			}
			r.forward()
			near(rt, r.y, s.readActs(y), allowed(bf16), "y")
			if r.residual == nil {
				again := s.acts(size)
				n.Reapply(x, again)
				require.Equal(rt, s.readActs(y), s.readActs(again))
			}

			r.backward(s.readActs(y), s.round)
			g1, g2, dx := s.actsOf(r.g1), Buffer{}, s.acts(size)
			into := []string{"another", "g1", "x"}
			if r.g2 != nil {
				g2, into = s.actsOf(r.g2), append(into, "g2")
			}
			chosen := rapid.SampledFrom(into).Draw(rt, "dx")
			switch chosen {
			case "g1":
				dx = g1
			case "x":
				dx = x
			case "g2":
				dx = g2
			}
			masked := s.acts(size)
			where := rapid.SampledFrom([]string{"another", "g1", "dx"}).Draw(rt, "masked")
			switch {
			case where == "g1":
				masked = g1
			case where == "dx" && chosen != "x":
				masked = dx
			}
			n.Backward(g1, g2, x, y, masked, dx)
			within := allowed(bf16) * max(1, r.gain)
			if bf16 {
				within += largest(r.dx) / 256 // dx itself is rounded
			}
			nearTo(rt, r.dx, s.readActs(dx), within, "dx")
			if (r.activation != nn.Identity || r.g2 != nil) && masked != dx {
				near(rt, r.masked, s.readActs(masked), 0, "masked")
			}
			// Sums are as precise as the rounded operands.
			if r.scale != nil {
				nearTo(rt, r.dscale, s.readFloats(l.DScale), 1e-5*float64(r.views*r.rows+10), "dscale")
			}
			if r.shift != nil {
				nearTo(rt, r.dshift, s.readFloats(l.DShift), 1e-5*float64(r.views*r.rows+10), "dshift")
			}
		})
	})
}

// TestNormFarFromZero normalizes channels whose mean is ten thousand times their standard deviation.
func TestNormFarFromZero(t *testing.T) {
	s := newBench(t, false)
	r := &normReference{c: 12, rows: 5000, views: 2, batch: true}
	r.x, r.g1 = noise(1, r.c*r.rows*r.views), noise(2, r.c*r.rows*r.views)
	for i, v := range r.x {
		r.x[i] = 1000 + 0.1*v
	}
	r.x[0] = 1010 // an outlier in the row that is subtracted
	n := newNorm(s, s, r.spec(s), r.rows*r.views, r.views)
	require.Greater(t, n.chunks, side)
	x, y, g1, dx := s.actsOf(r.x), s.acts(len(r.x)), s.actsOf(r.g1), s.acts(len(r.x))
	n.Forward(x, Buffer{}, y)
	r.forward()
	nearTo(t, r.y, s.readActs(y), 1e-3, "y")
	n.Backward(g1, Buffer{}, x, y, Buffer{}, dx)
	r.backward(nil, s.round)
	near(t, r.dx, s.readActs(dx), 1e-4, "dx")
}

// TestNormShowsNaN computes statistics of a channel with NaN: none of them is a number, so that running statistics show it.
func TestNormShowsNaN(t *testing.T) {
	s := newBench(t, false)
	const c, rows = 8, 200
	values := noise(1, c*rows)
	values[3*c+5] = float32(math.NaN())
	n := newNorm(s, s, normSpec{Batch: true, Channels: c}, rows, 1)
	n.Forward(s.actsOf(values), Buffer{}, s.acts(len(values)))
	table := s.readFloats(n.table)
	for i := range c {
		for _, row := range []int{0, 2} { // MEAN, VARIANCE
			require.Equal(t, i == 5, math.IsNaN(float64(table[row*c+i])), "channel %d", i)
		}
	}
}

// TestNormOfShape splits large shapes without computing: each row is in a chunk, and CUDA's limits are kept.
func TestNormOfShape(t *testing.T) {
	for _, c := range []int{1, 3, 16, 64, 100, 512, 2048, 4096} {
		for _, rows := range []int{2, 64, 1000, 65536, 12845056} {
			if c*rows > 1<<30 {
				continue
			}
			n := newNorm(nil, nowhere{}, normSpec{Batch: true, Channels: c}, rows, 2)
			require.EqualValues(t, threads, n.block[0]*n.block[1])
			require.GreaterOrEqual(t, n.chunks*n.chunkRows, rows/2)
			require.Less(t, (n.chunks-1)*n.chunkRows, rows/2)
			require.Less(t, n.grid[1], uint32(1<<16))
			require.GreaterOrEqual(t, int(n.grid[0]*n.block[0])*lanes, c)
			require.Less(t, n.parts.Len, 4*normBlocks*threads*lanes)
		}
	}
}

// nowhere is memory that is never accessed.
type nowhere struct{}

func (nowhere) floats(n int) Buffer { return Buffer{Len: n} }
func (nowhere) bytes(n int) Buffer  { return Buffer{Len: n} }

// TestMaxPool compares with the maximum of each window, and with the gradient routed to its position.
func TestMaxPool(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			size := rapid.IntRange(1, 11).Draw(rt, "size")
			c := rapid.SampledFrom([]int{1, 3, 4, 16, 17, 36}).Draw(rt, "channels")
			batch := rapid.IntRange(1, 3).Draw(rt, "batch")
			out := (size-1)/2 + 1
			x := s.round(noise(1, batch*size*size*c))
			for i := range x {
				if i%3 == 0 {
					x[i] = 0 // ties: the first one counts
				}
			}
			g1, g2 := s.round(noise(2, batch*out*out*c)), s.round(noise(3, batch*out*out*c))
			two := rapid.Bool().Draw(rt, "two gradients")
			y, dx := make([]float64, len(g1)), make([]float64, len(x))
			for i := range y {
				ch, ox, oy, image := i%c, i/c%out, i/c/out%out, i/c/out/out
				best, at := math.Inf(-1), 0
				for iy := max(0, 2*oy-1); iy < min(size, 2*oy+2); iy++ {
					for ix := max(0, 2*ox-1); ix < min(size, 2*ox+2); ix++ {
						if j := ((image*size+iy)*size+ix)*c + ch; float64(x[j]) > best {
							best, at = float64(x[j]), j
						}
					}
				}
				y[i] = best
				dx[at] += float64(g1[i])
				if two {
					dx[at] += float64(g2[i])
				}
			}
			p := newMaxPool(s, s, size, c, batch, true)
			in, gotY, gotDX, second := s.actsOf(x), s.acts(len(y)), s.acts(len(x)), Buffer{}
			if two {
				second = s.actsOf(g2)
			}
			p.Forward(in, gotY)
			near(rt, y, s.readActs(gotY), 0, "y")
			p.Backward(s.actsOf(g1), second, gotDX)
			near(rt, dx, s.readActs(gotDX), allowed(bf16), "dx")
			inference := s.acts(len(y))
			newMaxPool(s, s, size, c, batch, false).Forward(in, inference)
			require.Equal(rt, s.readActs(gotY), s.readActs(inference))
		})
	})
}

// TestMaxPoolShowsNaN checks that a NaN is not skipped.
func TestMaxPoolShowsNaN(t *testing.T) {
	s := newBench(t, false)
	nan := float32(math.NaN())
	y := s.acts(1)
	newMaxPool(s, s, 2, 1, 1, true).Forward(s.actsOf([]float32{1, nan, 3, 2}), y)
	require.True(t, s.readActs(y)[0] != s.readActs(y)[0])
}

func TestAvgPool(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			pixels := rapid.IntRange(1, 60).Draw(rt, "pixels")
			c := rapid.SampledFrom([]int{1, 3, 8, 17, 132}).Draw(rt, "channels")
			batch := rapid.IntRange(1, 5).Draw(rt, "batch")
			x, dy := s.round(noise(1, batch*pixels*c)), s.round(noise(2, batch*c))
			y, dx := make([]float64, len(dy)), make([]float64, len(x))
			for i, v := range x {
				of := i/c/pixels*c + i%c
				y[of] += float64(v) / float64(pixels)
				dx[i] = float64(dy[of]) / float64(pixels)
			}
			p, gotY, gotDX := newAvgPool(s, pixels, c, batch), s.acts(len(y)), s.acts(len(x))
			p.Forward(s.actsOf(x), gotY)
			near(rt, y, s.readActs(gotY), allowed(bf16), "y")
			p.Backward(s.actsOf(dy), gotDX)
			near(rt, dx, s.readActs(gotDX), allowed(bf16), "dx")
		})
	})
}

// nearShare compares with a tolerance relative to the largest wanted value, plus what float32 loses to cancellation.
func nearShare(t require.TestingT, want, got []float32, share float64, what string) {
	top := 0.0
	for _, v := range want {
		top = max(top, math.Abs(float64(v)))
	}
	nearTo(t, wide(want), got, share*top+1e-6, what)
}

func TestNegCosine(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			batch := 2 * rapid.IntRange(1, 20).Draw(rt, "images")
			dim := rapid.SampledFrom([]int{2, 5, 64, 257, 600}).Draw(rt, "dim")
			p, target := s.round(noise(1, batch*dim)), s.round(noise(2, batch*dim))
			if rapid.Bool().Draw(rt, "a zero row") {
				clear(p[:dim])
			}
			want, got, add := gradient(rt, s, batch, dim)
			weight, out := rapid.SampledFrom([]float32{1, 0.3}).Draw(rt, "weight"), s.floats(1)
			loss := nn.NewNegCosine(batch, dim, pool).Loss(p, target, want, weight)
			l := newNegCosine(s, s, batch, dim)
			l.Loss(s.actsOf(p), s.actsOf(target), got, weight, add, out)
			require.InDelta(rt, loss, s.readFloats(out)[0], 1e-5)
			nearShare(rt, want, s.readActs(got), allowed(bf16), "dp")
		})
	})
}

func TestNTXent(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			images := rapid.IntRange(1, 40).Draw(rt, "images")
			dim := rapid.SampledFrom([]int{8, 33, 64, 128}).Draw(rt, "dim")
			batch, temperature := 2*images, rapid.SampledFrom([]float64{0.1, 0.5, 1}).Draw(rt, "temperature")
			z := views(s, batch, dim)
			want, got, add := gradient(rt, s, batch, dim)
			out := s.floats(1)
			loss := nn.NewNTXent(batch, dim, temperature, pool).Loss(z, want, 0.7)
			newNTXent(s, s, s, batch, dim, temperature).Loss(s.actsOf(z), got, 0.7, add, out)
			require.InDelta(rt, loss, s.readFloats(out)[0], allowed(bf16)*max(1, loss))
			if images > 1 {
				nearShare(rt, want, s.readActs(got), allowed(bf16), "dz")
			}
		})
	})
}

// views returns embeddings of two views, which are similar, as in training.
func views(s bench, batch, dim int) []float32 {
	z := noise(1, batch*dim)
	for i, v := range noise(2, batch*dim/2) {
		z[batch*dim/2+i] = z[i] + 0.5*v
	}
	return s.round(z)
}

// gradient returns a gradient for a loss to add to, on the host and on the device, or one to overwrite.
func gradient(t *rapid.T, s bench, batch, dim int) (host []float32, device Buffer, accumulate bool) {
	host = make([]float32, batch*dim)
	if !rapid.Bool().Draw(t, "accumulate") {
		return host, s.acts(len(host)), false
	}
	for i, v := range noise(3, len(host)) {
		host[i] = v / float32(batch)
	}
	return s.round(host), s.actsOf(host), true
}

// TestInfoNCE takes two steps, the second with the queue that the first has left.
func TestInfoNCE(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			batch := 2 * rapid.IntRange(1, 20).Draw(rt, "images")
			size := rapid.SampledFrom([]int{1, 30, 300}).Draw(rt, "queue")
			dim := rapid.SampledFrom([]int{8, 33, 64}).Draw(rt, "dim")
			temperature := rapid.SampledFrom([]float64{0.1, 0.2, 1}).Draw(rt, "temperature")
			queue := s.round(nn.NewQueue(size, dim, rng.New(1, rng.Queue)))
			memory, device := s.floatsOf(queue), s.bytes(int(unsafe.Sizeof(step{})))
			s.put(device, unsafe.Pointer(&step{Memory: memory.Addr}))
			l := nn.NewInfoNCE(batch, dim, size, temperature, pool)
			onDevice := newInfoNCE(s, s, s, batch, dim, size, temperature)
			z, keys := views(s, batch, dim), s.round(noise(4, batch*dim))
			for range 2 {
				want, got, add := gradient(rt, s, batch, dim)
				out := s.floats(1)
				loss := l.Loss(z, keys, queue, want, 0.7)
				onDevice.Loss(s.actsOf(z), s.actsOf(keys), device, got, 0.7, add, out)
				require.InDelta(rt, loss, s.readFloats(out)[0], allowed(bf16)*max(1, loss))
				nearShare(rt, want, s.readActs(got), allowed(bf16), "dz")
				near(rt, wide(queue), s.readFloats(memory), allowed(bf16), "queue")
				keys = s.round(noise(5, batch*dim))
			}
		})
	})
}

// TestSwapped compares assignments, loss and gradients, for prototypes in the arrays of a network's weights.
func TestSwapped(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	both(t, func(t *testing.T, bf16 bool) {
		rapid.Check(t, func(rt *rapid.T) {
			s := newBench(t, bf16)
			batch := 2 * rapid.IntRange(1, 40).Draw(rt, "images")
			n := rapid.SampledFrom([]int{1, 7, 100, 300}).Draw(rt, "prototypes")
			dim := rapid.SampledFrom([]int{8, 33, 64}).Draw(rt, "dim")
			temperature := rapid.SampledFrom([]float64{0.1, 1}).Draw(rt, "temperature")
			iterations := rapid.IntRange(1, 3).Draw(rt, "iterations")
			const epsilon = 0.5 // a small one enlarges bfloat16's rounding
			z, prototypes := views(s, batch, dim), noise(6, dim*n)
			params, weights, dweights := s.floatsOf(prototypes), s.acts(dim*n), s.acts(dim*n)
			want, got, add := gradient(rt, s, batch, dim)
			dprototypes, out := make([]float32, dim*n), s.floats(1)
			l := nn.NewSwapped(batch, dim, n, temperature, epsilon, iterations, pool)
			loss := l.Loss(z, prototypes, want, dprototypes, 0.7)
			onDevice := newSwapped(s, s, s, batch, dim, n, temperature, epsilon, iterations)
			onDevice.Loss(s.actsOf(z), params, weights, got, dweights, 0.7, add, out)
			require.InDelta(rt, loss, s.readFloats(out)[0], allowed(bf16)*max(1, loss))
			near(rt, wide(prototypes), s.readFloats(params), 1e-5, "params")
			require.Equal(rt, s.round(s.readFloats(params)), s.readActs(weights))
			nearShare(rt, want, s.readActs(got), allowed(bf16), "dz")
			nearShare(rt, dprototypes, s.readActs(dweights), allowed(bf16), "dprototypes")
		})
	})
}

func TestCollapse(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		for _, n := range []int{1, 2, 31, 200} {
			for _, dim := range []int{1, 17, 128} {
				s := newBench(t, bf16)
				z := s.round(noise(1, n*dim))
				out := s.floats(1)
				for range 2 { // healthy, then nearly collapsed
					newCollapse(s, s, n, dim).Std(s.actsOf(z), out)
					require.InDelta(t, nn.NewCollapse(dim).Std(z), s.readFloats(out)[0], 1e-6)
					for i := range z {
						z[i] = 3 + 1e-3*z[i]
					}
					s.round(z)
				}
			}
		}
	})
}

// sub is a sub-net whose weights are in a base and groups, and its flat vector.
type sub struct {
	s               bench
	chunks          []chunk
	tensors         []optim.Tensor
	size            int // of the network's flat vector, with padding
	step            step
	device, at      Buffer // of the step and the chunks
	base, state     Buffer
	groups, gstates []Buffer
	values          []float32 // the flat vector without padding, in the order of the chunks
}

// newSub returns a sub-net of two levels; chunks of a third are in the base.
func newSub(s bench, sizes []int, vectors int) *sub {
	n := &sub{s: s}
	groupSizes := make([]int32, 3)
	for i, size := range sizes {
		adapt := i%2 == 0
		var flags int32
		if adapt {
			flags = chunkProduct | chunkAdapt
		}
		n.tensors = append(n.tensors, optim.Tensor{Size: size, Adapt: adapt})
		for from := 0; from < size; {
			level := int32((i+from/1000)%4 - 1)
			count := min(size-from, chunkLen, 1+from*3/2)
			c := chunk{Offset: int32(n.size + from), Count: int32(count), Tensor: int32(i), Flags: flags, Level: level}
			if level >= 0 {
				c.Pos = groupSizes[level]
				groupSizes[level] += c.Count
			}
			n.chunks = append(n.chunks, c)
			from += int(c.Count)
		}
		n.size += ceil(size, 128) * 128
	}
	zeros := func(k int) Buffer { return s.floatsOf(make([]float32, k)) }
	n.base, n.state = s.floatsOf(noise(1, n.size)), zeros(vectors*n.size)
	n.step = step{Levels: 2, Vectors: int32(vectors), Params: int32(n.size), Base: n.base.Addr, State: n.state.Addr}
	for level := range 2 {
		n.groups = append(n.groups, s.floatsOf(noise(uint64(2+level), int(groupSizes[level]))))
		n.gstates = append(n.gstates, zeros(vectors*int(groupSizes[level])))
		n.step.Group[level], n.step.GroupState[level] = n.groups[level].Addr, n.gstates[level].Addr
		n.step.GroupSize[level] = groupSizes[level]
	}
	n.values = n.read(n.base, n.groups, 0)
	n.at = s.bytes(len(n.chunks) * int(unsafe.Sizeof(chunk{})))
	s.put(n.at, unsafe.Pointer(&n.chunks[0]))
	n.device = s.bytes(int(unsafe.Sizeof(step{})))
	return n
}

// read returns vector k of the sub-net's elements.
func (n *sub) read(base Buffer, groups []Buffer, k int) (values []float32) {
	own := n.s.readFloats(base)[k*n.size:]
	var individual [][]float32
	for level, g := range groups {
		individual = append(individual, n.s.readFloats(g)[k*int(n.step.GroupSize[level]):])
	}
	for _, c := range n.chunks {
		if c.Level < 0 || c.Level >= n.step.Levels {
			values = append(values, own[c.Offset:][:c.Count]...)
		} else {
			values = append(values, individual[c.Level][c.Pos:][:c.Count]...)
		}
	}
	return values
}

// TestTarget updates a target network, a state vector, by EMA of the weights and gathers it.
func TestTarget(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		s := newBench(t, bf16)
		n := newSub(s, []int{700, 5000, 3}, 2)
		n.step.Momentum = 0.75
		s.put(n.device, unsafe.Pointer(&n.step))
		var want []float32
		for range 2 {
			want = make([]float32, len(n.values))
			for i, v := range n.read(n.state, n.gstates, 1) {
				want[i] = 0.75*v + 0.25*n.values[i]
			}
			follow(s, n.at, len(n.chunks), n.device, 1, n.device)
			require.InDeltaSlice(t, want, n.read(n.state, n.gstates, 1), 1e-6)
		}
		require.Equal(t, n.values, n.read(n.base, n.groups, 0), "the weights are unchanged")
		params := s.floats(n.size)
		gather(s, n.at, len(n.chunks), n.device, 1, params, Buffer{})
		got := s.readFloats(params)
		at := 0
		for _, c := range n.chunks {
			require.InDeltaSlice(t, want[at:][:c.Count], got[c.Offset:][:c.Count], 1e-6)
			at += int(c.Count)
		}
	})
}

// TestTeacher updates the weights of a net that has not split by EMA of those of a sub-net.
func TestTeacher(t *testing.T) {
	both(t, func(t *testing.T, bf16 bool) {
		s := newBench(t, bf16)
		n := newSub(s, []int{700, 5000, 3}, 0)
		s.put(n.device, unsafe.Pointer(&n.step))
		weights := s.floatsOf(noise(9, n.size))
		teacher := step{Params: int32(n.size), Base: weights.Addr}
		device := s.bytes(int(unsafe.Sizeof(step{})))
		for _, momentum := range []float32{0.75, 1} {
			teacher.Momentum = momentum
			s.put(device, unsafe.Pointer(&teacher))
			want, at := s.readFloats(weights), 0
			for _, c := range n.chunks {
				for i, w := range n.values[at:][:c.Count] {
					to := &want[int(c.Offset)+i]
					*to = momentum**to + (1-momentum)*w
				}
				at += int(c.Count)
			}
			follow(s, n.at, len(n.chunks), device, weightVector, n.device)
			require.InDeltaSlice(t, want, s.readFloats(weights), 1e-6)
			require.Equal(t, n.values, n.read(n.base, n.groups, 0), "the sub-net's are unchanged")
		}
	})
}

// TestAverage averages the gradients of shared elements over windows of steps, and checks that a step that defers leaves
// them and their state alone. One of two levels has split, and the last sub-net is the root.
func TestAverage(t *testing.T) {
	sizes := []int{5, 9000, 130, 4097}
	tensors := newSub(newBench(t, false), sizes, 1).tensors
	for name, o := range map[string]optim.Optimizer{
		"sgd":   optim.SGD{Momentum: 0.9, WeightDecay: 0.01},
		"lars":  optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 0.05}, 0.2, tensors),
		"adamw": optim.AdamW{Beta1: 0.85, Beta2: 0.98, Epsilon: 1e-3, WeightDecay: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, bf16 bool) {
				s := newBench(t, bf16)
				n := newSub(s, sizes, o.Vectors())
				n.step.Split = 1
				shared := make([]bool, len(n.values))
				at := 0
				for _, c := range n.chunks {
					for i := range c.Count {
						shared[at+int(i)] = c.Level != 0
					}
					at += int(c.Count)
				}
				u := newOptimizer(s, s, o, n.at, n.chunks, len(n.tensors))
				params, sums := s.floats(n.size), s.floats(n.size)
				sum := make([]float32, len(n.values))
				for i, c := range []struct {
					levels, steps, more int32
				}{{1, 1, 1}, {1, 2, 1}, {0, 3, 0}, {1, 1, 0}, {0, 1, 1}, {1, 2, 0}} {
					n.step.Levels, n.step.Steps, n.step.Defer = c.levels, c.steps, c.more
					u.fill(&n.step, 0.1, 0.1, i+1)
					s.put(n.device, unsafe.Pointer(&n.step))
					gather(s, n.at, len(n.chunks), n.device, weightVector, params, Buffer{})
					grads, dweights := s.readFloats(s.floats(n.size)), s.readFloats(s.floats(n.size))
					var g []float32
					for j, c := range n.chunks {
						own := s.round(noise(uint64(100*i+j), int(c.Count)))
						if c.Flags&chunkProduct != 0 {
							copy(dweights[c.Offset:], own)
						} else {
							copy(grads[c.Offset:], own)
						}
						g = append(g, own...)
					}
					want := n.read(n.base, n.groups, 0)
					var state []float32
					for k := range o.Vectors() {
						state = append(state, n.read(n.state, n.gstates, k)...)
					}
					old, oldState := slices.Clone(want), slices.Clone(state)
					onGPU, onGPUWeights := s.floatsOf(grads), s.actsOf(dweights)
					average(s, n.at, len(n.chunks), n.device, onGPU, onGPUWeights, sums)
					u.update(params, onGPU, onGPUWeights, n.device)
					for e := range sum {
						sum[e] += g[e]
						if shared[e] && c.more == 0 {
							g[e] = sum[e] / float32(c.steps)
						}
					}
					o.Update(want, g, state, 0.1, i+1)
					for e := range shared {
						if shared[e] && c.more == 1 {
							want[e] = old[e]
							for k := range o.Vectors() {
								state[k*len(old)+e] = oldState[k*len(old)+e]
							}
						}
					}
					if c.more == 0 {
						clear(sum)
					}
					tolerance := 1e-5
					if bf16 {
						tolerance = 1e-2 // the average is rounded
					}
					near(t, wide(want), n.read(n.base, n.groups, 0), tolerance, "weights")
					for k := range o.Vectors() {
						near(t, wide(state[k*len(want):][:len(want)]), n.read(n.state, n.gstates, k), tolerance, "state")
					}
				}
			})
		})
	}
}

// TestOptimizers compares steps, in which groups have a rate of their own, with package optim's, gathering the weights
// before each.
func TestOptimizers(t *testing.T) {
	sizes := []int{5, 1, 9000, 130, 128, 64, 4097}
	tensors := newSub(newBench(t, false), sizes, 1).tensors
	for name, o := range map[string]optim.Optimizer{
		"sgd":           optim.SGD{Momentum: 0.9, WeightDecay: 0.01},
		"nesterov":      optim.SGD{Momentum: 0.8, WeightDecay: 0.02, Nesterov: true},
		"lars":          optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 0.05}, 0.2, tensors),
		"lars nesterov": optim.NewLARS(optim.SGD{Momentum: 0.7, WeightDecay: 0.01, Nesterov: true}, 0.1, tensors),
		"adamw":         optim.AdamW{Beta1: 0.85, Beta2: 0.98, Epsilon: 1e-3, WeightDecay: 0.1},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, bf16 bool) {
				s := newBench(t, bf16)
				n := newSub(s, sizes, o.Vectors())
				untouched := s.readFloats(n.base)
				want, state := n.values, make([]float32, o.Vectors()*len(n.values))
				u := newOptimizer(s, s, o, n.at, n.chunks, len(n.tensors))
				params, weights := s.floats(n.size), s.acts(n.size)
				for i := 1; i <= 3; i++ {
					lr := 0.1 / float32(i)
					u.fill(&n.step, lr, 3*lr, i)
					s.put(n.device, unsafe.Pointer(&n.step))
					gather(s, n.at, len(n.chunks), n.device, weightVector, params, Buffer{})
					gather(s, n.at, len(n.chunks), n.device, weightVector, params, weights)
					p, w, at := s.readFloats(params), s.readActs(weights), 0
					// Gradients that no chunk should read stay NaN.
					grads, dweights := s.readFloats(s.floats(n.size)), s.readFloats(s.floats(n.size))
					var g []float32
					for j, c := range n.chunks {
						require.Equal(t, n.read(n.base, n.groups, 0)[at:][:c.Count], p[c.Offset:][:c.Count])
						rounded := s.round(append([]float32(nil), p[c.Offset:][:c.Count]...))
						require.Equal(t, rounded, w[c.Offset:][:c.Count])
						at += int(c.Count)
						own := noise(uint64(100*i+j), int(c.Count))
						if c.Tensor == 4 {
							clear(own) // LARS has no ratio for it
						}
						if c.Flags&chunkProduct != 0 {
							copy(dweights[c.Offset:], s.round(own))
						} else {
							copy(grads[c.Offset:], own)
						}
						g = append(g, own...)
					}
					u.update(params, s.floatsOf(grads), s.actsOf(dweights), n.device)
					fast := slices.Clone(want)
					o.Update(fast, g, slices.Clone(state), 3*lr, i)
					o.Update(want, g, state, lr, i)
					at = 0
					for _, c := range n.chunks {
						if c.Level >= 0 && c.Level < n.step.Levels {
							copy(want[at:][:c.Count], fast[at:])
						}
						at += int(c.Count)
					}
					near(t, wide(want), n.read(n.base, n.groups, 0), 1e-5, "weights")
					for k := range o.Vectors() {
						near(t, wide(state[k*len(want):][:len(want)]), n.read(n.state, n.gstates, k), 1e-5, "state")
					}
				}
				// Elements that are not the sub-net's are unchanged.
				after := s.readFloats(n.base)
				for _, c := range n.chunks {
					if c.Level < 0 || c.Level >= n.step.Levels {
						copy(untouched[c.Offset:][:c.Count], after[c.Offset:])
					}
				}
				require.Equal(t, untouched, after)
			})
		})
	}
}

// other is an optimizer without kernels.
type other struct{ optim.SGD }

func TestOptimizerSaysWhatItCannot(t *testing.T) {
	making := func(o optim.Optimizer, chunks ...chunk) func() {
		return func() { newOptimizer(nil, nowhere{}, o, Buffer{}, chunks, 3) }
	}
	require.PanicsWithValue(t, "cuda: newOptimizer: no kernels for cuda.other; "+
		"use optim.SGD, *optim.LARS or optim.AdamW", making(other{}))
	require.PanicsWithValue(t, "cuda: newOptimizer: chunk 1 has 4 elements of tensor 1, after one of tensor 2 of 3; "+
		"sort chunks by tensor, with at most 1024 elements each",
		making(optim.SGD{}, chunk{Count: 3, Tensor: 2}, chunk{Count: 4, Tensor: 1}))
	require.Panics(t, making(optim.SGD{}, chunk{Count: 3, Tensor: 3}))
	require.Panics(t, making(optim.SGD{}, chunk{Count: chunkLen + 1}))
}

// TestShimFindsMistakes checks that the shim catches a kernel that writes out of bounds.
func TestShimFindsMistakes(t *testing.T) {
	s := newShim(t, ssl.FP32)
	require.PanicsWithValue(t, "kernel convert wrote byte 40 of an array of 40", func() {
		s.launch("convert", dim1(1), dim1(threads), s.floatsOf(make([]float32, 11)), s.floats(10), uint64(11))
	})
	require.Panics(t, func() { s.launch("nothing", dim1(1), dim1(1), 1) })
}
