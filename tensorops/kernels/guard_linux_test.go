package kernels

import (
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns n floats next to a page that faults when touched: after them, or before them if front is set.
func guarded(t testing.TB, n int, front bool) []float32 {
	page := unix.Getpagesize()
	size := (n*f32 + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	guard, start := mem[size:], size-n*f32
	if front {
		guard, start = mem[:page], page
	}
	require.NoError(t, unix.Mprotect(guard, unix.PROT_NONE))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&mem[start])), n)
}

// TestNothingOutsideTheSlicesIsTouched puts inputs, outputs and the pool's scratch next to unmapped pages.
func TestNothingOutsideTheSlicesIsTouched(t *testing.T) {
	shapes := append([]Conv{
		{N: 2, H: 5, W: 13, Cin: 3, Cout: 1, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 3, H: 7, W: 24, Cin: 7, Cout: 17, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 1, H: 1, W: 9, Cin: 63, Cout: 47, KH: 1, KW: 1, Stride: 1},
		{N: 14, H: 2, W: 2, Cin: 33, Cout: 15, KH: 3, KW: 3, Stride: 2, Pad: 1},
		{N: 2, H: 9, W: 9, Cin: 5, Cout: 9, KH: 7, KW: 7, Stride: 2, Pad: 3},
		{N: 2, H: 7, W: 5, Cin: 8, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 30, H: 4, W: 4, Cin: 24, Cout: 40, KH: 3, KW: 3, Stride: 1, Pad: 1},
		{N: 2, H: 7, W: 20, Cin: 53, Cout: 53, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
		{N: 2, H: 9, W: 9, Cin: 9, Cout: 9, KH: 5, KW: 5, Stride: 2, Pad: 2, Depthwise: true},
	}, mixedShapes...)
	forEachISA(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 5))
		for _, front := range []bool{false, true} {
			floats := func(n int) []float32 {
				s := guarded(t, n, front)
				copy(s, randomFloats(r, n))
				return s
			}
			guardScratch := func(p *Pool) {
				p.shared = floats(len(p.shared))
				p.workers[0].scratch = floats(len(p.workers[0].scratch))
			}
			for _, c := range shapes {
				p := newPool(t, 1)
				nx, nw, ny := sizes(c)
				x, w, y := floats(nx), floats(nw), floats(ny)
				for what, operands := range [3][3][]float32{{x, w, y}, {y, w, x}, {x, y, w}} {
					for _, a := range algorithms(c, pass(what), BF16) {
						prepared := a.prepare(c, pass(what), p)
						guardScratch(p)
						prepared.compute(operands[0], operands[1], operands[2])
					}
				}
			}
			for _, s := range [][3]int{{1, 1, 1}, {23, 63, 30}, {100, 200, 64}} {
				m, n, k := s[0], s[1], s[2]
				p := newPool(t, 1)
				a, b, c := floats(m*k), floats(k*n), floats(m*n)
				for range 2 { // the first call allocates the scratch
					p.Gemm(false, false, m, n, k, a, k, b, n, c, n, true)
					p.Gemm(true, true, m, n, k, a, m, b, k, c, n, false)
					guardScratch(p)
				}
			}
		}
	})
}
