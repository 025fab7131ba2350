//go:build !amd64

package resample

const simd = false

func avx2Row(to, row []uint8, spans []span, weights []int32) {}

func avx2Column(to, rows []uint8, weights []int32, stride, groups int) {}
