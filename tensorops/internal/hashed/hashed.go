// Package hashed has the inputs that tests share with the scripts of their golden values.
package hashed

// Values returns n numbers in [-1, 1) for a key. It is the function hashed of nn/testdata/make_golden.py.
func Values(key string, n int) []float64 {
	h := uint32(2166136261)
	for _, c := range []byte(key) {
		h = (h ^ uint32(c)) * 16777619
	}
	s := make([]float64, n)
	for i := range s {
		x := uint32(i)*0x9E3779B1 + h
		x = (x ^ x>>16) * 0x85EBCA6B
		x = (x ^ x>>13) * 0xC2B2AE35
		x ^= x >> 16
		s[i] = float64(x>>8)/(1<<23) - 1
	}
	return s
}
