//go:build !linux

package kernels

// NewFloats returns n zeros.
func NewFloats(n int) []float32 { return make([]float32, n) }
