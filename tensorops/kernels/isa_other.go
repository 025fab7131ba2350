//go:build !amd64

package kernels

// supported lists the instruction sets that this CPU supports, the best one last.
func supported() []*isa { return []*isa{portable} }
