package safetensors

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/zeebo/xxh3"
)

// Read reads a whole file. It accepts the dtypes F32, I64, F16 and BF16 (the last two become F32) and returns an error
// for anything that the format forbids: a header that is too long or not an object, duplicate names, shapes that do not
// match their data, gaps, overlaps, truncated or overlong files, and files that do not match their checksum.
func Read(r io.Reader) (*File, error) {
	c, err := readContent(r)
	if err != nil {
		return nil, err
	}
	if err := c.checkSum(); err != nil {
		return nil, err
	}
	f := &File{Metadata: c.metadata, Tensors: make([]Tensor, len(c.entries))}
	for i, e := range c.entries {
		f.Tensors[i] = e.decode(c.data[e.Offsets[0]:e.Offsets[1]])
	}
	return f, nil
}

// Metadata returns a whole file's metadata and checks its header and length, without reading the tensors.
func Metadata(data []byte) (map[string]string, error) {
	r := bytes.NewReader(data)
	c, err := readEntries(r)
	if err == nil {
		err = checkLength(r.Len(), c.end())
	}
	delete(c.metadata, sumKey)
	return c.metadata, err
}

// content is a file before its tensors are decoded.
type content struct {
	header   []byte
	entries  []named // in the order of their data
	metadata map[string]string
	data     []byte
}

// end returns the length of the data that the entries describe.
func (c *content) end() int {
	if len(c.entries) == 0 {
		return 0
	}
	return c.entries[len(c.entries)-1].Offsets[1]
}

func readContent(r io.Reader) (c content, err error) {
	if c, err = readEntries(r); err != nil {
		return c, err
	}
	if c.data, err = io.ReadAll(io.LimitReader(r, int64(c.end())+1)); err != nil {
		return c, fmt.Errorf("safetensors: read tensor data: %w", err)
	}
	return c, checkLength(len(c.data), c.end())
}

// checkSum compares a file with its checksum, if it has one, which it removes from the metadata. The checksum is that of the
// file with noSum in its place.
func (c *content) checkSum() error {
	want, ok := c.metadata[sumKey]
	if !ok {
		return nil
	}
	delete(c.metadata, sumKey)
	sum := xxh3.New()
	_ = write(sum, withSum(c.header, want, noSum), nil) // a hash never fails
	_, _ = sum.Write(c.data)
	if got := fmt.Sprintf("%016x", sum.Sum64()); got != want {
		return fmt.Errorf("safetensors: the file is damaged: its checksum is %s, and its metadata has %s; copy it again, "+
			"or remove %s from the metadata if another program has changed it on purpose", got, want, sumKey)
	}
	return nil
}

// readEntries reads the header: what it says of the tensors, and the metadata.
func readEntries(r io.Reader) (c content, err error) {
	if c.header, err = readHeader(r); err != nil {
		return content{}, err
	}
	if c.entries, c.metadata, err = decodeHeader(c.header); err != nil {
		return content{}, err
	}
	slices.SortStableFunc(c.entries, func(a, b named) int {
		if a.Offsets[0] != b.Offsets[0] {
			return a.Offsets[0] - b.Offsets[0]
		}
		return a.Offsets[1] - b.Offsets[1] // empty tensors first
	})
	end := 0
	for _, e := range c.entries {
		if err := e.check(end); err != nil {
			return content{}, err
		}
		end = e.Offsets[1]
	}
	return c, nil
}

func checkLength(got, want int) error {
	if got < want {
		return fmt.Errorf("safetensors: the file is truncated: %d of %d data bytes; copy it again", got, want)
	}
	if got > want {
		return fmt.Errorf("safetensors: the file continues after the %d data bytes that its header describes", want)
	}
	return nil
}

