package kernels

import "github.com/klauspost/cpuid/v2"

// supported lists the instruction sets that this CPU supports, the best one last.
func supported() []*isa {
	all := []*isa{portable}
	if cpuid.CPU.Supports(cpuid.AVX2, cpuid.FMA3) {
		all = append(all, avx2)
	}
	if cpuid.CPU.Supports(cpuid.AVX512F, cpuid.AVX512VL, cpuid.BMI2) {
		all = append(all, avx512)
		if cpuid.CPU.Supports(cpuid.AVX512BF16) {
			all = append(all, bf16)
		}
	}
	return all
}
