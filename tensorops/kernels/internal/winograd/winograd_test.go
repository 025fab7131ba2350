package winograd

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// apply returns P X Pᵀ.
func apply(p, x Matrix) Matrix { return multiply(multiply(p, x), p.Transpose()) }

func multiply(a, b Matrix) Matrix {
	c := make(Matrix, len(a))
	for i := range c {
		c[i] = make([]float64, len(b[0]))
		for j := range c[i] {
			for k := range b {
				c[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return c
}

func random(r *rand.Rand, n int) Matrix {
	m := make(Matrix, n)
	for i := range m {
		m[i] = make([]float64, n)
		for j := range m[i] {
			m[i][j] = r.NormFloat64()
		}
	}
	return m
}

func product(a, b Matrix) Matrix {
	c := make(Matrix, len(a))
	for i := range a {
		for j := range a[i] {
			c[i] = append(c[i], a[i][j]*b[i][j])
		}
	}
	return c
}

func TestAlgorithmsConvolve(t *testing.T) {
	for _, a := range Algorithms {
		t.Run(fmt.Sprint(a.M), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			x, w, dy := random(r, a.M+2), random(r, 3), random(r, a.M)
			y := apply(a.AT, product(apply(a.G, w), apply(a.BT, x)))
			dw := apply(a.G.Transpose(), product(apply(a.BT, x), apply(a.AT.Transpose(), dy)))
			wantDw := Matrix{make([]float64, 3), make([]float64, 3), make([]float64, 3)}
			for i := range a.M {
				for j := range a.M {
					want := 0.0
					for kh := range 3 {
						for kw := range 3 {
							want += x[i+kh][j+kw] * w[kh][kw]
							wantDw[kh][kw] += x[i+kh][j+kw] * dy[i][j]
						}
					}
					require.InDelta(t, want, y[i][j], 1e-12)
				}
			}
			for kh := range 3 {
				require.InDeltaSlice(t, wantDw[kh], dw[kh], 1e-12)
			}
		})
	}
}
