package detect

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// array is [batch, side, side, channels] that one operation writes and others read, and its gradient.
type array struct {
	side, channels int
	value, grad    []float32
	received       bool // whether there is a gradient in this backward pass
	ignored        bool // whether nobody asks for it
}

// receive adds a term of the gradient, which compute writes.
func (a *array) receive(n *Net, compute func(dst []float32)) {
	if !a.received {
		a.received = true
		compute(a.grad)
		return
	}
	term := n.scratch[:len(a.grad)]
	compute(term)
	n.each(func(i int) {
		size := len(a.grad) / n.batch
		dst, src := a.grad[i*size:(i+1)*size], term[i*size:(i+1)*size]
		for j, v := range src {
			dst[j] += v
		}
	})
}

// of returns image i of a value or gradient.
func (a *array) of(values []float32, i int) []float32 {
	size := a.side * a.side * a.channels
	return values[i*size : (i+1)*size : (i+1)*size]
}

// operation is a step of the forward pass. Its gradients are those of its last forward.
type operation interface {
	forward(n *Net)
	// backward passes the gradient of the output on to the inputs, and adds those of the parameters to n.Grads.
	backward(n *Net)
}

// convolve is a convolution with bias, whose parameters several operations may share.
type convolve struct {
	in, out      *array
	weight, bias nn.Span
	plan         *kernels.ConvPlan
}

func (c *convolve) forward(n *Net) {
	c.plan.Forward(c.in.value, c.weight.Of(n.Params), c.out.value)
	bias := c.bias.Of(n.Params)
	n.each(func(i int) {
		for y := c.out.of(c.out.value, i); len(y) > 0; y = y[len(bias):] {
			for j, b := range bias {
				y[j] += b
			}
		}
	})
}

func (c *convolve) backward(n *Net) {
	dy := c.out.grad
	dw := n.weights[:c.weight.Len()]
	c.plan.BackwardWeights(c.in.value, dy, dw)
	for i, g := range c.weight.Of(n.Grads) {
		c.weight.Of(n.Grads)[i] = g + dw[i]
	}
	channels := c.bias.Len()
	sums := n.sums[:n.batch*channels]
	n.each(func(i int) {
		s := sums[i*channels : (i+1)*channels]
		clear(s)
		for dy := c.out.of(dy, i); len(dy) > 0; dy = dy[channels:] {
			for j := range s {
				s[j] += float64(dy[j])
			}
		}
	})
	addSums(c.bias.Of(n.Grads), sums)
	if !c.in.ignored {
		c.in.receive(n, func(dst []float32) { c.plan.BackwardData(dy, c.weight.Of(n.Params), dst) })
	}
}

// addSums adds the rows of sums, one per image, to grads.
func addSums(grads []float32, sums []float64) {
	for j := range grads {
		total := 0.
		for i := j; i < len(sums); i += len(grads) {
			total += sums[i]
		}
		grads[j] += float32(total)
	}
}

// rectify is ReLU.
type rectify struct{ in, out *array }

func (r *rectify) forward(n *Net) {
	n.each(func(i int) {
		y := r.out.of(r.out.value, i)
		for j, v := range r.in.of(r.in.value, i) {
			y[j] = max(v, 0)
		}
	})
}

func (r *rectify) backward(n *Net) {
	r.in.receive(n, func(dst []float32) {
		n.each(func(i int) {
			x, dy, dx := r.in.of(r.in.value, i), r.out.of(r.out.grad, i), r.in.of(dst, i)
			for j, g := range dy {
				if dx[j] = g; x[j] <= 0 {
					dx[j] = 0
				}
			}
		})
	})
}

// topDown adds the coarser level, enlarged to the nearest pixels, to a finer one.
type topDown struct{ fine, coarse, out *array }

// nearest returns the index of the coarse value that is added to pixel p.
func (t *topDown) nearest(p int) int {
	y, x := p/t.out.side, p%t.out.side
	return (y*t.coarse.side/t.out.side*t.coarse.side + x*t.coarse.side/t.out.side) * t.out.channels
}

func (t *topDown) forward(n *Net) {
	n.each(func(i int) {
		fine, coarse, y := t.fine.of(t.fine.value, i), t.coarse.of(t.coarse.value, i), t.out.of(t.out.value, i)
		for p := range t.out.side * t.out.side {
			above := coarse[t.nearest(p):]
			for c := range t.out.channels {
				y[p*t.out.channels+c] = fine[p*t.out.channels+c] + above[c]
			}
		}
	})
}

func (t *topDown) backward(n *Net) {
	t.fine.receive(n, func(dst []float32) { copy(dst, t.out.grad) })
	t.coarse.receive(n, func(dst []float32) {
		n.each(func(i int) {
			dy, dx := t.out.of(t.out.grad, i), t.coarse.of(dst, i)
			clear(dx)
			for p := range t.out.side * t.out.side {
				above := dx[t.nearest(p):]
				for c := range t.out.channels {
					above[c] += dy[p*t.out.channels+c]
				}
			}
		})
	})
}
