package inference_test

import (
	"bytes"
	"io"
	"io/fs"
	"math/rand/v2"
	"path/filepath"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

var input = inference.Input{Size: 9, Mean: [3]float32{.5, .4, .3}, Std: [3]float32{.2, .25, .3}}

// newModel makes a random model with nontrivial BatchNorm statistics.
func newModel(arch, stem string, width int, heads nn.Heads) *inference.Model {
	m := &inference.Model{Model: nn.Model{Backbone: nn.Backbone{Arch: arch, Stem: stem, Width: width}, Heads: heads}, Input: input}
	l := nn.NewLayout(m.Backbone, heads)
	m.Params, m.Stats = make([]float32, l.NumParams), make([]float32, l.NumStats)
	r := rand.New(rand.NewPCG(7, 7))
	l.Init(m.Params, r)
	l.InitStats(m.Stats)
	for i := range m.Stats {
		m.Stats[i] += .4*r.Float32() - .2
	}
	return m
}

func save(t *testing.T, path string, m *inference.Model, meta map[string]string) {
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, m.Backbone, m.Heads, m.Params, m.Stats, meta)
	}))
}

func metadata(in inference.Input) map[string]string {
	key, value := in.Metadata()
	return map[string]string{key: value}
}

// newImages makes random images.
func newImages(n int) func(i int) []uint8 {
	r := rand.New(rand.NewPCG(3, 3))
	size := input.Size * input.Size * 3
	pixels := make([]uint8, n*size)
	for i := range pixels {
		pixels[i] = uint8(r.Uint32())
	}
	return func(i int) []uint8 { return pixels[i*size : (i+1)*size] }
}

// TestEmbed compares with plain forward passes of the whole net with its heads, one image at a time. The number of
// images is not a multiple of the batch size.
func TestEmbed(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	heads := nn.Heads{ProjectorHidden: 8, ProjectorDim: 4, ProjectorLayers: 2}
	const n = inference.Batch + 3
	at := newImages(n)
	for _, arch := range []string{"resnet18", "resnet50"} {
		for _, stem := range []string{"small", "imagenet"} {
			path := filepath.Join(t.TempDir(), "m.safetensors")
			m := newModel(arch, stem, 3, heads)
			save(t, path, m, metadata(input))
			loaded, err := inference.Load(t.Context(), path)
			require.NoError(t, err)
			require.Equal(t, input, loaded.Input)

			e := inference.NewEmbedder(loaded, pool)
			dim := e.Dim()
			require.Equal(t, m.Backbone.FeatureDim(), dim)
			got := e.Embed(n, at).Data().([]float32)
			require.Len(t, got, n*dim)
			net := nn.New(m.Backbone, heads, input.Size, 1, 1, pool, nn.Inference)
			net.Params, net.Stats = m.Params, m.Stats
			image := make([]float32, input.Size*input.Size*3)
			for _, i := range []int{0, 1, inference.Batch - 1, inference.Batch, n - 1} {
				augment.Normalize(image, at(i), input.Mean, input.Std)
				net.Forward(image, nn.RunningStats)
				// Another batch size may select other algorithms, which round differently.
				require.InDeltaSlice(t, net.Features, got[i*dim:(i+1)*dim], 1e-4, "%s, %s, image %d", arch, stem, i)
			}
			require.NotEqual(t, got[:dim], got[dim:2*dim])
		}
	}
}

// TestIndependent embeds images among others, after others, alone, and with fewer or more threads: the bits are always
// the same.
func TestIndependent(t *testing.T) {
	one, three := kernels.NewPool(1), kernels.NewPool(3)
	defer one.Close()
	defer three.Close()
	at := newImages(300)
	for _, width := range []int{3, 16, 20} {
		m := newModel("resnet18", "small", width, nn.Heads{})
		want := inference.NewEmbedder(m, one).Embed(300, at).Data().([]float32)
		dim := m.Backbone.FeatureDim()
		e := inference.NewEmbedder(m, three)
		for _, n := range []int{300, 7, 1, 257} {
			from := 300 - n
			require.Equal(t, want[from*dim:], e.Embed(n, func(i int) []uint8 { return at(from + i) }).Data(), "width %d, the last %d", width, n)
			backwards := e.Embed(n, func(i int) []uint8 { return at(n - 1 - i) }).Data().([]float32)
			for i := range n {
				require.Equal(t, want[i*dim:(i+1)*dim], backwards[(n-1-i)*dim:(n-i)*dim])
			}
		}
	}
}

// TestLargeImages checks that features are the same when a forward pass has fewer images than there are.
func TestLargeImages(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	m := newModel("resnet18", "imagenet", 3, nn.Heads{})
	m.Input.Size = 512 // 4 images per pass
	r := rand.New(rand.NewPCG(1, 2))
	images := make([][]uint8, 5)
	for i := range images {
		images[i] = bytes.Repeat([]byte{uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32())}, 512*512)
	}
	e := inference.NewEmbedder(m, pool)
	got := e.Embed(5, func(i int) []uint8 { return images[i] }).Data().([]float32)
	for i := range images {
		require.Equal(t, e.Embed(1, func(int) []uint8 { return images[i] }).Data(), got[i*e.Dim():(i+1)*e.Dim()])
	}
}

func TestLoad(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "memfs://" + t.Name()} {
		path := files.Join(dir, "m.safetensors")
		_, err := inference.Load(t.Context(), path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, path)

		m := newModel("resnet18", "small", 3, nn.Heads{})
		meta := metadata(input)
		meta["note"] = "x"
		save(t, path, m, meta)
		got, err := inference.Load(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, m.Params, got.Params)
		require.Equal(t, m.Stats, got.Stats)
		require.Equal(t, "x", got.Meta["note"])
	}
}

func TestLoadErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := newModel("resnet18", "small", 3, nn.Heads{})
	change := func(f func(*inference.Input)) map[string]string {
		in := input
		f(&in)
		return metadata(in)
	}
	for _, c := range []struct {
		meta map[string]string
		want string
	}{
		{nil, `its metadata "input", the size and normalization of images, is ""`},
		{map[string]string{"input": "32"}, `the size and normalization of images, is "32"`},
		{map[string]string{"input": "{}"}, "size is 0 px; want 1 to 8192"},
		{change(func(in *inference.Input) { in.Size = 1 << 30 }), "size is 1073741824 px"},
		{change(func(in *inference.Input) { in.Std[1] = 0 }), "std is [0.2 0 0.3]; want numbers above 0"},
	} {
		save(t, path, m, c.meta)
		_, err := inference.Load(t.Context(), path)
		require.ErrorContains(t, err, "model "+path+": ")
		require.ErrorContains(t, err, c.want)
	}
	require.NoError(t, files.WriteBytes(t.Context(), path, []byte("not a model")))
	_, err := inference.Load(t.Context(), path)
	require.ErrorContains(t, err, "model "+path+": ")
}

func BenchmarkEmbed(b *testing.B) {
	pool := kernels.NewPool(0)
	defer pool.Close()
	m := newModel("resnet18", "small", 16, nn.Heads{})
	m.Input.Size = 32
	e := inference.NewEmbedder(m, pool)
	image := make([]uint8, 32*32*3)
	for b.Loop() {
		e.Embed(inference.Batch, func(int) []uint8 { return image })
	}
	b.ReportMetric(float64(inference.Batch*b.N)/b.Elapsed().Seconds(), "images/s")
}
