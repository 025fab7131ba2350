package safetensors_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/safetensors"
)

// golden returns the content of the file that testdata/make_golden.py wrote with the reference library.
func golden() ([]safetensors.Tensor, map[string]string) {
	return []safetensors.Tensor{
		{Name: "layer.weight", Shape: []int{2, 3}, F32: []float32{-.5, -.25, 0, .25, .5, .75}},
		{Name: "layer.bias", Shape: []int{3}, F32: []float32{1e-40, float32(math.Inf(1)), float32(math.Copysign(0, -1))}},
		{Name: "steps", Shape: []int{}, I64: []int64{-1234567890123}},
		{Name: "half", Shape: []int{6}, F32: []float32{1.5, -2, 0x1p-24, 65504, float32(math.Inf(-1)), 0x1.ff8p-15}},
		{Name: "brain", Shape: []int{3}, F32: []float32{1.5, -3, 0x1.94p+99}},
		{Name: "empty", Shape: []int{0, 4}, F32: []float32{}},
		{Name: `schräg "quoted"`, Shape: []int{1}, F32: []float32{7}},
	}, map[string]string{"format": "pt", "note": `a "b" ü`}
}

func TestReadReferenceFile(t *testing.T) {
	data, err := os.ReadFile("testdata/golden.safetensors")
	require.NoError(t, err)
	f, err := safetensors.Read(bytes.NewReader(data))
	require.NoError(t, err)
	tensors, metadata := golden()
	require.Equal(t, metadata, f.Metadata)
	require.ElementsMatch(t, tensors, f.Tensors)
	_, err = f.Tensor("layer.0.weight")
	require.ErrorContains(t, err, `no tensor "layer.0.weight"`)
}

// TestWriteForPython writes the golden tensors to the file SDR_SAFETENSORS_OUT, for make_golden.py --check, or to
// memory if it is unset.
func TestWriteForPython(t *testing.T) {
	tensors, metadata := golden()
	var buf bytes.Buffer
	require.NoError(t, safetensors.Write(&buf, tensors, metadata))
	headerLen := binary.LittleEndian.Uint64(buf.Bytes())
	require.Zero(t, headerLen%8, "tensor data must be aligned")
	if path := os.Getenv("SDR_SAFETENSORS_OUT"); path != "" {
		require.NoError(t, os.WriteFile(path, buf.Bytes(), 0o644))
	}
	f, err := safetensors.Read(&buf)
	require.NoError(t, err)
	require.Equal(t, "steps", f.Tensors[0].Name, "I64 comes first")
	require.ElementsMatch(t, tensors, f.Tensors)
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfNDistinct(rapid.String(), 0, 5, rapid.ID[string]).Draw(t, "names")
		var tensors []safetensors.Tensor
		for _, name := range names {
			shape := rapid.SliceOfN(rapid.IntRange(0, 4), 0, 4).Draw(t, "shape")
			n := 1
			for _, d := range shape {
				n *= d
			}
			tensor := safetensors.Tensor{Name: name, Shape: append([]int{}, shape...)}
			if rapid.Bool().Draw(t, "integers") {
				tensor.I64 = append([]int64{}, rapid.SliceOfN(rapid.Int64(), n, n).Draw(t, "data")...)
			} else {
				tensor.F32 = append([]float32{}, rapid.SliceOfN(rapid.Float32(), n, n).Draw(t, "data")...)
			}
			tensors = append(tensors, tensor)
		}
		metadata := rapid.MapOf(rapid.String(), rapid.String()).Draw(t, "metadata")
		var a, b bytes.Buffer
		require.NoError(t, safetensors.Write(&a, tensors, metadata))
		require.NoError(t, safetensors.Write(&b, tensors, metadata))
		require.Equal(t, a.Bytes(), b.Bytes(), "same input, same bytes")
		cut := rapid.IntRange(0, a.Len()-1).Draw(t, "cut")
		_, err := safetensors.Read(bytes.NewReader(a.Bytes()[:cut]))
		require.Error(t, err, "a file cut at byte %d", cut)
		f, err := safetensors.Read(&a)
		require.NoError(t, err)
		require.ElementsMatch(t, tensors, f.Tensors)
		require.Equal(t, len(metadata), len(f.Metadata))
	})
}

