//go:build !amd64

package vecs

// isas lists the instruction sets by their names in package kernels.
var isas = map[string]*isa{"portable": portable}
