package nn

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestArenaKeepsLivingValuesApart checks that values that are live at the same time never share memory.
func TestArenaKeepsLivingValuesApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := arena[[]float32]{planning: true}
		for range rapid.IntRange(1, 12).Draw(t, "values") {
			a.value(rapid.IntRange(1, 100).Draw(t, "size"))
		}
		unused := a.value(7)
		value := rapid.SampledFrom(a.values[:len(a.values)-1])
		for range rapid.IntRange(1, 20).Draw(t, "operations") {
			require.False(t, a.touch(value.Draw(t, "first"), nil, value.Draw(t, "second")))
		}
		kept := value.Draw(t, "kept")
		a.touch(kept)
		a.keep(kept)
		a.place(&cpu{})
		require.Nil(t, unused.data)
		for i, v := range a.values {
			if v.first < 0 {
				continue
			}
			require.Len(t, v.data, v.size)
			for j := range v.data {
				v.data[j] = float32(i)
			}
			for _, w := range a.values {
				if v == w || w.first < 0 || w.first > v.last || w.last < v.first {
					continue
				}
				for j := range w.data {
					w.data[j] = -1
				}
			}
			for j := range v.data {
				require.Equal(t, float32(i), v.data[j])
			}
		}
		a.planning = false
		require.True(t, a.touch(kept))
	})
}

// TestStepReusesMemory checks that gradients need hardly any memory besides that of the activations.
func TestStepReusesMemory(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	n := New(Backbone{"resnet18", "small", 8}, simSiamHeads, 32, 8, 2, pool, Train)
	kept := 0
	for _, s := range n.graph.steps {
		if u, ok := s.(*unit[[]float32]); ok {
			kept += u.u.size
			if u.y.recomputed == nil {
				kept += u.y.size
			}
		}
	}
	require.Less(t, n.graph.arena.size, kept+kept/10)

	forward := New(Backbone{"resnet18", "small", 8}, simSiamHeads, 32, 8, 2, pool, Inference)
	require.Less(t, forward.graph.arena.size, 9*forward.graph.steps[0].(*unit[[]float32]).u.size/2, "the stages' outputs are kept")
}

// TestArenaSize compares the size with the memory that a network allocates.
func TestArenaSize(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, b := range []Backbone{{"resnet18", "small", 4}, {"resnet50", "imagenet", 2}, {"mobilenet_v2", "small", 2}} {
		for _, mode := range []Mode{Train, Inference} {
			n := New(b, simSiamHeads, 32, 8, 2, pool, mode)
			require.Equal(t, n.graph.arena.size, ArenaSize(b, simSiamHeads, 32, 8, 2, mode))
		}
	}
}
