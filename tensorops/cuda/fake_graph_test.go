package cuda

import (
	"slices"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// fakeDescriptor is a descriptor of cuDNN's graph interface, with its attributes by name.
type fakeDescriptor struct {
	kind   int32
	values map[int32]any
	final  bool
}

// fakeEngine is an engine that the simulated heuristics suggest.
type fakeEngine struct {
	engine
	notes, behavior []int32
	workspace       int64
	refused         dnnStatus // when it is planned
	failure         dnnStatus // when it runs
	captured        dnnStatus // when it runs while a stream is captured
	kills           bool      // whether the GPU does not work any more once it has run
}

// fakeEngines are the usual ones. Of the first, none can be used.
var fakeEngines = []fakeEngine{
	{engine: engine{2, []knob{{2, 1}}}, notes: []int32{noteTensorCore, noteReducedPrecision}},
	{engine: engine{9, nil}, notes: []int32{noteNondeterministic}},
	{engine: engine{10, nil}, notes: []int32{noteTensorCore, noteDownConvert}},
	{engine: engine{3, nil}, behavior: []int32{noteRuntimeCompilation}},
	{engine: engine{4, nil}, refused: 3000},
	{engine: engine{5, nil}, workspace: 1 << 40},
	{engine: engine{6, nil}, failure: 5000},
	{engine: engine{8, nil}, captured: 5000},
	{engine: engine{7, []knob{{2, 1}}}, notes: []int32{noteTensorCore}},
	{engine: engine{1, []knob{{2, 1}, {13, 0}}}, workspace: 3000},
	{engine: engine{1, []knob{{2, 1}, {13, 0}}}, workspace: 3000},
	{engine: engine{1, []knob{{2, 5}, {13, 1}}}, workspace: 4000},
	{engine: engine{1, []knob{{2, 6}, {13, 1}}}},
	{engine: engine{1, []knob{{2, 7}, {13, 1}}}}, // one too many of this engine
}

// fakeAttributes has the kinds of attributes by name.
var fakeAttributes = map[int32]int32{
	attrConvolutionType: typeDataType, attrConvolutionMode: typeConvolutionMode, attrConvolutionDilations: typeInt64, attrConvolutionStrides: typeInt64,
	attrConvolutionPostPadding: typeInt64, attrConvolutionPrePadding: typeInt64, attrConvolutionDimensions: typeInt64,
	attrHeuristicsMode: typeHeuristics, attrHeuristicsGraph: typeDescriptor, attrHeuristicsResults: typeDescriptor,
	attrConfigEngine: typeDescriptor, attrConfigKnobs: typeDescriptor,
	attrPlanHandle: typeHandle, attrPlanConfig: typeDescriptor, attrPlanWorkspace: typeInt64, attrKnobType: typeKnobType, attrKnobValue: typeInt64,
	attrGraphHandle: typeHandle, attrGraphOperations: typeDescriptor,
	attrTensorAlignment: typeInt64, attrTensorType: typeDataType, attrTensorDimensions: typeInt64, attrTensorStrides: typeInt64, attrTensorID: typeInt64,
	attrPackIDs: typeInt64, attrPackPointers: typePointer, attrPackWorkspace: typePointer,
	attrEngineGraph: typeDescriptor, attrEngineIndex: typeInt64, attrEngineNumericalNotes: typeNumericalNote, attrEngineBehaviorNotes: typeBehaviorNote,
	attrForwardAlpha: typeFloat, attrForwardBeta: typeFloat, attrForwardConvolution: typeDescriptor, attrForwardW: typeDescriptor,
	attrForwardX: typeDescriptor, attrForwardY: typeDescriptor,
	attrDataAlpha: typeFloat, attrDataBeta: typeFloat, attrDataConvolution: typeDescriptor, attrDataW: typeDescriptor,
	attrDataDX: typeDescriptor, attrDataDY: typeDescriptor,
	attrFilterAlpha: typeFloat, attrFilterBeta: typeFloat, attrFilterConvolution: typeDescriptor, attrFilterDW: typeDescriptor,
	attrFilterX: typeDescriptor, attrFilterDY: typeDescriptor,
}

// given returns an attribute of a descriptor, which must have it.
func given[T any](f *fake, d *fakeDescriptor, name int32) []T {
	require.Contains(f.t, d.values, name, "a descriptor of kind %d lacks an attribute", d.kind)
	return d.values[name].([]T)
}

// referred returns the descriptor that an attribute refers to.
func referred(f *fake, d *fakeDescriptor, name, kind int32) *fakeDescriptor {
	list := given[descriptor](f, d, name)
	require.Len(f.t, list, 1)
	of := get[*fakeDescriptor](f, uintptr(list[0]))
	require.Equal(f.t, kind, of.kind)
	require.True(f.t, of.final, "a descriptor of kind %d is not final", kind)
	return of
}

// addGraph adds cuDNN's graph interface.
func (f *fake) addGraph(a *cudnn) {
	a.cudnnBackendCreateDescriptor = func(kind int32, d *descriptor) dnnStatus {
		*d = descriptor(f.describe(&fakeDescriptor{kind: kind, values: map[int32]any{}}))
		return 0
	}
	a.cudnnBackendDestroyDescriptor = func(d descriptor) dnnStatus { return f.destroy(uintptr(d)) }
	a.cudnnBackendSetAttribute = func(to descriptor, name, kind int32, count int64, values unsafe.Pointer) dnnStatus {
		d := get[*fakeDescriptor](f, uintptr(to))
		require.False(f.t, d.final)
		require.Contains(f.t, fakeAttributes, name)
		require.Equal(f.t, fakeAttributes[name], kind, "attribute %d", name)
		switch kind {
		case typeInt64:
			d.values[name] = slices.Clone(unsafe.Slice((*int64)(values), count))
		case typeFloat:
			d.values[name] = slices.Clone(unsafe.Slice((*float32)(values), count))
		case typePointer:
			d.values[name] = slices.Clone(unsafe.Slice((*uint64)(values), count))
		case typeHandle:
			d.values[name] = slices.Clone(unsafe.Slice((*dnnHandle)(values), count))
		case typeDescriptor:
			d.values[name] = slices.Clone(unsafe.Slice((*descriptor)(values), count))
		default:
			d.values[name] = slices.Clone(unsafe.Slice((*int32)(values), count))
		}
		return 0
	}
	a.cudnnBackendFinalize = func(of descriptor) dnnStatus {
		d := get[*fakeDescriptor](f, uintptr(of))
		require.False(f.t, d.final)
		d.final = true
		switch d.kind {
		case backendPlan:
			require.NotZero(f.t, given[dnnHandle](f, d, attrPlanHandle)[0])
			e := f.engineOf(d)
			return f.engines[e].refused
		case backendHeuristics:
			f.eager("heuristics")
			require.Contains(f.t, []int32{heuristicsModeA, heuristicsModeFallback}, given[int32](f, d, attrHeuristicsMode)[0])
			f.passOf(referred(f, d, attrHeuristicsGraph, backendGraph))
		}
		return 0
	}
	a.cudnnBackendGetAttribute = func(of descriptor, name, kind int32, most int64, count *int64, values unsafe.Pointer) dnnStatus {
		require.Equal(f.t, fakeAttributes[name], kind, "attribute %d", name)
		d := get[*fakeDescriptor](f, uintptr(of))
		empty := func(i int) *fakeDescriptor {
			d := get[*fakeDescriptor](f, uintptr(unsafe.Slice((*descriptor)(values), most)[i]))
			require.Empty(f.t, d.values)
			require.False(f.t, d.final)
			return d
		}
		suggested := func() int { return d.values[attrEngineIndex].(int) } // what a configuration or its engine is of
		switch name {
		case attrHeuristicsResults:
			require.True(f.t, d.final)
			*count = int64(len(f.engines))
			for i := range f.engines {
				empty(i).values[attrEngineIndex] = i
			}
		case attrConfigEngine:
			*count = 1
			empty(0).values[attrEngineIndex] = suggested()
		case attrConfigKnobs:
			*count = int64(len(f.engines[suggested()].knobs))
			for i, k := range f.engines[suggested()].knobs {
				to := empty(i)
				to.values[attrKnobType], to.values[attrKnobValue] = []int32{k.kind}, []int64{k.value}
			}
		case attrEngineIndex:
			*count, *(*int64)(values) = 1, f.engines[suggested()].index
		case attrEngineNumericalNotes:
			*count = int64(copy(unsafe.Slice((*int32)(values), most), f.engines[suggested()].notes))
		case attrEngineBehaviorNotes:
			*count = int64(copy(unsafe.Slice((*int32)(values), most), f.engines[suggested()].behavior))
		case attrKnobType:
			*count, *(*int32)(values) = 1, given[int32](f, d, name)[0]
		case attrKnobValue:
			*count, *(*int64)(values) = 1, given[int64](f, d, name)[0]
		case attrPlanWorkspace:
			require.True(f.t, d.final)
			*count, *(*int64)(values) = 1, f.engines[f.engineOf(d)].workspace
		default:
			require.Fail(f.t, "an attribute cannot be read", "%d", name)
		}
		return 0
	}
	a.cudnnBackendExecute = func(h dnnHandle, of, operands descriptor) dnnStatus {
		plan, pack := get[*fakeDescriptor](f, uintptr(of)), get[*fakeDescriptor](f, uintptr(operands))
		require.True(f.t, plan.final && pack.final)
		e := f.engines[f.engineOf(plan)]
		require.Equal(f.t, []int64{inputID, weightsID, outputID}, given[int64](f, pack, attrPackIDs))
		at := given[uint64](f, pack, attrPackPointers)
		for _, addr := range at {
			require.Zero(f.t, addr%planAlign)
		}
		f.memory(given[uint64](f, pack, attrPackWorkspace)[0], uint64(e.workspace), "workspace")
		switch {
		case e.failure != 0:
			return e.failure
		case e.captured != 0 && f.capturing != 0:
			return e.captured
		}
		f.dead = f.dead || e.kills
		config := referred(f, plan, attrPlanConfig, backendEngineConfig)
		s, p := f.passOf(referred(f, referred(f, config, attrConfigEngine, backendEngine), attrEngineGraph, backendGraph))
		f.do(f.handles[h-1], func() {
			f.ran(e.String())
			f.convolve(s, p, at[0], at[1], at[2])
		})
		return 0
	}
}

// engineOf returns the place in f.engines of a plan's engine with its knobs.
func (f *fake) engineOf(plan *fakeDescriptor) int {
	config := referred(f, plan, attrPlanConfig, backendEngineConfig)
	e := engine{index: given[int64](f, referred(f, config, attrConfigEngine, backendEngine), attrEngineIndex)[0]}
	if _, ok := config.values[attrConfigKnobs]; ok {
		for _, k := range given[descriptor](f, config, attrConfigKnobs) {
			choice := get[*fakeDescriptor](f, uintptr(k))
			require.True(f.t, choice.final)
			e.knobs = append(e.knobs, knob{given[int32](f, choice, attrKnobType)[0], given[int64](f, choice, attrKnobValue)[0]})
		}
	}
	for i, known := range f.engines {
		if known.String() == e.String() {
			return i
		}
	}
	require.FailNow(f.t, "no such engine", "%s", e)
	return 0
}

// passOf returns the pass that a graph describes.
func (f *fake) passOf(graph *fakeDescriptor) (s kernels.Conv, p pass) {
	require.NotZero(f.t, given[dnnHandle](f, graph, attrGraphHandle)[0])
	list := given[descriptor](f, graph, attrGraphOperations)
	require.Len(f.t, list, 1)
	op := get[*fakeDescriptor](f, uintptr(list[0]))
	require.True(f.t, op.final)
	names := map[int32][6]int32{
		backendForward:        {attrForwardAlpha, attrForwardBeta, attrForwardConvolution, attrForwardX, attrForwardW, attrForwardY},
		backendBackwardData:   {attrDataAlpha, attrDataBeta, attrDataConvolution, attrDataDX, attrDataW, attrDataDY},
		backendBackwardFilter: {attrFilterAlpha, attrFilterBeta, attrFilterConvolution, attrFilterX, attrFilterDW, attrFilterDY},
	}[op.kind]
	require.Equal(f.t, []float32{1}, given[float32](f, op, names[0]))
	require.Equal(f.t, []float32{0}, given[float32](f, op, names[1]))
	var dims [3][]int64 // n, c, h, w
	kind := int32(dnnFloat)
	if f.bf16 {
		kind = dnnBFloat16
	}
	for i, number := range []int64{inputID, weightsID, outputID} {
		tensor := referred(f, op, names[3+i], backendTensor)
		dims[i] = given[int64](f, tensor, attrTensorDimensions)
		c, h, w := dims[i][1], dims[i][2], dims[i][3]
		require.Equal(f.t, []int64{h * w * c, 1, w * c, c}, given[int64](f, tensor, attrTensorStrides), "NHWC")
		require.Equal(f.t, []int64{number}, given[int64](f, tensor, attrTensorID))
		require.Equal(f.t, []int64{planAlign}, given[int64](f, tensor, attrTensorAlignment))
		require.Equal(f.t, []int32{kind}, given[int32](f, tensor, attrTensorType))
	}
	how := referred(f, op, names[2], backendConvolution)
	stride, pad := given[int64](f, how, attrConvolutionStrides), given[int64](f, how, attrConvolutionPrePadding)
	require.Equal(f.t, []int64{2}, given[int64](f, how, attrConvolutionDimensions))
	require.Equal(f.t, []int64{stride[0], stride[0]}, stride)
	require.Equal(f.t, []int64{pad[0], pad[0]}, pad)
	require.Equal(f.t, pad, given[int64](f, how, attrConvolutionPostPadding))
	require.Equal(f.t, []int64{1, 1}, given[int64](f, how, attrConvolutionDilations))
	require.Equal(f.t, []int32{dnnFloat}, given[int32](f, how, attrConvolutionType))
	require.Equal(f.t, []int32{dnnCrossCorrelation}, given[int32](f, how, attrConvolutionMode))
	x, w, y := dims[0], dims[1], dims[2]
	s = kernels.Conv{N: int(x[0]), H: int(x[2]), W: int(x[3]), Cin: int(x[1]), Cout: int(w[0]), KH: int(w[2]), KW: int(w[3]), Stride: int(stride[0]), Pad: int(pad[0])}
	require.Equal(f.t, x[1], w[1])
	require.Equal(f.t, []int64{x[0], w[0], int64(s.OutH()), int64(s.OutW())}, y)
	return s, map[int32]pass{backendForward: forward, backendBackwardData: backwardData, backendBackwardFilter: backwardWeights}[op.kind]
}
