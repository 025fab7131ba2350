package nn

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/internal/hashed"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestNorm compares BatchNorm, residual sum and ReLU with the plain formulas in double precision, for one and several
// chunks, whole and partial tiles, and data far from zero.
func TestNorm(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	rapid.Check(t, func(t *rapid.T) {
		c := rapid.SampledFrom([]int{1, 3, 8, 24, 64, 100}).Draw(t, "channels")
		views := rapid.IntRange(1, 3).Draw(t, "views")
		rows := rapid.IntRange(2, 5*normChunk/2/c).Draw(t, "rows of a view")
		activation := rapid.SampledFrom([]Activation{Identity, ReLU, ReLU6}).Draw(t, "activation")
		residual, two := rapid.Bool().Draw(t, "residual"), rapid.Bool().Draw(t, "two gradients")
		offset := rapid.SampledFrom([]float64{0, 50}).Draw(t, "mean")

		size := views * rows * c
		x, res, g1, g2 := make([]float32, size), hashed32("r", size), hashed32("g1", size), hashed32("g2", size)
		for i, v := range hashed.Values("x", size) {
			x[i] = float32(offset + v)
		}
		params, stats, grads := hashed32("p", 2*c), make([]float32, 2*c), make([]float32, 2*c)
		for i := range params {
			params[i] *= 8 // to reach ReLU6's limit
		}
		spec := Normalization{Batch: true,
			Scale: Span{0, c}, Shift: Span{c, 2 * c}, RunningMean: Span{0, c}, RunningVar: Span{c, 2 * c}}
		n := newNorm(spec, activation, c, views*rows, views, pool)
		y, masked, dx := make([]float32, size), make([]float32, size), make([]float32, size)
		if !residual {
			res = nil
		}
		n.forward(x, res, y, params, stats, UpdateStats)
		if !two {
			g2 = nil
		}
		n.backward(g1, g2, x, y, masked, dx, params, grads)

		want := struct{ y, masked, dx, grads, stats []float32 }{
			make([]float32, size), make([]float32, size), make([]float32, size), make([]float32, 2*c), make([]float32, 2*c),
		}
		for v := range views {
			for ch := range c {
				at := func(row int) int { return (v*rows+row)*c + ch }
				var mean, vari float64
				for r := range rows {
					mean += float64(x[at(r)]) / float64(rows)
				}
				for r := range rows {
					d := float64(x[at(r)]) - mean
					vari += d * d / float64(rows)
				}
				want.stats[ch] += bnMomentum * (float32(mean) - want.stats[ch])
				want.stats[c+ch] += bnMomentum * (float32(vari*float64(rows)/float64(rows-1)) - want.stats[c+ch])
				std := math.Sqrt(vari + bnEpsilon)
				scale, shift := float64(params[ch]), float64(params[c+ch])
				var sum, dot float64
				for r := range rows {
					xhat := (float64(x[at(r)]) - mean) / std
					out, g := scale*xhat+shift, float64(g1[at(r)])
					if residual {
						out += float64(res[at(r)])
					}
					switch activation {
					case ReLU:
						out = max(0, out)
					case ReLU6:
						out = min(max(0, out), 6)
					}
					if two {
						g += float64(g2[at(r)])
					}
					if kept := y[at(r)]; activation != Identity && kept == 0 || activation == ReLU6 && kept == 6 {
						g = 0 // rounding decides on which side of the kink
					}
					want.y[at(r)], want.masked[at(r)] = float32(out), float32(g)
					sum += g
					dot += g * xhat
				}
				for r := range rows {
					xhat := (float64(x[at(r)]) - mean) / std
					g := float64(want.masked[at(r)])
					want.dx[at(r)] = float32(scale / std * (g - sum/float64(rows) - xhat*dot/float64(rows)))
				}
				want.grads[ch] += float32(dot)
				want.grads[c+ch] += float32(sum)
			}
		}
		tolerance := 2e-5 * (1 + offset)
		requireClose(t, "y", want.y, y, tolerance)
		if activation != Identity || two {
			requireClose(t, "masked", want.masked, masked, 1e-6)
		}
		requireClose(t, "statistics", want.stats, stats, 1e-5)
		requireNear(t, "dx", want.dx, dx, want.masked, tolerance)
		requireNear(t, "parameters' gradients", want.grads, grads, want.masked, tolerance)
	})
}

// requireNear checks that the difference of two vectors is small relative to the norm of a third: the size of the terms
// that cancel in them.
func requireNear(t require.TestingT, what string, want, got, scale []float32, tolerance float64) {
	var diff, norm float64
	for i, w := range want {
		d := float64(got[i]) - float64(w)
		diff += d * d
	}
	for _, s := range scale {
		norm += float64(s) * float64(s)
	}
	require.LessOrEqual(t, math.Sqrt(diff), 10*tolerance*math.Sqrt(norm)+1e-6, what)
}
