package learn

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
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
