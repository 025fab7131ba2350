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

// fakeEngines are what the simulated heuristics suggest, in this order.
var fakeEngines = []struct {
	engine
	notes, behavior []int32
	status          dnnStatus // of the plan
	failure         dnnStatus // of running it
	workspace       int64
}{
	{engine: engine{2, []knob{{2, 1}}}, notes: []int32{noteTensorCore, noteReducedPrecision}},
	{engine: engine{3, nil}, behavior: []int32{noteRuntimeCompilation}},
	{engine: engine{4, nil}, status: 3000},
	{engine: engine{5, nil}, workspace: 1 << 40},
	{engine: engine{6, nil}, failure: 5000},
	{engine: engine{7, []knob{{2, 1}}}, notes: []int32{noteTensorCore}},
	{engine: engine{1, []knob{{2, 1}, {13, 0}}}, workspace: 3000},
	{engine: engine{1, []knob{{2, 1}, {13, 0}}}, workspace: 3000},
	{engine: engine{1, []knob{{2, 5}, {13, 1}}}, workspace: 4000},
}

// fakeAttributes has the kinds of attributes by name.
var fakeAttributes = map[int32]int32{
	convolutionType: typeDataType, convolutionMode: typeConvolutionMode, convolutionDilations: typeInt64, convolutionStrides: typeInt64,
	convolutionPostPadding: typeInt64, convolutionPrePadding: typeInt64, convolutionDimensions: typeInt64,
	heuristicsMode: typeHeuristics, heuristicsGraph: typeDescriptor, heuristicsResults: typeDescriptor,
	configEngine: typeDescriptor, configKnobs: typeDescriptor,
	planHandle: typeHandle, planConfig: typeDescriptor, planWorkspace: typeInt64, knobChoiceType: typeKnobType, knobChoiceValue: typeInt64,
	graphHandle: typeHandle, graphOperations: typeDescriptor,
	tensorAlignment: typeInt64, tensorType: typeDataType, tensorDimensions: typeInt64, tensorStrides: typeInt64, tensorNumber: typeInt64,
	packNumbers: typeInt64, packPointers: typePointer, packWorkspace: typePointer,
	engineGraph: typeDescriptor, engineIndex: typeInt64, engineNumericalNotes: typeNumericalNote, engineBehaviorNotes: typeBehaviorNote,
	forwardAlpha: typeFloat, forwardBeta: typeFloat, forwardConvolution: typeDescriptor, forwardWeights: typeDescriptor,
	forwardInput: typeDescriptor, forwardOutput: typeDescriptor,
	dataAlpha: typeFloat, dataBeta: typeFloat, dataConvolution: typeDescriptor, dataWeights: typeDescriptor,
	dataInput: typeDescriptor, dataOutput: typeDescriptor,
	weightsAlpha: typeFloat, weightsBeta: typeFloat, weightsConvolution: typeDescriptor, weightsWeights: typeDescriptor,
	weightsInput: typeDescriptor, weightsOutput: typeDescriptor,
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
	a.cudnnBackendDestroyDescriptor = func(descriptor) dnnStatus { f.destroyed++; return 0 }
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
			require.NotZero(f.t, given[dnnHandle](f, d, planHandle)[0])
			e := f.engineOf(d)
			return fakeEngines[e].status
		case backendHeuristics:
			f.eager("heuristics")
			require.Contains(f.t, []int32{heuristicsA, heuristicsFallback}, given[int32](f, d, heuristicsMode)[0])
			f.passOf(referred(f, d, heuristicsGraph, backendGraph))
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
		suggested := func() int { return d.values[engineIndex].(int) } // what a configuration or its engine is of
		switch name {
		case heuristicsResults:
			require.True(f.t, d.final)
			*count = int64(len(fakeEngines))
			for i := range fakeEngines {
				empty(i).values[engineIndex] = i
			}
		case configEngine:
			*count = 1
			empty(0).values[engineIndex] = suggested()
		case configKnobs:
			*count = int64(len(fakeEngines[suggested()].knobs))
			for i, k := range fakeEngines[suggested()].knobs {
				to := empty(i)
				to.values[knobChoiceType], to.values[knobChoiceValue] = []int32{k.kind}, []int64{k.value}
			}
		case engineIndex:
			*count, *(*int64)(values) = 1, fakeEngines[suggested()].index
		case engineNumericalNotes:
			*count = int64(copy(unsafe.Slice((*int32)(values), most), fakeEngines[suggested()].notes))
		case engineBehaviorNotes:
			*count = int64(copy(unsafe.Slice((*int32)(values), most), fakeEngines[suggested()].behavior))
		case knobChoiceType:
			*count, *(*int32)(values) = 1, given[int32](f, d, name)[0]
		case knobChoiceValue:
			*count, *(*int64)(values) = 1, given[int64](f, d, name)[0]
		case planWorkspace:
			require.True(f.t, d.final)
			*count, *(*int64)(values) = 1, fakeEngines[f.engineOf(d)].workspace
		default:
			require.Fail(f.t, "an attribute cannot be read", "%d", name)
		}
		return 0
	}
	a.cudnnBackendExecute = func(h dnnHandle, of, operands descriptor) dnnStatus {
		plan, pack := get[*fakeDescriptor](f, uintptr(of)), get[*fakeDescriptor](f, uintptr(operands))
		require.True(f.t, plan.final && pack.final)
		e := fakeEngines[f.engineOf(plan)]
		require.Equal(f.t, []int64{planInput, planWeights, planOutput}, given[int64](f, pack, packNumbers))
		at := given[uint64](f, pack, packPointers)
		for _, addr := range at {
			require.Zero(f.t, addr%planAlign)
		}
		f.memory(given[uint64](f, pack, packWorkspace)[0], uint64(e.workspace), "workspace")
		if e.failure != 0 {
			return e.failure
		}
		config := referred(f, plan, planConfig, backendEngineConfig)
		s, p := f.passOf(referred(f, referred(f, config, configEngine, backendEngine), engineGraph, backendGraph))
		f.do(f.handles[h-1], func() {
			f.ran(e.String())
			f.convolve(s, p, at[0], at[1], at[2])
		})
		return 0
	}
}

