package kernels

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// NewFloats returns n zeros, as make does. Under the whole huge pages of a long slice it asks the system for such pages,
// so that passes over many megabytes miss fewer address translations; a refusal costs time only.
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
