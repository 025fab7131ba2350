package resample

import "github.com/sdr-ml/sdr/tensorops/kernels"

//go:generate go run ./gen -out avx2_amd64.s -stubs avx2_amd64.go -pkg resample

// simd reports whether to use the loops of avx2_amd64.s.
var simd = kernels.ISA() != "portable"
