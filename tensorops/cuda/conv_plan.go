package cuda

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// engine is one of the ways in which cuDNN's graph interface can compute a pass, with the settings of its knobs. Its number
// depends on cuDNN's version and on the type of GPU.
type engine struct {
	index int64
	knobs []knob
}

// knob is a setting of an engine, such as its tile size.
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
	engine      engine
	descriptors *builder
	execution   descriptor
	workspace   int // bytes
}

// close frees what the plan has of cuDNN's.
func (m *plan) close() { m.descriptors.close() }

// What an operation graph calls the operands.
const (
	inputID int64 = iota + 1
	weightsID
	outputID
)

// newPlan has cuDNN prepare an engine for a pass. It returns an error if cuDNN cannot.
func newPlan(g *gpu, c kernels.Conv, p pass, e engine) (*plan, error) {
	b := &builder{cudnn: &g.cudnn}
	graph := b.describe(g, c, p)
	var settings []descriptor
	for _, k := range e.knobs {
		settings = append(settings, b.add(backendKnobChoice, one(attrKnobType, typeKnobType, k.kind), ints(attrKnobValue, k.value)))
	}
	chosen := b.add(backendEngine, refs(attrEngineGraph, graph), ints(attrEngineIndex, e.index))
	config := b.add(backendEngineConfig, refs(attrConfigEngine, chosen), refs(attrConfigKnobs, settings...))
	m := &plan{engine: e, descriptors: b}
	m.execution = b.add(backendPlan, one(attrPlanHandle, typeHandle, g.planner), refs(attrPlanConfig, config))
	m.workspace = int(value[int64](b, m.execution, attrPlanWorkspace, typeInt64))
	if b.err != nil {
		m.close()
		return nil, b.err
	}
	return m, nil
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
	pack := &builder{cudnn: &d.cudnn}
	defer pack.close()
	operands := pack.add(backendVariantPack, ints(attrPackIDs, inputID, weightsID, outputID),
		attributeOf(attrPackPointers, typePointer, x, w, y), one(attrPackWorkspace, typePointer, d.workspace.Addr))
	pack.try(func() dnnStatus { return d.cudnnBackendExecute(d.dnn, m.execution, operands) }, "cudnnBackendExecute of %s", m.engine)
	return pack.err
}

// plans returns plans for a pass, in the order in which cuDNN's heuristics suggest their engines.
func (v *conv) plans(p pass) (list []algorithm) {
	const (
		most  = 8
		alike = 3 // plans whose engines only differ in their knobs
	)
	count := map[int64]int{} // of plans by their engine
	// The second mode knows more engines without tensor cores.
	for _, mode := range []int32{heuristicsModeA, heuristicsModeFallback} {
		for e := range v.engines(p, mode) {
			if count[e.index] == alike || slices.ContainsFunc(list, func(how algorithm) bool { return how.String() == e.String() }) {
				continue
			}
			how, err := v.planned(p, e)
			if err != nil {
				slog.Debug("cannot use an engine that cuDNN suggests", "pass", p, "shape", v.shape, "engine", e, "error", err)
				continue
			}
			count[e.index]++
			if list = append(list, how); len(list) == most {
				return list
			}
		}
	}
	return list
}

// planned returns a plan that has an engine compute a pass. It returns an error if cuDNN cannot, or not within the workspace.
func (v *conv) planned(p pass, e engine) (algorithm, error) {
	if !v.d.canPlan() {
		return algorithm{}, errors.New("cuda: cuDNN's graph interface needs the cublasLt of its own CUDA version")
	}
	m, err := newPlan(v.d.gpu, v.shape, p, e)
	if err != nil {
		return algorithm{}, err
	}
	if m.workspace > v.d.workspace.Len {
		m.close()
		return algorithm{}, fmt.Errorf("cuda: %s needs %s of workspace", e, size(uint64(m.workspace)))
	}
	return algorithm{plan: m, workspace: m.workspace}, nil
}

// canPlan reports whether cuDNN can plan: it aborts the process if an engine needs cublasLt and that of its own CUDA version is
// not there.
func (g *gpu) canPlan() bool { return g.cudnnGetCudartVersion()/1000 == g.cublasLtGetVersion()/10000 }

