package cuda

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// network is the nn.Device of one network, with its flat vectors.
type network struct {
	*device
	flat     *flat
	params   Buffer // float32: the parameters for norms
	weights  Buffer // activations: the parameters for products
	grads    Buffer // float32: gradients of the norms' parameters
	dweights Buffer // activations: gradients of the products' parameters
	values   int    // bytes of activations and their gradients

	stats   Buffer // float32: running statistics, in nn's order; zero for a network that is trained
	running bool   // whether forward passes use them
	norms   []tracked
}

// tracked is a BatchNorm with the places of its running statistics.
type tracked struct {
	*norm
	mean, variance nn.Span
}

// newNetwork allocates the flat vectors, those of gradients only for training.
func newNetwork(d *device, f *flat, train bool) *network {
	n := len(f.order)
	net := &network{device: d, flat: f, params: d.floats(n), weights: d.acts(n, "weights")}
	if train {
		net.grads, net.dweights = d.floats(n), d.acts(n, "gradients")
	}
	return net
}

// Product implements nn.Device.
func (n *network) Product(l nn.Layer, c kernels.Conv) nn.Product[Buffer] {
	size := n.actSize()
	w, dw := n.flat.span(n.weights, l.Weight, size), n.flat.span(n.dweights, l.Weight, size)
	if l.Linear {
		return &linear{n.device, c.N, l.In, l.Out, w, dw}
	}
	return n.product(c, w, dw)
}

// product returns a convolution.
func (d *device) product(c kernels.Conv, w, dw Buffer) nn.Product[Buffer] {
	if c.Depthwise {
		return newDepthwise(d, d, c, w, dw)
	}
	return newConv(d, c, w, dw)
}

// Norm implements nn.Device.
func (n *network) Norm(l nn.Layer, rows, views int) nn.Norm[Buffer] {
	spec := normSpec{
		Batch: l.Norm.Batch, Activation: l.Activation, Channels: l.Out,
		Scale: n.flat.span(n.params, l.Norm.Scale, 4), Shift: n.flat.span(n.params, l.Norm.Shift, 4),
		DScale: n.flat.span(n.grads, l.Norm.Scale, 4), DShift: n.flat.span(n.grads, l.Norm.Shift, 4),
	}
	mean, variance := l.Norm.RunningMean, l.Norm.RunningVar
	if n.stats.Addr != 0 {
		spec.Mean, spec.Variance = n.stats.slice(mean.From, mean.To, 4), n.stats.slice(variance.From, variance.To, 4)
		spec.Running = &n.running
	}
	made := newNorm(n, n, spec, rows, views)
	if l.Norm.Batch {
		n.norms = append(n.norms, tracked{made, mean, variance})
	}
	return made
}

// MaxPool implements nn.Device.
func (n *network) MaxPool(size, channels, batch int, train bool) nn.MaxPool[Buffer] {
	return newMaxPool(n, n, size, channels, batch, train)
}

// AvgPool implements nn.Device.
func (n *network) AvgPool(pixels, channels, batch int) nn.AvgPool[Buffer] {
	return newAvgPool(n, pixels, channels, batch)
}

// ClearGrads implements nn.Device.
func (n *network) ClearGrads(l nn.Layer) {
	size := n.actSize()
	n.zero(n.flat.span(n.dweights, l.Weight, size), l.Weight.Len()*size)
	for _, s := range []nn.Span{l.Norm.Scale, l.Norm.Shift} {
		n.zero(n.flat.span(n.grads, s, 4), s.Len()*4)
	}
}

// Memory implements nn.Device.
func (n *network) Memory(size int) func(from, to int) Buffer {
	n.values = size * n.actSize()
	block := n.acts(size, "activations")
	return func(from, to int) Buffer { return block.slice(from, to, n.actSize()) }
}

// Alignment implements nn.Device.
func (n *network) Alignment() int { return align }