// engineOf returns the place in fakeEngines of a plan's engine with its knobs.
func (f *fake) engineOf(plan *fakeDescriptor) int {
	config := referred(f, plan, planConfig, backendEngineConfig)
	e := engine{index: given[int64](f, referred(f, config, configEngine, backendEngine), engineIndex)[0]}
	if _, ok := config.values[configKnobs]; ok {
		for _, k := range given[descriptor](f, config, configKnobs) {
			choice := get[*fakeDescriptor](f, uintptr(k))
			require.True(f.t, choice.final)
			e.knobs = append(e.knobs, knob{given[int32](f, choice, knobChoiceType)[0], given[int64](f, choice, knobChoiceValue)[0]})
		}
	}
	for i, known := range fakeEngines {
		if known.String() == e.String() {
			return i
		}
	}
	require.FailNow(f.t, "no such engine", "%s", e)
	return 0
}

// passOf returns the pass that a graph describes.
func (f *fake) passOf(graph *fakeDescriptor) (s kernels.Conv, p pass) {
	require.NotZero(f.t, given[dnnHandle](f, graph, graphHandle)[0])
	list := given[descriptor](f, graph, graphOperations)
	require.Len(f.t, list, 1)
	op := get[*fakeDescriptor](f, uintptr(list[0]))
	require.True(f.t, op.final)
	names := map[int32][6]int32{
		backendForward:         {forwardAlpha, forwardBeta, forwardConvolution, forwardInput, forwardWeights, forwardOutput},
		backendBackwardData:    {dataAlpha, dataBeta, dataConvolution, dataInput, dataWeights, dataOutput},
		backendBackwardWeights: {weightsAlpha, weightsBeta, weightsConvolution, weightsInput, weightsWeights, weightsOutput},
	}[op.kind]
	require.Equal(f.t, []float32{1}, given[float32](f, op, names[0]))
	require.Equal(f.t, []float32{0}, given[float32](f, op, names[1]))
	var dims [3][]int64 // n, c, h, w
	kind := int32(dnnFloat)
	if f.bf16 {
		kind = dnnBFloat16
	}
	for i, number := range []int64{planInput, planWeights, planOutput} {
		tensor := referred(f, op, names[3+i], backendTensor)
		dims[i] = given[int64](f, tensor, tensorDimensions)
		c, h, w := dims[i][1], dims[i][2], dims[i][3]
		require.Equal(f.t, []int64{h * w * c, 1, w * c, c}, given[int64](f, tensor, tensorStrides), "NHWC")
		require.Equal(f.t, []int64{number}, given[int64](f, tensor, tensorNumber))
		require.Equal(f.t, []int64{planAlign}, given[int64](f, tensor, tensorAlignment))
		require.Equal(f.t, []int32{kind}, given[int32](f, tensor, tensorType))
	}
	how := referred(f, op, names[2], backendConvolution)
	stride, pad := given[int64](f, how, convolutionStrides), given[int64](f, how, convolutionPrePadding)
	require.Equal(f.t, []int64{2}, given[int64](f, how, convolutionDimensions))
	require.Equal(f.t, []int64{stride[0], stride[0]}, stride)
	require.Equal(f.t, []int64{pad[0], pad[0]}, pad)
	require.Equal(f.t, pad, given[int64](f, how, convolutionPostPadding))
	require.Equal(f.t, []int64{1, 1}, given[int64](f, how, convolutionDilations))
	require.Equal(f.t, []int32{dnnFloat}, given[int32](f, how, convolutionType))
	require.Equal(f.t, []int32{dnnCrossCorrelation}, given[int32](f, how, convolutionMode))
	x, w, y := dims[0], dims[1], dims[2]
	s = kernels.Conv{N: int(x[0]), H: int(x[2]), W: int(x[3]), Cin: int(x[1]), Cout: int(w[0]), KH: int(w[2]), KW: int(w[3]), Stride: int(stride[0]), Pad: int(pad[0])}
	require.Equal(f.t, x[1], w[1])
	require.Equal(f.t, []int64{x[0], w[0], int64(s.OutH()), int64(s.OutW())}, y)
	return s, map[int32]pass{backendForward: forward, backendBackwardData: backwardData, backendBackwardWeights: backwardWeights}[op.kind]
}