// engines returns the engines that a mode of cuDNN's heuristics suggests for a pass, the best first. It skips those that are
// less precise than the device, add in an order that depends on timing, or have to be compiled first.
func (v *conv) engines(p pass, mode int32) iter.Seq[engine] {
	const suggested = 64
	return func(yield func(engine) bool) {
		d := v.d
		if !d.canPlan() {
			return
		}
		b := &builder{cudnn: &d.cudnn}
		defer b.close()
		heuristics := b.add(backendHeuristics, refs(attrHeuristicsGraph, b.describe(d.gpu, v.shape, p)), one(attrHeuristicsMode, typeHeuristics, mode))
		for _, config := range b.several(heuristics, attrHeuristicsResults, backendEngineConfig, suggested) {
			if e, ok := b.suited(d.precision, config); ok && !yield(e) {
				return
			}
		}
		if b.err != nil {
			slog.Debug("cuDNN suggests no more engines", "pass", p, "shape", v.shape, "error", b.err)
		}
	}
}

// suited reads the engine of a configuration, and reports whether it suits a device of that precision.
func (b *builder) suited(precision ssl.Precision, config descriptor) (e engine, ok bool) {
	const most = 64 // notes and knobs
	list := b.several(config, attrConfigEngine, backendEngine, 1)
	if len(list) == 0 {
		return engine{}, false
	}
	unwanted := []int32{noteDownConvert, noteReducedPrecision, noteNondeterministic}
	if precision == ssl.FP32 {
		unwanted = append(unwanted, noteTensorCore)
	}
	notes := read[int32](b, list[0], attrEngineNumericalNotes, typeNumericalNote, most)
	behavior := read[int32](b, list[0], attrEngineBehaviorNotes, typeBehaviorNote, most)
	if slices.Contains(behavior, noteRuntimeCompilation) ||
		slices.ContainsFunc(notes, func(note int32) bool { return slices.Contains(unwanted, note) }) {
		return engine{}, false
	}
	e.index = value[int64](b, list[0], attrEngineIndex, typeInt64)
	for _, k := range b.several(config, attrConfigKnobs, backendKnobChoice, most) {
		e.knobs = append(e.knobs, knob{
			kind: value[int32](b, k, attrKnobType, typeKnobType), value: value[int64](b, k, attrKnobValue, typeInt64),
		})
	}
	return e, b.err == nil
}

// describe makes the operation graph of a pass.
func (b *builder) describe(g *gpu, c kernels.Conv, p pass) (graph descriptor) {
	kind := int32(dnnFloat)
	if g.bf16 {
		kind = dnnBFloat16
	}
	// The order of the dimensions is n, c, h, w; their strides are those of NHWC.
	tensor := func(id int64, n, channels, h, w int) descriptor {
		ch, row := int64(channels), int64(w)*int64(channels)
		return b.add(backendTensor, ints(attrTensorID, id), one(attrTensorType, typeDataType, kind), ints(attrTensorAlignment, planAlign),
			ints(attrTensorDimensions, int64(n), ch, int64(h), int64(w)), ints(attrTensorStrides, int64(h)*row, 1, row, ch))
	}
	x := tensor(inputID, c.N, c.Cin, c.H, c.W)
	w := tensor(weightsID, c.Cout, c.Cin, c.KH, c.KW)
	y := tensor(outputID, c.N, c.Cout, c.OutH(), c.OutW())
	both := func(name int32, value int) attribute { return ints(name, int64(value), int64(value)) }
	convolution := b.add(backendConvolution, ints(attrConvolutionDimensions, 2), one(attrConvolutionType, typeDataType, int32(dnnFloat)),
		one(attrConvolutionMode, typeConvolutionMode, int32(dnnCrossCorrelation)), both(attrConvolutionStrides, c.Stride),
		both(attrConvolutionPrePadding, c.Pad), both(attrConvolutionPostPadding, c.Pad), both(attrConvolutionDilations, 1))
	names := [...]struct{ kind, alpha, beta, convolution, x, w, y int32 }{
		forward:         {backendForward, attrForwardAlpha, attrForwardBeta, attrForwardConvolution, attrForwardX, attrForwardW, attrForwardY},
		backwardData:    {backendBackwardData, attrDataAlpha, attrDataBeta, attrDataConvolution, attrDataDX, attrDataW, attrDataDY},
		backwardWeights: {backendBackwardFilter, attrFilterAlpha, attrFilterBeta, attrFilterConvolution, attrFilterX, attrFilterDW, attrFilterDY},
	}[p]
	operation := b.add(names.kind, refs(names.convolution, convolution), refs(names.x, x), refs(names.w, w), refs(names.y, y),
		one(names.alpha, typeFloat, float32(1)), one(names.beta, typeFloat, float32(0)))
	return b.add(backendGraph, one(attrGraphHandle, typeHandle, g.planner), refs(attrGraphOperations, operation))
}

// planAlign is the alignment in bytes that plans expect of their operands.
const planAlign = 16
