package cuda

import (
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
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

// algorithm is a cuDNN algorithm for a pass.
type algorithm struct {
	id        int32
	mathType  int32
	workspace int // bytes
}

// workspaceLimit is the most workspace that an algorithm may use, in bytes.
const workspaceLimit = 256 << 20

// conv is a convolution by cuDNN: an nn.Product of NHWC images and weights [Cout, KH, KW, Cin].
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
	if d.bf16 {
		kind, math = dnnBFloat16, dnnTensorOpMath
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

// choose returns the algorithm for a pass. The first time for a shape, cuDNN measures its algorithms on the actual
// operands. A deterministic device takes cuDNN's heuristic choice among deterministic algorithms instead.
func (v *conv) choose(p pass, a, b, out Buffer) (algorithm, error) {
	d, key := v.d, passKey{v.shape, p}
	if how, ok := d.algorithms[key]; ok {
		return how, nil
	}
	var found [8]algoPerf
	var n int32
	most, list := int32(len(found)), &found[0]
	ws, size := d.workspace.Addr, uint64(d.workspace.Len)
	var s dnnStatus
	switch {
	case d.deterministic && p == forward:
		s = d.cudnnGetConvolutionForwardAlgorithm(d.dnn, v.xd, v.wd, v.cd, v.yd, most, &n, list)
	case d.deterministic && p == backwardData:
		s = d.cudnnGetConvolutionBackwardDataAlgorithm(d.dnn, v.wd, v.yd, v.cd, v.xd, most, &n, list)
	case d.deterministic:
		s = d.cudnnGetConvolutionBackwardFilterAlgorithm(d.dnn, v.xd, v.yd, v.cd, v.wd, most, &n, list)
	case p == forward:
		s = d.cudnnFindConvolutionForwardAlgorithmEx(d.dnn, v.xd, a.Addr, v.wd, b.Addr, v.cd, v.yd, out.Addr, most, &n, list, ws, size)
	case p == backwardData:
		s = d.cudnnFindConvolutionBackwardDataAlgorithmEx(d.dnn, v.wd, b.Addr, v.yd, a.Addr, v.cd, v.xd, out.Addr, most, &n, list, ws, size)
	default:
		s = d.cudnnFindConvolutionBackwardFilterAlgorithmEx(d.dnn, v.xd, a.Addr, v.yd, b.Addr, v.cd, v.wd, out.Addr, most, &n, list, ws, size)
	}
	if s != 0 {
		return algorithm{}, d.checkDNN(s, "choosing an algorithm for the %v of convolution %+v", p, v.shape)
	}
	for _, f := range found[:n] { // fastest first
		if f.status != 0 || f.memory > size || d.deterministic && f.determinism != dnnDeterministic {
			continue
		}
		how := algorithm{id: f.algo, mathType: f.mathType, workspace: int(f.memory)}
		if !d.bf16 {
			how.mathType = dnnFMAMath // cuDNN may report its default, which allows TF32
		}
		d.algorithms[key], d.needed = how, max(d.needed, how.workspace)
		return how, nil
	}
	return algorithm{}, fmt.Errorf("cuda: cuDNN has no algorithm for the %v of convolution %+v within %d MiB of workspace; "+
		"allow more memory, use a smaller batch, or do without determinism", p, v.shape, size>>20)
}
