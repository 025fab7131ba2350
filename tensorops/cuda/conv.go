package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// pass is one of a convolution's three computations.
type pass int

const (
	forward pass = iota
	backwardData
	backwardWeights
)

func (p pass) String() string { return [...]string{"forward", "data gradient", "weight gradient"}[p] }

// passKey is what the choice of an algorithm depends on.
type passKey struct {
	kernels.Conv
	pass
}

// algorithm is a way to compute a pass: a kernel of this package, a plan of cuDNN's graph interface or, if it has neither,
// an algorithm of cuDNN's older interface.
type algorithm struct {
	kernel    convKernel // none if it has no name
	plan      *plan
	id        int32
	mathType  int32
	workspace int // bytes
}

// String returns the name by which a tuning table knows the algorithm.
func (a algorithm) String() string {
	switch {
	case a.kernel.name != "":
		return a.kernel.name
	case a.plan != nil:
		return a.plan.engine.String()
	}
	return fmt.Sprintf(dnnName, a.id, a.mathType, a.workspace)
}

// close frees what the algorithm has of cuDNN's.
func (a algorithm) close() {
	if a.plan != nil {
		a.plan.close()
	}
}

const dnnName = "cuDNN algorithm %d, math %d, workspace %d"

// workspaceLimit is the most workspace that an algorithm may use, in bytes.
const workspaceLimit = 4 << 30

// conv is a convolution: an nn.Product of NHWC images and weights [Cout, KH, KW, Cin].
type conv struct {
	d        *device
	shape    kernels.Conv
	w, dw    Buffer
	xd, yd   tensorDescriptor
	wd       filterDescriptor
	cd       convolutionDescriptor
	mathType int32 // current setting of cd
}

func newConv(d *device, c kernels.Conv, w, dw Buffer) *conv {
	v := &conv{d: d, shape: c, w: w, dw: dw}
	d.convs = append(d.convs, v)
	kind, math := int32(dnnFloat), int32(dnnFMAMath)
	switch {
	case d.bf16:
		kind, math = dnnBFloat16, dnnTensorOpMath
	case d.precision == ssl.TF32:
		math = dnnDefaultMath
	}
	v.mathType = math
	n := func(i int) int32 { return int32(i) }
	for _, step := range []func() dnnStatus{
		func() dnnStatus { return d.cudnnCreateTensorDescriptor(&v.xd) },
		func() dnnStatus { return d.cudnnCreateTensorDescriptor(&v.yd) },
		func() dnnStatus { return d.cudnnCreateFilterDescriptor(&v.wd) },
		func() dnnStatus { return d.cudnnCreateConvolutionDescriptor(&v.cd) },
		func() dnnStatus {
			return d.cudnnSetTensor4dDescriptor(v.xd, dnnNHWC, kind, n(c.N), n(c.Cin), n(c.H), n(c.W))
		},
		func() dnnStatus {
			return d.cudnnSetTensor4dDescriptor(v.yd, dnnNHWC, kind, n(c.N), n(c.Cout), n(c.OutH()), n(c.OutW()))
		},
		func() dnnStatus {
			return d.cudnnSetFilter4dDescriptor(v.wd, kind, dnnNHWC, n(c.Cout), n(c.Cin), n(c.KH), n(c.KW))
		},
		func() dnnStatus {
			return d.cudnnSetConvolution2dDescriptor(v.cd, n(c.Pad), n(c.Pad), n(c.Stride), n(c.Stride), 1, 1, dnnCrossCorrelation, dnnFloat)
		},
		func() dnnStatus { return d.cudnnSetConvolutionMathType(v.cd, math) },
	} {
		v.try(step(), "describing")
	}
	return v
}

// try records an error, with the convolution in its message.
func (v *conv) try(s dnnStatus, what string) {
	if s != 0 {
		v.d.fail(v.d.checkDNN(s, "%s convolution %+v", what, v.shape))
	}
}

// close destroys the descriptors. It ignores errors: nothing can be done about them.
func (v *conv) close() {
	v.d.cudnnDestroyTensorDescriptor(v.xd)
	v.d.cudnnDestroyTensorDescriptor(v.yd)
	v.d.cudnnDestroyFilterDescriptor(v.wd)
	v.d.cudnnDestroyConvolutionDescriptor(v.cd)
}

// Forward implements nn.Product.
func (v *conv) Forward(x, y Buffer) { v.run(forward, x, v.w, y) }

// BackwardData implements nn.Product.
func (v *conv) BackwardData(dy, dx Buffer) { v.run(backwardData, dy, v.w, dx) }

// BackwardWeights implements nn.Product.
func (v *conv) BackwardWeights(x, dy Buffer) { v.run(backwardWeights, x, dy, v.dw) }

// run computes out from its two operands.
func (v *conv) run(p pass, a, b, out Buffer) {
	d := v.d
	if d.err != nil {
		return
	}
	how, err := v.choose(p, a, b, out)
	if err != nil {
		d.fail(err)
		return
	}
	v.compute(how, p, a, b, out)
}

// compute runs a pass in one way.
func (v *conv) compute(how algorithm, p pass, a, b, out Buffer) {
	d := v.d
	switch {
	case how.kernel.name != "":
		how.kernel.run(d, v.shape, p, a, b, out, d.workspace)
		return
	case how.plan != nil:
		if err := how.plan.run(d, p, a, b, out); err != nil {
			d.fail(fmt.Errorf("%w, for the %v of convolution %+v", err, p, v.shape))
		}
		return
	}
	if how.mathType != v.mathType {
		v.try(d.cudnnSetConvolutionMathType(v.cd, how.mathType), "describing")
		v.mathType = how.mathType
	}
	one, zero := float32(1), float32(0)
	alpha, beta := unsafe.Pointer(&one), unsafe.Pointer(&zero)
	ws, size := d.workspace.Addr, uint64(d.workspace.Len)
	var s dnnStatus
	switch p {
	case forward:
		s = d.cudnnConvolutionForward(d.dnn, alpha, v.xd, a.Addr, v.wd, b.Addr, v.cd, how.id, ws, size, beta, v.yd, out.Addr)
	case backwardData:
		s = d.cudnnConvolutionBackwardData(d.dnn, alpha, v.wd, b.Addr, v.yd, a.Addr, v.cd, how.id, ws, size, beta, v.xd, out.Addr)
	case backwardWeights:
		s = d.cudnnConvolutionBackwardFilter(d.dnn, alpha, v.xd, a.Addr, v.yd, b.Addr, v.cd, how.id, ws, size, beta, v.wd, out.Addr)
	}
	v.try(s, p.String()+" of")
}
