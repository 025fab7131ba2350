//go:build !amd64

package vecs

// isas maps the instruction sets' names in package kernels to their loops.
var isas = map[string]*isa{"portable": portable}
