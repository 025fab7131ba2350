package learn

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Each half of a batch uses the operations that the recipe lists for its view.
func TestFirstAndSecondViews(t *testing.T) {
	r, err := recipe.Load("smoke", []string{"train.batch=16", "input.crop=32", "views={first: [], second: [horizontal_flip: {p: 1}]}"})
	require.NoError(t, err)
	images := Images{32, func(i int) []uint8 {
		pixels := make([]uint8, 32*32*3)
		for j := range pixels {
			pixels[j] = uint8(i*j + j/7)
		}
		return pixels
	}}
	pool := kernels.NewPool(2)
	defer pool.Close()
	st, err := NewStudent(ssl.Device{}, Config(r, nn.NewLayout(r.Backbone, r.Heads())), r, images, pool)
	require.NoError(t, err)
	n := len(st.indices)
	st.Prepare(0, NewStream(1, 1, []int32{3, 1, 4, 15, 9, 2, 6}))
	views := st.Views()
	pixels := len(views) / (2 * n)
	want := make([]float32, pixels)
	for i, index := range st.indices {
		m := augment.Image{Pix: images.At(int(index)), Height: 32, Width: 32}
		augment.Normalize(want, m.Pix, [3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2470, 0.2435, 0.2616})
		require.Equal(t, want, views[i*pixels:][:pixels])
		augment.HorizontalFlip{}.Apply(&m, true)
		augment.Normalize(want, m.Pix, [3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2470, 0.2435, 0.2616})
		require.Equal(t, want, views[(n+i)*pixels:][:pixels])
	}
}

// Every epoch of a stream is a different permutation, and what follows depends only on how many images were taken.
func TestStream(t *testing.T) {
	rows := []int32{3, 1, 4, 15, 9, 2, 6}
	s := NewStream(1, 2, rows)
	var taken []int32
	for range 3 * len(rows) {
		taken = append(taken, s.Next())
	}
	for epoch := range slices.Chunk(taken, len(rows)) {
		require.ElementsMatch(t, rows, epoch)
	}
	require.NotEqual(t, taken[:len(rows)], taken[len(rows):2*len(rows)])
	for at := range taken {
		resumed := NewStream(1, 2, rows)
		resumed.Taken = int64(at)
		require.Equal(t, taken[at], resumed.Next())
	}
}

// maker fakes a device that makes views: it keeps what they are made from.
type maker struct {
	ssl.Learner
	pool    *kernels.Pool
	views   *ssl.Views // nil if it was not asked to
	sources ssl.Sources
}

func (m *maker) Sources() (ssl.Sources, bool) { return m.sources, m.views != nil }

func (*maker) Check(ssl.Device) error           { return nil }
func (*maker) Examine(ssl.Device) []ssl.Finding { return nil }

func (*maker) OpenVectors(ssl.Device) kernels.Vectors { return nil }

func (m *maker) Open(_ ssl.Device, c ssl.Config) (ssl.Learner, error) {
	if m.views = c.Views; m.views != nil {
		pixels := c.Batch * m.views.Size * m.views.Size * 3
		m.sources = ssl.Sources{Images: make([]uint8, pixels), Steps: make([]augment.Step, 2*c.Batch*m.views.Steps)}
		for i := range m.sources.Steps {
			m.sources.Steps[i].Kind = augment.StepFlip // of an earlier step
		}
	}
	var err error
	m.Learner, err = ssl.Open(ssl.Device{}, c, m.pool)
	return m, err
}

func (*maker) OpenExtractor(ssl.Device, nn.Backbone, nn.Heads, int, int) (ssl.Extractor, error) {
	panic("not for features")
}

// cpuOnly is an operation that devices do not know.
type cpuOnly struct{ augment.Operation }

// A device that makes views gets the images and what the CPU would draw for their views; with an operation that it does not
// know, it gets views.
func TestDeviceMakesViews(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	m := &maker{pool: pool}
	ssl.RegisterDriver(ssl.CUDA, m)
	r, err := recipe.Load("smoke", []string{"train.batch=5", "input.size=32", "input.crop=20", "views.second.gaussian_blur.p=1"})
	require.NoError(t, err)
	pixels := make([]uint8, 7*32*32*3)
	for i := range pixels {
		pixels[i] = uint8(i % 251)
	}
	images := Images{32, func(i int) []uint8 { return pixels[i*32*32*3:][:32*32*3] }}
	open := func() *Student {
		st, err := NewStudent(ssl.Device{Name: ssl.CUDA}, Config(r, nn.NewLayout(r.Backbone, r.Heads())), r, images, pool)
		require.NoError(t, err)
		return st
	}
	st := open()
	require.Equal(t, &ssl.Views{Size: 32, Mean: r.Input.Mean, Std: r.Input.Std, Steps: augment.MaxSteps * len(r.Views.First)}, m.views)
	st.Prepare(3, NewStream(1, 1, []int32{3, 1, 4, 0, 6, 2, 5}))
	random := rng.NewGenerator()
	for i := range 2 * 5 {
		require.Equal(t, images.At(int(st.indices[i%5])), m.sources.Images[i%5*32*32*3:][:32*32*3])
		operations := r.Views.First
		if i >= 5 {
			operations = r.Views.Second
		}
		random.Seek(r.Seed, rng.View, 3, uint64(i))
		want := augment.NewWorker(operations, 20, r.Input.Mean, r.Input.Std).Plan(nil, 32, 32, random)
		steps := m.sources.Steps[i*m.views.Steps:][:m.views.Steps]
		require.Equal(t, want, steps[:len(want)])
		for _, s := range steps[len(want):] {
			require.Zero(t, s)
		}
	}

	r.Views.Second = append(slices.Clone(r.Views.Second), cpuOnly{augment.Grayscale{}})
	var log bytes.Buffer
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	open()
	st = open()
	require.Nil(t, m.views)
	require.Equal(t, 1, strings.Count(log.String(), `msg="the views are made on the CPU" why="augment: only the CPU can apply grayscale"`), log.String())
	st.Prepare(3, NewStream(1, 1, []int32{3, 1, 4, 0, 6, 2, 5}))
	require.Len(t, st.views, 2*5*20*20*3)
}
