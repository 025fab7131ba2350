package nn

import "github.com/sdr-ml/sdr/tensorops/kernels"

// cpu is the Device of a Net: its thread pool and flat vectors.
type cpu struct {
	net  *Net
	part int // the algorithms are those for batches so many times as large
}

func (d *cpu) Product(l Layer, c kernels.Conv) Product[[]float32] {
	return &cpuProduct{d.net, l.Weight, kernels.NewPartPlan(c, c.N*d.part, d.net.mode.precision(), d.net.pool)}
}

func (d *cpu) Norm(l Layer, rows, views int) Norm[[]float32] {
	n := newNorm(l.Norm, l.Activation, l.Out, rows, views, d.net.pool)
	if l.Norm.Batch {
		d.net.norms = append(d.net.norms, n)
	}
	return &cpuNorm{d.net, n}
}

func (d *cpu) MaxPool(size, channels, batch int, train bool) MaxPool[[]float32] {
	return newMaxPool(size, channels, batch, train, d.net.pool)
}

func (d *cpu) AvgPool(pixels, channels, batch int) AvgPool[[]float32] {
	return newAvgPool(pixels, channels, batch, d.net.pool)
}

func (d *cpu) ClearGrads(l Layer) {
	for _, s := range []Span{l.Weight, l.Norm.Scale, l.Norm.Shift} {
		clear(s.Of(d.net.Grads))
	}
}

func (d *cpu) Memory(size int) func(from, to int) []float32 {
	memory := kernels.NewFloats(size)
	return func(from, to int) []float32 { return memory[from:to:to] }
}

func (d *cpu) Alignment() int { return 16 } // floats per cache line

// cpuProduct uses the flat vectors that its network has at the time of the call.
type cpuProduct struct {
	net    *Net
	weight Span
	plan   *kernels.ConvPlan
}

func (p *cpuProduct) Forward(x, y []float32) { p.plan.Forward(x, p.weight.Of(p.net.Params), y) }

func (p *cpuProduct) BackwardWeights(x, dy []float32) {
	p.plan.BackwardWeights(x, dy, p.weight.Of(p.net.Grads))
}

func (p *cpuProduct) BackwardData(dy, dx []float32) {
	p.plan.BackwardData(dy, p.weight.Of(p.net.Params), dx)
}

// cpuNorm does likewise.
type cpuNorm struct {
	net *Net
	*norm
}

func (n *cpuNorm) Forward(x, residual, y []float32) {
	n.forward(x, residual, y, n.net.Params, n.net.Stats, n.net.bn)
}

func (n *cpuNorm) Reapply(x, y []float32) { n.reapply(x, y) }

func (n *cpuNorm) Backward(g1, g2, x, y, masked, dx []float32) {
	n.backward(g1, g2, x, y, masked, dx, n.net.Params, n.net.Grads)
}
