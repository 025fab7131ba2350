package safetensors

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/zeebo/xxh3"
)

// Write writes the tensors, I64 first (so that every tensor is aligned to its element size), otherwise in the given
// order, and the metadata sorted by key. The same input gives the same bytes.
func Write(w io.Writer, tensors []Tensor, metadata map[string]string) error {
	tensors = slices.Clone(tensors)
	slices.SortStableFunc(tensors, func(a, b Tensor) int { return width(b.dtype()) - width(a.dtype()) })
	if metadata = maps.Clone(metadata); metadata == nil {
		metadata = map[string]string{}
	}
	metadata[sumKey] = noSum
	header, err := encodeHeader(tensors, metadata)
	if err != nil {
		return err
	}
	sum := xxh3.New()
	if err := write(sum, header, tensors); err != nil {
		return err
	}
	return write(w, withSum(header, noSum, fmt.Sprintf("%016x", sum.Sum64())), tensors)
}

// write writes a file with a header.
func write(w io.Writer, header []byte, tensors []Tensor) error {
	out := bufio.NewWriterSize(w, 1<<16)
	var word [8]byte
	binary.LittleEndian.PutUint64(word[:], uint64(len(header)))
	out.Write(word[:])
	out.Write(header)
	var encoded []byte
	for _, t := range tensors {
		for chunk := range slices.Chunk(t.I64, 1<<12) {
			encoded, _ = binary.Append(encoded[:0], binary.LittleEndian, chunk) // numbers of a fixed size never fail
			out.Write(encoded)
		}
		for chunk := range slices.Chunk(t.F32, 1<<12) {
			encoded, _ = binary.Append(encoded[:0], binary.LittleEndian, chunk)
			out.Write(encoded)
		}
	}
	if err := out.Flush(); err != nil { // a bufio.Writer keeps its first error
		return fmt.Errorf("safetensors: write: %w", err)
	}
	return nil
}

func (t *Tensor) dtype() string {
	if t.I64 != nil {
		return "I64"
	}
	return "F32"
}

// entry is a tensor's value in the header.
type entry struct {
	Dtype   string `json:"dtype"`
	Shape   []int  `json:"shape"`
	Offsets [2]int `json:"data_offsets"`
}

func encodeHeader(tensors []Tensor, metadata map[string]string) ([]byte, error) {
	var header bytes.Buffer
	field := func(name string, value any) error {
		if header.Len() > 1 {
			header.WriteByte(',')
		}
		key, err := json.Marshal(name)
		if err != nil {
			return err
		}
		val, err := json.Marshal(value)
		if err != nil {
			return err
		}
		header.Write(key)
		header.WriteByte(':')
		header.Write(val)
		return nil
	}
	header.WriteByte('{')
	if err := field(metadataKey, metadata); err != nil {
		return nil, fmt.Errorf("safetensors: write metadata: %w", err)
	}
	seen := make(map[string]bool, len(tensors))
	end := 0
	for _, t := range tensors {
		n, ok := elements(t.Shape)
		switch {
		case t.Name == metadataKey:
			return nil, fmt.Errorf("safetensors: write: a tensor is named %q, which the format reserves; rename it", metadataKey)
		case seen[t.Name]:
			return nil, fmt.Errorf("safetensors: write: two tensors are named %q; give each its own name", t.Name)
		case t.F32 != nil && t.I64 != nil:
			return nil, fmt.Errorf("safetensors: write %q: both F32 and I64 are set; set one", t.Name)
		case !ok || n != len(t.F32)+len(t.I64):
			return nil, fmt.Errorf("safetensors: write %q: shape %v does not have %d elements", t.Name, t.Shape, len(t.F32)+len(t.I64))
		}
		seen[t.Name] = true
		begin := end
		end += n * width(t.dtype())
		shape := append([]int{}, t.Shape...) // [] for a scalar, never null
		if err := field(t.Name, entry{Dtype: t.dtype(), Shape: shape, Offsets: [2]int{begin, end}}); err != nil {
			return nil, fmt.Errorf("safetensors: write %q: %w", t.Name, err)
		}
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	return header.Bytes(), nil
}
