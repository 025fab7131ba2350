// Package safetensors reads and writes the safetensors file format, to exchange models with Python:
//
//	8 bytes   header length N, little-endian
//	N bytes   JSON {"name": {"dtype", "shape", "data_offsets": [begin, end]}, …,
//	          "__metadata__": {"key": "value", …}}, padded with spaces
//	rest      tensor data, little-endian, row-major, without gaps
//
// See https://github.com/huggingface/safetensors#format. The format has no checksum, so Write adds one of the whole file
// to the metadata, which Read compares if it is there.
package safetensors

import (
	"bytes"
	"fmt"
	"math"
)

// Tensor is a named array. Exactly one of F32 and I64 is set, or neither if there are no elements. Read converts half
// precision to F32.
type Tensor struct {
	Name  string
	Shape []int // empty for a scalar
	F32   []float32
	I64   []int64
}

// File is the content of a safetensors file.
type File struct {
	Tensors  []Tensor // in the order of their data
	Metadata map[string]string
}

// Tensor returns the tensor with the given name, or an error with that name.
func (f *File) Tensor(name string) (*Tensor, error) {
	for i := range f.Tensors {
		if f.Tensors[i].Name == name {
			return &f.Tensors[i], nil
		}
	}
	return nil, fmt.Errorf("safetensors: no tensor %q in the file; is it a model of another architecture?", name)
}

const (
	metadataKey  = "__metadata__"
	sumKey       = "sdr.xxh3" // in the metadata
	noSum        = "0000000000000000"
	maxHeaderLen = 100_000_000 // the reference implementation's limit
)

// withSum returns the header with another sum in the place of one.
func withSum(header []byte, old, sum string) []byte {
	member := func(sum string) []byte { return fmt.Appendf(nil, "%q:%q", sumKey, sum) }
	return bytes.Replace(header, member(old), member(sum), 1)
}

// width returns the size of an element in the file, in bytes; 0 for an unsupported dtype.
func width(dtype string) int {
	switch dtype {
	case "I64":
		return 8
	case "F32":
		return 4
	case "F16", "BF16":
		return 2
	}
	return 0
}

// elements returns the number of elements of a shape, and whether the shape is valid and the number fits an int.
func elements(shape []int) (int, bool) {
	n := 1
	for _, d := range shape {
		if d < 0 || d > 0 && n > math.MaxInt/8/d {
			return 0, false
		}
		n *= d
	}
	return n, true
}
