package kernels

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewFloats returns n zeros, like make. For long slices it asks the operating system for huge pages, so that loops over
// many megabytes have fewer TLB misses. It ignores a refusal, which only costs time.
func NewFloats(n int) []float32 {
	const page = 2 << 20 // bytes
	if n*f32 < page {
		return make([]float32, n)
	}
	s := make([]float32, n+page/f32)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))%page) / f32
	s = s[skip : skip+n : skip+n]
	_ = unix.Madvise(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), n*f32/page*page), unix.MADV_HUGEPAGE)
	return s
}