func readHeader(r io.Reader) ([]byte, error) {
	var word [8]byte
	if _, err := io.ReadFull(r, word[:]); err != nil {
		return nil, fmt.Errorf("safetensors: read header length: %w; the file is empty or truncated", err)
	}
	n := binary.LittleEndian.Uint64(word[:])
	if bytes.HasPrefix(word[:], []byte("PK\x03\x04")) || word[0] == 0x80 && n > maxHeaderLen { // a zip archive, or a pickle
		return nil, errors.New("safetensors: the file is one of torch.save, by its beginning; load it in PyTorch and save its state_dict with safetensors.torch.save_file")
	}
	if n > maxHeaderLen {
		return nil, fmt.Errorf("safetensors: header of %d bytes, the limit is %d; is this a safetensors file?", n, maxHeaderLen)
	}
	header, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err != nil {
		return nil, fmt.Errorf("safetensors: read header: %w", err)
	}
	if uint64(len(header)) < n {
		return nil, fmt.Errorf("safetensors: the file is truncated: %d of %d header bytes; copy it again", len(header), n)
	}
	if n == 0 || header[0] != '{' {
		return nil, errors.New("safetensors: the header does not start with '{'; is this a safetensors file?")
	}
	return header, nil
}

// named is a header entry with its name.
type named struct {
	entry
	name string
}

// decodeHeader reads the object token by token: decoding it into a map would hide duplicate names.
func decodeHeader(header []byte) (entries []named, metadata map[string]string, err error) {
	fail := func(err error) ([]named, map[string]string, error) {
		return nil, nil, fmt.Errorf("safetensors: header: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(header))
	if _, err := dec.Token(); err != nil {
		return fail(err)
	}
	seen := map[string]bool{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return fail(err)
		}
		name := key.(string)
		if seen[name] {
			return fail(fmt.Errorf("%q occurs twice", name))
		}
		seen[name] = true
		if name == metadataKey {
			if err := dec.Decode(&metadata); err != nil {
				return fail(fmt.Errorf("%q: %w", name, err))
			}
			continue
		}
		e := named{name: name}
		if err := dec.Decode(&e.entry); err != nil {
			return fail(fmt.Errorf("tensor %q: %w", name, err))
		}
		entries = append(entries, e)
	}
	if _, err := dec.Token(); err != nil {
		return fail(err)
	}
	if rest := bytes.TrimRight(header[dec.InputOffset():], " "); len(rest) > 0 {
		return fail(fmt.Errorf("%d bytes follow the JSON object", len(rest)))
	}
	return entries, metadata, nil
}

// check validates an entry whose data must start at byte begin.
func (e named) check(begin int) error {
	w := width(e.Dtype)
	if w == 0 {
		return fmt.Errorf("safetensors: tensor %q has dtype %q; convert it to F32, F16, BF16 or I64", e.name, e.Dtype)
	}
	n, ok := elements(e.Shape)
	if !ok {
		return fmt.Errorf("safetensors: tensor %q: invalid shape %v", e.name, e.Shape)
	}
	switch {
	case e.Offsets[0] < begin:
		return fmt.Errorf("safetensors: tensor %q: data at %v overlap the preceding tensor, which ends at %d", e.name, e.Offsets, begin)
	case e.Offsets[0] > begin:
		return fmt.Errorf("safetensors: tensor %q: data at %v leave a gap after byte %d", e.name, e.Offsets, begin)
	case e.Offsets[1]-begin != n*w:
		return fmt.Errorf("safetensors: tensor %q: %s %v needs %d bytes, data_offsets %v has %d",
			e.name, e.Dtype, e.Shape, n*w, e.Offsets, e.Offsets[1]-begin)
	}
	return nil
}

func (e named) decode(data []byte) Tensor {
	t := Tensor{Name: e.name, Shape: e.Shape}
	n := len(data) / width(e.Dtype)
	if e.Dtype == "I64" {
		t.I64 = make([]int64, n)
		for i := range t.I64 {
			t.I64[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
		return t
	}
	t.F32 = make([]float32, n)
	for i := range t.F32 {
		switch e.Dtype {
		case "F32":
			t.F32[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
		case "BF16":
			t.F32[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(data[2*i:])) << 16)
		case "F16":
			t.F32[i] = widen(binary.LittleEndian.Uint16(data[2*i:]))
		}
	}
	return t
}

// widen converts an IEEE 754 half to float32 exactly, subnormals included (Arrow's float16 package flushes those).
func widen(h uint16) float32 {
	sign, rest := uint32(h&0x8000)<<16, uint32(h&0x7fff)<<13
	if h&0x7c00 == 0x7c00 { // infinity or NaN
		return math.Float32frombits(sign | 0x7f800000 | rest)
	}
	const rebias = 0x1p112 // exponent bias 127 instead of 15
	return math.Float32frombits(sign | math.Float32bits(math.Float32frombits(rest)*rebias))
}
