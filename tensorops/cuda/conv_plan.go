package cuda

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// engine is one of the ways in which cuDNN's graph interface can compute a pass, of which it has more than its older
// interface, with the settings of its knobs. The numbers mean the same for one version of cuDNN and one kind of GPU.
type engine struct {
	index int64
	knobs []knob
}

// knob is a setting of an engine, such as the size of its tiles.
type knob struct {
	kind  int32
	value int64
}

const engineName = "cuDNN engine "

// String returns the name by which a tuning table knows the engine.
func (e engine) String() string {
	var s strings.Builder
	fmt.Fprint(&s, engineName, e.index)
	for _, k := range e.knobs {
		fmt.Fprintf(&s, " %d=%d", k.kind, k.value)
	}
	return s.String()
}

// parseEngine is the inverse of String.
func parseEngine(name string) (e engine, ok bool) {
	rest, ok := strings.CutPrefix(name, engineName)
	if !ok {
		return engine{}, false
	}
	number, settings, _ := strings.Cut(rest, " ")
	if _, err := fmt.Sscan(number, &e.index); err != nil {
		return engine{}, false
	}
	for _, setting := range strings.Fields(settings) {
		var k knob
		if _, err := fmt.Sscanf(setting, "%d=%d", &k.kind, &k.value); err != nil {
			return engine{}, false
		}
		e.knobs = append(e.knobs, k)
	}
	return e, e.String() == name
}

// plan is an engine that is ready to compute a pass.
type plan struct {
	*builder  // of all descriptors that the plan consists of
	engine    engine
	execution descriptor
	workspace int // bytes
}

// The operands' numbers in a plan.
const (
	planInput int64 = iota + 1
	planWeights
	planOutput
)

// newPlan has cuDNN prepare an engine for a pass; an error if it is not able to.
func newPlan(d *device, c kernels.Conv, p pass, e engine) (*plan, error) {
	b := &builder{cudnn: &d.cudnn}
	graph := b.pass(d, c, p)
	var settings []descriptor
	for _, k := range e.knobs {
		settings = append(settings, b.add(backendKnobChoice, one(knobChoiceType, typeKnobType, k.kind), ints(knobChoiceValue, k.value)))
	}
	chosen := b.add(backendEngine, refs(engineGraph, graph), ints(engineIndex, e.index))
	config := b.add(backendEngineConfig, refs(configEngine, chosen), refs(configKnobs, settings...))
	made := &plan{builder: b, engine: e}
	made.execution = b.add(backendPlan, one(planHandle, typeHandle, d.dnn), refs(planConfig, config))
	made.workspace = int(value[int64](b, made.execution, planWorkspace, typeInt64))
	if b.err != nil {
		made.close()
		return nil, b.err
	}
	return made, nil
}

// run queues the pass, which computes out from its two operands.
func (m *plan) run(d *device, p pass, a, b, out Buffer) error {
	x, w, y := a.Addr, b.Addr, out.Addr
	switch p {
	case backwardData:
		x, y = out.Addr, a.Addr
	case backwardWeights:
		w, y = out.Addr, b.Addr
	}
	pack := &builder{cudnn: m.cudnn}
	defer pack.close()
	operands := pack.add(backendVariantPack, ints(packNumbers, planInput, planWeights, planOutput),
		attributeOf(packPointers, typePointer, x, w, y), one(packWorkspace, typePointer, d.workspace.Addr))
	pack.try(func() dnnStatus { return d.cudnnBackendExecute(d.dnn, m.execution, operands) }, "cudnnBackendExecute of %s", m.engine)
	return pack.err
}

// plans returns plans for a pass that fit the workspace, in the order in which cuDNN's heuristics suggest their engines. It
// passes over engines that compute in less precision than the device does, and those that would have to be compiled first.
func (v *conv) plans(p pass) (list []algorithm) {
	const (
		suggested = 32
		tried     = 8
	)
	d := v.d
	if d.cudnnGetCudartVersion()/1000 != d.cublasLtGetVersion()/10000 {
		return nil // the heuristics end a process in which they find no cublasLt of cuDNN's CUDA version
	}
	b := &builder{cudnn: &d.cudnn}
	defer b.close()
	graph := b.pass(d, v.shape, p)
	for _, mode := range []int32{heuristicsA, heuristicsFallback} { // the latter has what does without tensor cores
		from := b.add(backendHeuristics, refs(heuristicsGraph, graph), one(heuristicsMode, typeHeuristics, mode))
		for _, config := range b.several(from, heuristicsResults, backendEngineConfig, suggested) {
			e, ok := b.engine(d, config)
			if !ok || len(list) == tried || slices.ContainsFunc(list, func(how algorithm) bool { return how.plan.engine.String() == e.String() }) {
				continue
			}
			how, err := v.planned(p, e)
			if err != nil {
				slog.Debug("cannot use an engine that cuDNN suggests", "pass", p, "shape", v.shape, "engine", e, "error", err)
				continue
			}
			list = append(list, how)
		}
	}
	if b.err != nil {
		slog.Debug("cuDNN suggests no more engines", "pass", p, "shape", v.shape, "error", b.err)
	}
	return list
}

