package kernels

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every product comes once, with the worker and in the order that Products promises, for any number of threads.
func TestProducts(t *testing.T) {
	for _, set := range supported() {
		for _, threads := range []int{1, 3} {
			for _, s := range [][3]int{{1, 1, 1}, {5, 3, 7}, {130, 16, 33}, {300, 130, 64}, {50, 2100, 20}, {70, 40, 1100}, {0, 4, 4}} {
				m, n, k := s[0], s[1], s[2]
				t.Run(fmt.Sprint(set.name, "/", threads, "/", s), func(t *testing.T) {
					p := NewPool(threads)
					defer p.Close()
					p.isa = set
					lda, ldb := k+3, k+1
					a, b := sequence(m*lda, 1), sequence(n*ldb, 2)
					var packed Packed
					p.Pack(&packed, 1, 1, b, 1) // whose memory is reused
					p.Pack(&packed, n, k, b, ldb)
					got := make([]float32, m*n)
					next, worker := make([]int, m), make([]int, m)
					p.Products(m, a, lda, &packed, func(w int, c Block) {
						for i := range c.Rows {
							row := c.Row + i
							if next[row] == 0 {
								worker[row] = w
							}
							if next[row] != c.Col || worker[row] != w {
								panic("out of order")
							}
							next[row] += c.Cols
							copy(got[row*n+c.Col:], c.Values[i*c.Stride:][:c.Cols])
						}
					})
					for i := range m {
						require.Equal(t, n, next[i])
						for j := range n {
							sum := 0.0
							for l := range k {
								sum += float64(a[i*lda+l]) * float64(b[j*ldb+l])
							}
							require.InDelta(t, sum, got[i*n+j], 1e-5*(1+math.Abs(sum))*math.Sqrt(float64(k)))
						}
					}
				})
			}
		}
	}
	p := NewPool(1)
	defer p.Close()
	require.Panics(t, func() { p.Pack(&Packed{}, 0, 3, nil, 3) })
	require.Panics(t, func() { p.Pack(&Packed{}, 2, 3, make([]float32, 5), 3) })
	var packed Packed
	p.Pack(&packed, 2, 3, make([]float32, 6), 3)
	require.Panics(t, func() { p.Products(2, make([]float32, 5), 3, &packed, func(int, Block) {}) })
}

// sequence returns n numbers between -1 and 1.
func sequence(n int, seed uint32) []float32 {
	s := make([]float32, n)
	for i := range s {
		seed = seed*1664525 + 1013904223
		s[i] = float32(int32(seed)) / (1 << 31)
	}
	return s
}
