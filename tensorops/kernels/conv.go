package kernels

import "fmt"

// Conv is the shape of a 2-D convolution without bias, from N images of H x W pixels and Cin channels to N images of
// OutH x OutW pixels and Cout channels. Each output pixel is a weighted sum over KH x KW input pixels. The input is
// padded by Pad zeros on every side.
type Conv struct {
	N, H, W, Cin, Cout, KH, KW, Stride, Pad int
	// Depthwise means that a channel of the output depends only on the same channel of the input, so Cin = Cout.
	Depthwise bool
}

// OutH returns the height of the output.
func (c Conv) OutH() int { return (c.H+2*c.Pad-c.KH)/c.Stride + 1 }

// OutW returns the width of the output.
func (c Conv) OutW() int { return (c.W+2*c.Pad-c.KW)/c.Stride + 1 }

// Multiplications returns the number of multiplications of the convolution by its definition.
func (c Conv) Multiplications() float64 {
	return float64(c.N*c.OutH()*c.OutW()) * float64(c.Weights())
}

// Weights returns the number of weights: KH*KW*Cin*Cout, or KH*KW*Cout if the convolution is depthwise.
func (c Conv) Weights() int {
	if c.Depthwise {
		return c.KH * c.KW * c.Cout
	}
	return c.KH * c.KW * c.Cin * c.Cout
}

// check panics if the shape is invalid.
func (c Conv) check() {
	if min(c.N, c.H, c.W, c.Cin, c.Cout, c.KH, c.KW, c.Stride) < 1 || c.Pad < 0 {
		panic(fmt.Sprintf("kernels: convolution %+v: every field must be at least 1, Pad at least 0", c))
	}
	if c.Depthwise && c.Cin != c.Cout {
		panic(fmt.Sprintf("kernels: convolution %+v: a depthwise one has as many output channels as input channels", c))
	}
	if c.KH > c.H+2*c.Pad || c.KW > c.W+2*c.Pad {
		panic(fmt.Sprintf("kernels: convolution %+v: the kernel is larger than the padded image; raise Pad or the image size", c))
	}
}

// ConvPlan computes a convolution and its gradients. Create one per layer; its methods then allocate nothing.
type ConvPlan struct {
	conv   Conv
	pool   *Pool
	passes [3]computation
}

// NewConvPlan prepares the convolution c to run on the thread pool p. It panics if c is not a valid shape.
func NewConvPlan(c Conv, precision Precision, p *Pool) *ConvPlan {
	return NewPartPlan(c, c.N, precision, p)
}

// NewPartPlan is NewConvPlan with the algorithms for whole images instead of c.N. Since the output of an image does not
// depend on how many there are, it is the same as that of the plan for so many, to the bit.
func NewPartPlan(c Conv, whole int, precision Precision, p *Pool) *ConvPlan {
	c.check()
	like := c
	like.N = whole
	cp := &ConvPlan{conv: c, pool: p}
	p.mu.Lock()
	defer p.mu.Unlock()
	for what := range cp.passes {
		cp.passes[what] = p.choose(like, pass(what), precision).prepare(c, pass(what), p)
	}
	return cp
}

// Forward computes y [N,OutH,OutW,Cout] from x [N,H,W,Cin] and the weights w [KH,KW,Cin,Cout], or [KH,KW,1,Cout] if
// the convolution is depthwise. It panics if a slice has the wrong length. y must not overlap x or w.
func (cp *ConvPlan) Forward(x, w, y []float32) {
	cp.check(forward, x, w, y)
	cp.pool.compute(cp.passes[forward], x, w, y)
}

// BackwardData computes the gradient dx [N,H,W,Cin] of the input from the gradient dy [N,OutH,OutW,Cout] of the output
// and the weights w [KH,KW,Cin,Cout]. It overwrites dx.
func (cp *ConvPlan) BackwardData(dy, w, dx []float32) {
	cp.check(backwardData, dx, w, dy)
	cp.pool.compute(cp.passes[backwardData], dy, w, dx)
}

// BackwardWeights computes the gradient dw [KH,KW,Cin,Cout] of the weights from the input x [N,H,W,Cin] and the
// gradient dy [N,OutH,OutW,Cout] of the output. It overwrites dw.
func (cp *ConvPlan) BackwardWeights(x, dy, dw []float32) {
	cp.check(backwardWeights, x, dw, dy)
	cp.pool.compute(cp.passes[backwardWeights], x, dy, dw)
}

// check panics if a slice does not have the length that the shape requires.
func (cp *ConvPlan) check(op pass, in, w, out []float32) {
	c := cp.conv
	for _, s := range [...]struct {
		name      string
		got, want int
	}{
		{"x or dx", len(in), c.N * c.H * c.W * c.Cin},
		{"w or dw", len(w), c.Weights()},
		{"y or dy", len(out), c.N * c.OutH() * c.OutW() * c.Cout},
	} {
		if s.got != s.want {
			panic(fmt.Sprintf("kernels: %s of convolution %+v: %s has %d floats, want %d", op, c, s.name, s.got, s.want))
		}
	}
}