// planned returns a plan that has an engine compute a pass; an error if it does not fit the workspace, or cuDNN refuses.
func (v *conv) planned(p pass, e engine) (algorithm, error) {
	made, err := newPlan(v.d, v.shape, p, e)
	if err != nil {
		return algorithm{}, err
	}
	if made.workspace > v.d.workspace.Len {
		made.close()
		return algorithm{}, fmt.Errorf("cuda: the %s needs %s of workspace", e, size(uint64(made.workspace)))
	}
	return algorithm{plan: made, workspace: made.workspace}, nil
}

// engine reads the engine of a configuration that heuristics suggest, and reports whether it suits the device.
func (b *builder) engine(d *device, config descriptor) (e engine, ok bool) {
	const most = 64 // notes and knobs
	described := b.several(config, configEngine, backendEngine, 1)
	if b.err != nil || len(described) == 0 {
		return engine{}, false
	}
	e.index = value[int64](b, described[0], engineIndex, typeInt64)
	for _, k := range b.several(config, configKnobs, backendKnobChoice, most) {
		e.knobs = append(e.knobs, knob{
			kind:  value[int32](b, k, knobChoiceType, typeKnobType),
			value: value[int64](b, k, knobChoiceValue, typeInt64),
		})
	}
	unwanted := []int32{noteReducedPrecision}
	if d.precision == ssl.FP32 {
		unwanted = append(unwanted, noteTensorCore, noteDownConvert)
	}
	for _, note := range read[int32](b, described[0], engineNumericalNotes, typeNumericalNote, most) {
		if slices.Contains(unwanted, note) {
			return engine{}, false
		}
	}
	compiled := slices.Contains(read[int32](b, described[0], engineBehaviorNotes, typeBehaviorNote, most), noteRuntimeCompilation)
	return e, b.err == nil && !compiled
}

// pass describes a pass of a convolution.
func (b *builder) pass(d *device, c kernels.Conv, p pass) (graph descriptor) {
	kind := int32(dnnFloat)
	if d.bf16 {
		kind = dnnBFloat16
	}
	// The order of the dimensions is n, c, h, w; their strides are those of NHWC.
	tensor := func(number int64, n, channels, h, w int) descriptor {
		ch, row := int64(channels), int64(w)*int64(channels)
		return b.add(backendTensor, ints(tensorNumber, number), one(tensorType, typeDataType, kind), ints(tensorAlignment, planAlign),
			ints(tensorDimensions, int64(n), ch, int64(h), int64(w)), ints(tensorStrides, int64(h)*row, 1, row, ch))
	}
	both := func(name int32, value int) attribute { return ints(name, int64(value), int64(value)) }
	x := tensor(planInput, c.N, c.Cin, c.H, c.W)
	w := tensor(planWeights, c.Cout, c.Cin, c.KH, c.KW)
	y := tensor(planOutput, c.N, c.Cout, c.OutH(), c.OutW())
	how := b.add(backendConvolution, ints(convolutionDimensions, 2), one(convolutionType, typeDataType, int32(dnnFloat)),
		one(convolutionMode, typeConvolutionMode, int32(dnnCrossCorrelation)), both(convolutionStrides, c.Stride),
		both(convolutionPrePadding, c.Pad), both(convolutionPostPadding, c.Pad), both(convolutionDilations, 1))
	is := [...]struct{ kind, alpha, beta, how, w, x, y int32 }{
		forward:         {backendForward, forwardAlpha, forwardBeta, forwardConvolution, forwardWeights, forwardInput, forwardOutput},
		backwardData:    {backendBackwardData, dataAlpha, dataBeta, dataConvolution, dataWeights, dataInput, dataOutput},
		backwardWeights: {backendBackwardWeights, weightsAlpha, weightsBeta, weightsConvolution, weightsWeights, weightsInput, weightsOutput},
	}[p]
	op := b.add(is.kind, refs(is.how, how), refs(is.x, x), refs(is.w, w), refs(is.y, y),
		one(is.alpha, typeFloat, float32(1)), one(is.beta, typeFloat, float32(0)))
	return b.add(backendGraph, one(graphHandle, typeHandle, d.dnn), refs(graphOperations, op))
}

// planAlign is the alignment that operands of plans have at least, in bytes.
const planAlign = 16
