package cuda

import (
	"fmt"
	"log/slog"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// choose returns the algorithm for a pass. The first time for a shape, it measures all on the actual operands, or takes
// the tuning table's choice. A deterministic device does not measure: it has this package's kernels compute what has few
// channels, and cuDNN's heuristics choose among its deterministic algorithms otherwise.
func (v *conv) choose(p pass, a, b, out Buffer) (how algorithm, err error) {
	d, key := v.d, passKey{v.shape, p}
	if how, ok := d.algorithms[key]; ok {
		d.needed = max(d.needed, how.workspace)
		return how, nil
	}
	own := v.kernels(p)
	switch {
	case d.deterministic && len(own) > 0 && max(v.shape.Cin, v.shape.Cout) <= fewChannels:
		how = own[0]
	case d.deterministic:
		how, err = first(v.suggested(p))
	case d.tuning == nil:
		how, err = v.fastest(own, p, a, b, out)
	default:
		how, err = v.tuned(own, p, a, b, out)
	}
	if err != nil {
		return algorithm{}, err
	}
	d.algorithms[key], d.needed = how, max(d.needed, how.workspace)
	return how, nil
}

// fewChannels is up to how many channels a deterministic device uses this package's kernels.
const fewChannels = 64

func first(list []algorithm, err error) (algorithm, error) {
	if err != nil {
		return algorithm{}, err
	}
	return list[0], nil
}

// kernels returns this package's ways to compute a pass.
func (v *conv) kernels(p pass) (list []algorithm) {
	for _, k := range convKernels(v.shape, p, v.d.actSize()) {
		if n := k.workspace(v.shape, p); n <= v.d.workspace.Len {
			list = append(list, algorithm{kernel: k, workspace: n})
		}
	}
	return list
}

// tuned returns the tuning table's choice, which is the fastest algorithm when the table first sees the shape.
func (v *conv) tuned(own []algorithm, p pass, a, b, out Buffer) (algorithm, error) {
	d, s := v.d, v.shape
	key := fmt.Sprintf("%s, cuDNN %d: %v of %dx%dx%dx%d to %d by %dx%d, stride %d, pad %d, %s", d.name, d.cudnnGetVersion(), p,
		s.N, s.H, s.W, s.Cin, s.Cout, s.KH, s.KW, s.Stride, s.Pad, d.precision)
	known := map[string]algorithm{} // by name
	var last string                 // of them
	valid := func(name string) bool {
		if _, ok := known[name]; ok {
			return true
		}
		how, ok := v.named(own, p, name)
		if ok {
			known[name], last = how, name
		}
		return ok
	}
	var failed error
	measure := func() (string, error) {
		how, err := v.fastest(own, p, a, b, out)
		last, failed = how.String(), err
		known[last] = how
		return last, err
	}
	name, err := d.tuning.Choose(fmt.Sprintf("cuDNN of CUDA %d", d.cudnnGetCudartVersion()/1000), key, valid, measure)
	if err != nil && failed == nil {
		slog.Warn("the choice of a GPU's algorithm is not kept; it will be measured again", "error", err)
		if name = last; name == "" {
			name, _ = measure()
		}
	}
	for other, how := range known {
		if other != name || failed != nil {
			how.close()
		}
	}
	return known[name], failed
}

// named returns the algorithm that has a name in the tuning table, if it applies.
func (v *conv) named(own []algorithm, p pass, name string) (how algorithm, ok bool) {
	d := v.d
	if i := slices.IndexFunc(own, func(how algorithm) bool { return how.String() == name }); i >= 0 {
		return own[i], true
	}
	if e, ok := parseEngine(name); ok {
		how, err := v.planned(p, e)
		return how, err == nil
	}
	_, err := fmt.Sscanf(name, dnnName, &how.id, &how.mathType, &how.workspace)
	return how, err == nil && how.workspace <= d.workspace.Len && (how.mathType == dnnFMAMath) == (d.precision == ssl.FP32)
}

// fastest measures all algorithms for a pass.
func (v *conv) fastest(own []algorithm, p pass, a, b, out Buffer) (best algorithm, err error) {
	const (
		tried = 4 // of the older interface's algorithms: its own measurements are of single runs
		slack = 3 // a first run that takes so many times as long rules an algorithm out
	)
	d := v.d
	found, none := v.measured(p, a, b, out)
	plans := v.plans(p)
	defer func() {
		for _, how := range plans {
			if how != best {
				how.close()
			}
		}
	}()
	least := float32(math.Inf(1))
	for _, how := range slices.Concat(own, found[:min(len(found), tried)], plans) {
		ms := d.time(slack*least, func() { v.compute(how, p, a, b, out) })
		if how.plan != nil && d.recovers() {
			slog.Debug("an engine that cuDNN suggests does not run", "pass", p, "shape", v.shape, "algorithm", how)
			continue
		}
		if d.err != nil {
			return algorithm{}, d.err
		}
		slog.Debug("measured a convolution", "pass", p, "shape", v.shape, "algorithm", how, "ms", ms)
		if ms < least {
			best, least = how, ms
		}
	}
	if math.IsInf(float64(least), 1) {
		return algorithm{}, none
	}
	return best, nil
}

// measured returns cuDNN's algorithms for a pass as it measures them, the fastest first.
func (v *conv) measured(p pass, a, b, out Buffer) ([]algorithm, error) {
	d := v.d
	ws, size := d.workspace.Addr, uint64(d.workspace.Len)
	return v.usable(p, func(most int32, n *int32, list *algoPerf) dnnStatus {
		switch p {
		case forward:
			return d.cudnnFindConvolutionForwardAlgorithmEx(d.dnn, v.xd, a.Addr, v.wd, b.Addr, v.cd, v.yd, out.Addr, most, n, list, ws, size)
		case backwardData:
			return d.cudnnFindConvolutionBackwardDataAlgorithmEx(d.dnn, v.wd, b.Addr, v.yd, a.Addr, v.cd, v.xd, out.Addr, most, n, list, ws, size)
		}
		return d.cudnnFindConvolutionBackwardFilterAlgorithmEx(d.dnn, v.xd, a.Addr, v.yd, b.Addr, v.cd, v.wd, out.Addr, most, n, list, ws, size)
	})
}

// suggested returns the deterministic algorithms for a pass that cuDNN's heuristics suggest, the best first.
func (v *conv) suggested(p pass) ([]algorithm, error) {
	d := v.d
	return v.usable(p, func(most int32, n *int32, list *algoPerf) dnnStatus {
		switch p {
		case forward:
			return d.cudnnGetConvolutionForwardAlgorithm(d.dnn, v.xd, v.wd, v.cd, v.yd, most, n, list)
		case backwardData:
			return d.cudnnGetConvolutionBackwardDataAlgorithm(d.dnn, v.wd, v.yd, v.cd, v.xd, most, n, list)
		}
		return d.cudnnGetConvolutionBackwardFilterAlgorithm(d.dnn, v.xd, v.yd, v.cd, v.wd, most, n, list)
	})
}

// usable returns those of a list of cuDNN's algorithms that fit the workspace and are as deterministic as the device
// must be; an error if there are none.
func (v *conv) usable(p pass, get func(most int32, n *int32, list *algoPerf) dnnStatus) (list []algorithm, err error) {
	d := v.d
	var found [8]algoPerf
	var n int32
	if s := get(int32(len(found)), &n, &found[0]); s != 0 {
		return nil, d.checkDNN(s, "choosing an algorithm for the %v of convolution %+v", p, v.shape)
	}
	for _, f := range found[:n] {
		if f.status != 0 || f.memory > uint64(d.workspace.Len) || d.deterministic && f.determinism != dnnDeterministic {
			continue
		}
		how := algorithm{id: f.algo, mathType: f.mathType, workspace: int(f.memory)}
		if d.precision == ssl.FP32 {
			how.mathType = dnnFMAMath // cuDNN may report its default, which allows TF32
		}
		same := func(other algorithm) bool { return other.id == how.id && other.mathType == how.mathType }
		if i := slices.IndexFunc(list, same); i >= 0 {
			list[i].workspace = max(list[i].workspace, how.workspace)
			continue
		}
		list = append(list, how)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("cuda: cuDNN has no algorithm for the %v of convolution %+v within %d MiB of workspace; "+
			"allow more memory, use a smaller batch, or do without determinism", p, v.shape, d.workspace.Len>>20)
	}
	return list, nil
}
