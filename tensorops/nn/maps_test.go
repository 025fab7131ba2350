package nn

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// The maps are those before the pooling of a network of New, for any first stage, with and without a backward pass.
func TestMaps(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	b := Backbone{"resnet18", "small", 3}
	images := hashed32("images", 2*24*24*3)
	whole := New(b, Heads{}, 24, 2, 1, pool, Inference)
	initialise(whole.Layout, whole.Params)
	whole.Forward(images, RunningStats)
	var first []Map
	for _, mode := range []Mode{Inference, Train} {
		for from := 4; from >= 1; from-- {
			n := NewMaps(b, from, 24, 2, pool, mode)
			n.Params = whole.Params
			n.Forward(images, RunningStats)
			require.Len(t, n.Maps, 5-from)
			for i, m := range n.Maps {
				stage := from + i
				require.Equal(t, [2]int{24 >> (stage - 1), 3 << (stage - 1)}, [2]int{m.Side, m.Channels})
				require.Len(t, m.Values, 2*m.Side*m.Side*m.Channels)
			}
			if mode == Inference {
				first = n.Maps // the finest last
				last := n.Maps[len(n.Maps)-1]
				for i, want := range whole.Features {
					sum, pixels := 0., last.Side*last.Side
					for p := range pixels {
						sum += float64(last.Values[(i/last.Channels*pixels+p)*last.Channels+i%last.Channels])
					}
					require.InDelta(t, want, sum/float64(pixels), 1e-5)
				}
			} else {
				for i := range n.Maps {
					require.InDeltaSlice(t, first[from-1+i].Values, n.Maps[i].Values, 1e-5)
				}
			}
		}
	}
}

// The gradients from several maps at once are derivatives, also where a stage's output has two readers inside the
// backbone.
func TestMapsGradients(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	for _, arch := range []string{"resnet18", "resnet50"} {
		n := NewMaps(Backbone{arch, "small", 2}, 2, 16, 4, pool, Train)
		initialise(n.Layout, n.Params)
		calm(n.Layout, n.Params)
		images := hashed32("images", 4*16*16*3)
		value := func() (sum float64) {
			n.Forward(images, RunningStats)
			for i, m := range n.Maps {
				for j, w := range hashed32(fmt.Sprint("map", i), len(m.Values)) {
					sum += float64(w) * float64(m.Values[j])
				}
			}
			return sum
		}
		value()
		var grads [][]float32
		for i, m := range n.Maps {
			grads = append(grads, hashed32(fmt.Sprint("map", i), len(m.Values)))
		}
		n.BackwardMaps(grads)
		compared := 0
		for _, p := range n.Layout.Params {
			squares := 0.
			grad := n.Grads[p.Offset : p.Offset+p.Size]
			for _, g := range grad {
				squares += float64(g) * float64(g)
			}
			const h = 3e-4 // some values pass a kink of ReLU on the way
			norm := math.Sqrt(squares)
			if norm < .1 {
				continue
			}
			weights, difference := append([]float32(nil), n.Params...), 0.
			for _, sign := range []float64{1, -1} {
				for i, g := range grad {
					n.Params[p.Offset+i] = weights[p.Offset+i] + float32(sign*h/norm*float64(g))
				}
				difference += sign * value()
			}
			n.Params = weights
			require.InEpsilon(t, norm, difference/(2*h), .1, "%s of %s", p.Name, arch)
			compared++
		}
		require.Greater(t, compared, 20)
	}
}
