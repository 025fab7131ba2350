// Package cuda is the NVIDIA driver of the tensor engine: it trains the networks of package nn on a GPU, without cgo.
// Importing it for its side effect makes the device "cuda" available to package ssl.
package cuda
