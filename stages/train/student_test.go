package train

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/augment"
)

// Each half of a batch uses the operations that the recipe lists for its view.
func TestFirstAndSecondViews(t *testing.T) {
	st := newLastPhase(t, "input.crop=32", "views={first: [], second: [horizontal_flip: {p: 1}]}").student
	n := len(st.indices)
	st.prepare(0, newStream(1, 1, []int32{3, 1, 4, 15, 9, 2, 6}))
	views := st.Views()
	pixels := len(views) / (2 * n)
	want := make([]float32, pixels)
	for i, index := range st.indices {
		m := augment.Image{Pix: append([]uint8{}, st.images.At(int(index))...), Height: 32, Width: 32}
		augment.Normalize(want, m.Pix, [3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2470, 0.2435, 0.2616})
		require.Equal(t, want, views[i*pixels:][:pixels])
		augment.HorizontalFlip{}.Apply(&m, true)
		augment.Normalize(want, m.Pix, [3]float32{0.4914, 0.4822, 0.4465}, [3]float32{0.2470, 0.2435, 0.2616})
		require.Equal(t, want, views[(n+i)*pixels:][:pixels])
	}
}
