package bench

import (
	"bytes"
	"image/jpeg"
	"path/filepath"
	"testing"

	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Synthetic images are the same every time, differ from each other, and compress to about as many bytes as photos.
func TestMadeUp(t *testing.T) {
	first, err := (&pictures{}).encode("jpeg")(t.Context())
	require.NoError(t, err)
	again, err := (&pictures{}).encode("jpeg")(t.Context())
	require.NoError(t, err)
	require.Len(t, first, smallCount)
	require.Equal(t, first, again)
	require.NotEqual(t, first[0], first[1])
	m := mustDecode(first[0])
	require.Equal(t, []int{smallSize, smallSize}, []int{m.Width, m.Height})

	large, err := photo(t.Context())
	require.NoError(t, err)
	config, err := jpeg.DecodeConfig(bytes.NewReader(large[0]))
	require.NoError(t, err)
	require.Equal(t, []int{photoWidth, photoHeight}, []int{config.Width, config.Height})
	require.Greater(t, len(large[0]), 50_000)
	require.Less(t, len(large[0]), 800_000)
}

// PNG keeps every pixel.
func TestEncode(t *testing.T) {
	m := scene(rng.New(3), 20, 9)
	data, err := encode(m, "png")
	require.NoError(t, err)
	require.Equal(t, m, mustDecode(data))
}

func TestCollection(t *testing.T) {
	p := &pictures{path: filepath.Join("..", "..", "testdata", "pool")}
	files, err := p.encode("png")(t.Context())
	require.NoError(t, err)
	require.InDelta(t, smallCount, len(files), 32) // the last split of each file may be shorter
	for _, data := range files {
		m := mustDecode(data)
		require.Equal(t, []int{smallSize, smallSize}, []int{m.Width, m.Height})
	}
	_, err = (&pictures{path: filepath.Join(t.TempDir(), "none")}).encode("png")(t.Context())
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "does not exist")
}

// A batch holds two views of each of the next images, for any number of threads.
func TestViewer(t *testing.T) {
	var files [][]byte
	for i := range 5 {
		data, err := encode(scene(rng.New(7, uint64(i)), 24, 18), "png")
		require.NoError(t, err)
		files = append(files, data)
	}
	one, two := kernels.NewPool(1), kernels.NewPool(2)
	defer one.Close()
	defer two.Close()
	// c draws for a device that makes views.
	sources := ssl.Sources{Images: make([]uint8, 3*24*18*3), Steps: make([]augment.Step, 2*3*20)}
	image := func(i int) imageio.RGB { return mustDecode(files[i%len(files)]) }
	views := func() *taker { return &taker{views: make([]float32, 2*3*8*8*3)} }
	a, b := newViewer(3, 8, image, views(), one), newViewer(3, 8, image, views(), two)
	c := newViewer(3, 8, image, &taker{sources: &sources}, two)
	worker, random, want := newWorker(8), rng.NewGenerator(), make([]float32, 8*8*3)
	for _, images := range [][]int{{0, 1, 2}, {3, 4, 0}} {
		seen := a.seen
		a.load()
		b.load()
		c.load()
		require.Equal(t, a.batch, b.batch)
		for at := range 6 {
			m := mustDecode(files[images[at%3]])
			random.Seek(1, rng.View, uint64(seen), uint64(at))
			worker.View(want, m.Pix, m.Height, m.Width, random)
			require.Equal(t, want, a.batch[at*len(want):][:len(want)])
			random.Seek(1, rng.View, uint64(seen), uint64(at))
			steps := worker.Plan(nil, m.Height, m.Width, random)
			require.Equal(t, steps, sources.Steps[at*20:][:len(steps)])
			require.Zero(t, sources.Steps[at*20+len(steps)])
			require.Equal(t, m.Pix, sources.Images[at%3*len(m.Pix):][:len(m.Pix)])
		}
	}
}

// taker takes views, or what a device makes them from.
type taker struct {
	views   []float32
	sources *ssl.Sources
}

func (t *taker) Views() []float32 { return t.views }

func (t *taker) Sources() (s ssl.Sources, ok bool) {
	if t.sources == nil {
		return s, false
	}
	return *t.sources, true
}