// TestDamage checks that whatever bit changes in a file that Write wrote, Read says so, unless it is in the name of the
// checksum and so leaves the tensors.
func TestDamage(t *testing.T) {
	tensors, metadata := golden()
	var buf bytes.Buffer
	require.NoError(t, safetensors.Write(&buf, tensors, metadata))
	for i := range 8 * buf.Len() {
		data := bytes.Clone(buf.Bytes())
		data[i/8] ^= 1 << (i % 8)
		if f, err := safetensors.Read(bytes.NewReader(data)); err == nil {
			require.ElementsMatch(t, tensors, f.Tensors)
			require.Len(t, f.Metadata, len(metadata)+1, "bit %d", i)
		}
	}
	data := bytes.Clone(buf.Bytes())
	data[len(data)-1] ^= 1
	_, err := safetensors.Read(bytes.NewReader(data))
	require.ErrorContains(t, err, "the file is damaged: its checksum is")
}

// file assembles a file from its parts.
func file(header, data string) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header+data...)
}

var broken = []struct {
	name string
	file []byte
	want string
}{
	{"empty", nil, "empty or truncated"},
	{"no header", file("", ""), "does not start with '{'"},
	{"not safetensors", []byte("some text of several words"), "is this a safetensors file?"},
	{"torch.save", []byte("PK\x03\x04\x00\x00\x08\x08 archive/data.pkl"), "save its state_dict with safetensors.torch.save_file"},
	{"old torch.save", []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P"), "save its state_dict with safetensors.torch.save_file"},
	{"huge header", binary.LittleEndian.AppendUint64(nil, 1<<40), "the limit is 100000000"},
	{"cut header", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "")[:30], "truncated: 22 of 54 header bytes"},
	{"cut data", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "abcd"), "truncated: 4 of 8 data bytes"},
	{"long", file(`{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}`, "abcde"), "continues after the 4 data bytes"},
	{"syntax", file(`{"a":{"dtype":"F32"`, ""), "unexpected EOF"},
	{"after object", file(`{} {}`, ""), "3 bytes follow the JSON object"},
	{"twice", file(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}`, ""), `"a" occurs twice`},
	{"dtype", file(`{"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}}`, "a"), `tensor "a" has dtype "F8_E4M3"`},
	{"shape", file(`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, "abcd"), "invalid shape [-1]"},
	{"shape overflow", file(`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`, ""), "invalid shape"},
	{"size", file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "abcd"), "needs 8 bytes, data_offsets [0 4] has 4"},
	{"negative offset", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}`, ""), "overlap"},
	{"overlap", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "abcd"), `tensor "b": data at [0 4] overlap`},
	{"gap", file(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "abcdefgh"), "leave a gap"},
	{"metadata", file(`{"__metadata__":{"a":1}}`, ""), "__metadata__"},
}

func TestReadRejects(t *testing.T) {
	for _, c := range broken {
		t.Run(c.name, func(t *testing.T) {
			_, err := safetensors.Read(bytes.NewReader(c.file))
			require.ErrorContains(t, err, c.want)
			_, metadata := safetensors.Metadata(c.file)
			require.Equal(t, err, metadata)
		})
	}
}

func TestWriteRejects(t *testing.T) {
	for want, tensors := range map[string][]safetensors.Tensor{
		"two tensors":              {{Name: "a", Shape: []int{0}}, {Name: "a", Shape: []int{0}}},
		"does not have 1 elements": {{Name: "a", Shape: []int{2}, F32: []float32{1}}},
		"reserves":                 {{Name: "__metadata__", Shape: []int{0}}},
		"both F32 and I64":         {{Name: "a", F32: []float32{1}, I64: []int64{}}},
	} {
		require.ErrorContains(t, safetensors.Write(&bytes.Buffer{}, tensors, nil), want)
	}
	one := []safetensors.Tensor{{Name: "a", F32: []float32{1}}}
	require.ErrorContains(t, safetensors.Write(full{}, one, nil), "disk full")
}

// full is a writer that fails.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("disk full") }

// FuzzRead checks that any input gives an error or a file that survives a round trip, and never a panic.
func FuzzRead(f *testing.F) {
	for _, c := range broken {
		f.Add(c.file)
	}
	data, err := os.ReadFile("testdata/golden.safetensors")
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := safetensors.Read(bytes.NewReader(data))
		metadata, other := safetensors.Metadata(data)
		if err != nil {
			require.True(t, other == nil || err.Error() == other.Error(), "only Read compares the checksum")
			return
		}
		require.NoError(t, other)
		require.Equal(t, file.Metadata, metadata)
		var first, second bytes.Buffer
		require.NoError(t, safetensors.Write(&first, file.Tensors, file.Metadata))
		again, err := safetensors.Read(bytes.NewReader(first.Bytes()))
		require.NoError(t, err)
		require.NoError(t, safetensors.Write(&second, again.Tensors, again.Metadata))
		require.Equal(t, first.Bytes(), second.Bytes())
	})
}
