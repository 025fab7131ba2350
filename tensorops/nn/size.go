package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// ArenaSize returns the number of values that a network keeps in memory in a step besides weights: activations and
// gradients, in the places that New gives them. Its arguments are those of New.
func ArenaSize(b Backbone, h Heads, size, batch, views int, mode Mode) int {
	var p planner
	NewGraph(b, h, size, batch, views, mode.trains(), &p)
	return p.size
}

// planner is a Device that only learns how much memory a graph needs.
type planner struct{ size int }

var _ Device[struct{}] = (*planner)(nil)

func (*planner) Product(Layer, kernels.Conv) Product[struct{}]               { return nil }
func (*planner) Norm(Layer, int, int) Norm[struct{}]                         { return nil }
func (*planner) MaxPool(size, channels, batch int, _ bool) MaxPool[struct{}] { return nil }
func (*planner) AvgPool(pixels, channels, batch int) AvgPool[struct{}]       { return nil }
func (*planner) ClearGrads(Layer)                                            {}
func (*planner) Alignment() int                                              { return (&cpu{}).Alignment() }

func (p *planner) Memory(size int) (cut func(from, to int) struct{}) {
	p.size = size
	return func(int, int) struct{} { return struct{}{} }
}
