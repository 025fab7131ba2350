package nn

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Map is the output of a stage: feature maps.
type Map struct {
	Side     int       // height and width
	Channels int       // features per pixel
	Values   []float32 // [batch, Side, Side, Channels] of the last Forward
}

// NewMaps returns a network that ends with the outputs of its stages from first on, counted from 1, rather than with
// features. Its other arguments are those of New.
func NewMaps(b Backbone, first, size, batch int, p *kernels.Pool, mode Mode) *Net {
	d := newMapsDesign(b)
	if first < 1 || first > len(d.ends) {
		panic(fmt.Sprintf("nn: maps from stage %d on; use 1 to %d", first, len(d.ends)))
	}
	n := &Net{Backbone: b, size: size, mode: mode, pool: p}
	n.graph = newGraph(d, d.ends[first-1:], size, batch, 1, mode.trains(), &cpu{n, 1})
	n.graph.sum = n.sum
	n.allocate()
	for i, o := range n.graph.maps {
		n.Maps = append(n.Maps, Map{o.pixels, d.channels[d.ends[first-1+i]], o.data})
	}
	return n
}

// sumChunk is the number of values that a task of sum adds.
const sumChunk = 1 << 14

// sum adds y to x.
func (n *Net) sum(x, y []float32) {
	n.pool.For((len(x)+sumChunk-1)/sumChunk, func(_, i int) {
		from, to := i*sumChunk, min((i+1)*sumChunk, len(x))
		y := y[from:to]
		for i := range x[from:to] {
			x[from+i] += y[i]
		}
	})
}

// BackwardMaps is Backward from the gradients of the maps, which it overwrites.
func (n *Net) BackwardMaps(grads [][]float32) {
	switch {
	case !n.mode.trains():
		panic("nn: Net.BackwardMaps of a network in Inference mode; create it with Train")
	case !n.forwarded:
		panic("nn: Net.BackwardMaps without a preceding Forward; call Forward before each BackwardMaps")
	case len(grads) != len(n.Maps):
		panic(fmt.Sprintf("nn: Net.BackwardMaps: %d gradients of %d maps", len(grads), len(n.Maps)))
	}
	n.forwarded = false
	for i, g := range grads {
		mustLen("Net.BackwardMaps: gradient", len(g), len(n.Maps[i].Values))
		n.graph.dMaps[i].data = g
	}
	n.graph.backwardMaps()
}
