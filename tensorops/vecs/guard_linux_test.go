package vecs

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guarded returns a copy of src next to a page that faults when touched: after it, or before it if front is set.
func guarded(t testing.TB, src []float32, front bool) []float32 {
	page := unix.Getpagesize()
	size := (4*len(src) + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, unix.Munmap(mem)) })
	guard, start := mem[size:], size-4*len(src)
	if front {
		guard, start = mem[:page], page
	}
	require.NoError(t, unix.Mprotect(guard, unix.PROT_NONE))
	if len(src) == 0 {
		return []float32{}
	}
	s := unsafe.Slice((*float32)(unsafe.Pointer(&mem[start])), len(src))
	copy(s, src)
	return s
}

// TestNothingOutsideTheSlicesIsTouched puts every operand next to an unmapped page.
func TestNothingOutsideTheSlicesIsTouched(t *testing.T) {
	forEachISA(t, func(t *testing.T) {
		for _, front := range []bool{false, true} {
			for _, size := range awkward {
				c := newCase(size.rows, size.tile, size.extra)
				c.each(func(s *[]float32) { *s = guarded(t, *s, front) })
				for _, op := range operations {
					op.run(c)
				}
			}
		}
	})
}
