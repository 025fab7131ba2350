package cuda

import (
	_ "embed"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/stretchr/testify/require"
)

//go:embed testdata/constants.json
var headerConstants []byte

// TestConstants compares constants and layouts with those of the C headers, as printed by testdata/constants.c.
func TestConstants(t *testing.T) {
	var want map[string]int
	require.NoError(t, json.Unmarshal(headerConstants, &want))
	var p algoPerf
	var r heuristicResult
	got := map[string]int{
		"CUDA_ERROR_OUT_OF_MEMORY":                                       errorOutOfMemory,
		"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR":                   attributeMajor,
		"CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR":                   attributeMinor,
		"CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT":                       attributeMultiprocessors,
		"CU_STREAM_NON_BLOCKING":                                         streamNonBlocking,
		"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL":                            captureThreadLocal,
		"NVRTC_ERROR_COMPILATION":                                        rtcCompilation,
		"CUDNN_DATA_FLOAT":                                               dnnFloat,
		"CUDNN_DATA_BFLOAT16":                                            dnnBFloat16,
		"CUDNN_TENSOR_NHWC":                                              dnnNHWC,
		"CUDNN_CROSS_CORRELATION":                                        dnnCrossCorrelation,
		"CUDNN_DEFAULT_MATH":                                             dnnDefaultMath,
		"CUDNN_TENSOR_OP_MATH":                                           dnnTensorOpMath,
		"CUDNN_FMA_MATH":                                                 dnnFMAMath,
		"CUDNN_DETERMINISTIC":                                            dnnDeterministic,
		"CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED":           dnnAllocFailed,
		"CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR":                           backendConvolution,
		"CUDNN_BACKEND_ENGINE_DESCRIPTOR":                                backendEngine,
		"CUDNN_BACKEND_ENGINECFG_DESCRIPTOR":                             backendEngineConfig,
		"CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR":                            backendHeuristics,
		"CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR":                        backendPlan,
		"CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR":                           backendKnobChoice,
		"CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR":         backendForward,
		"CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR": backendBackwardFilter,
		"CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR":   backendBackwardData,
		"CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR":                        backendGraph,
		"CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR":                          backendVariantPack,
		"CUDNN_BACKEND_TENSOR_DESCRIPTOR":                                backendTensor,
		"CUDNN_TYPE_HANDLE":                                              typeHandle,
		"CUDNN_TYPE_DATA_TYPE":                                           typeDataType,
		"CUDNN_TYPE_INT64":                                               typeInt64,
		"CUDNN_TYPE_FLOAT":                                               typeFloat,
		"CUDNN_TYPE_VOID_PTR":                                            typePointer,
		"CUDNN_TYPE_CONVOLUTION_MODE":                                    typeConvolutionMode,
		"CUDNN_TYPE_HEUR_MODE":                                           typeHeuristics,
		"CUDNN_TYPE_KNOB_TYPE":                                           typeKnobType,
		"CUDNN_TYPE_NUMERICAL_NOTE":                                      typeNumericalNote,
		"CUDNN_TYPE_BACKEND_DESCRIPTOR":                                  typeDescriptor,
		"CUDNN_TYPE_BEHAVIOR_NOTE":                                       typeBehaviorNote,
		"CUDNN_ATTR_CONVOLUTION_COMP_TYPE":                               attrConvolutionType,
		"CUDNN_ATTR_CONVOLUTION_CONV_MODE":                               attrConvolutionMode,
		"CUDNN_ATTR_CONVOLUTION_DILATIONS":                               attrConvolutionDilations,
		"CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES":                          attrConvolutionStrides,
		"CUDNN_ATTR_CONVOLUTION_POST_PADDINGS":                           attrConvolutionPostPadding,
		"CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS":                            attrConvolutionPrePadding,
		"CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS":                            attrConvolutionDimensions,
		"CUDNN_ATTR_ENGINEHEUR_MODE":                                     attrHeuristicsMode,
		"CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH":                          attrHeuristicsGraph,
		"CUDNN_ATTR_ENGINEHEUR_RESULTS":                                  attrHeuristicsResults,
		"CUDNN_ATTR_ENGINECFG_ENGINE":                                    attrConfigEngine,
		"CUDNN_ATTR_ENGINECFG_KNOB_CHOICES":                              attrConfigKnobs,
		"CUDNN_ATTR_EXECUTION_PLAN_HANDLE":                               attrPlanHandle,
		"CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG":                        attrPlanConfig,
		"CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE":                       attrPlanWorkspace,
		"CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE":                               attrKnobType,
		"CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE":                              attrKnobValue,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA":                 attrForwardAlpha,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA":                  attrForwardBeta,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC":             attrForwardConvolution,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W":                     attrForwardW,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X":                     attrForwardX,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y":                     attrForwardY,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA":                attrDataAlpha,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA":                 attrDataBeta,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC":            attrDataConvolution,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W":                    attrDataW,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX":                   attrDataDX,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY":                   attrDataDY,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA":              attrFilterAlpha,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA":               attrFilterBeta,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC":          attrFilterConvolution,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW":                 attrFilterDW,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X":                  attrFilterX,
		"CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY":                 attrFilterDY,
		"CUDNN_ATTR_OPERATIONGRAPH_HANDLE":                               attrGraphHandle,
		"CUDNN_ATTR_OPERATIONGRAPH_OPS":                                  attrGraphOperations,
		"CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT":                               attrTensorAlignment,
		"CUDNN_ATTR_TENSOR_DATA_TYPE":                                    attrTensorType,
		"CUDNN_ATTR_TENSOR_DIMENSIONS":                                   attrTensorDimensions,
		"CUDNN_ATTR_TENSOR_STRIDES":                                      attrTensorStrides,
		"CUDNN_ATTR_TENSOR_UNIQUE_ID":                                    attrTensorID,
		"CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS":                             attrPackIDs,
		"CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS":                          attrPackPointers,
		"CUDNN_ATTR_VARIANT_PACK_WORKSPACE":                              attrPackWorkspace,
		"CUDNN_ATTR_ENGINE_OPERATION_GRAPH":                              attrEngineGraph,
		"CUDNN_ATTR_ENGINE_GLOBAL_INDEX":                                 attrEngineIndex,
		"CUDNN_ATTR_ENGINE_NUMERICAL_NOTE":                               attrEngineNumericalNotes,
		"CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE":                                attrEngineBehaviorNotes,
		"CUDNN_HEUR_MODE_FALLBACK":                                       heuristicsModeFallback,
		"CUDNN_HEUR_MODE_A":                                              heuristicsModeA,
		"CUDNN_NUMERICAL_NOTE_TENSOR_CORE":                               noteTensorCore,
		"CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS":                       noteDownConvert,
		"CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION":               noteReducedPrecision,
		"CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC":                          noteNondeterministic,
		"CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION":                        noteRuntimeCompilation,
		"CUDA_R_32F":                               realFloat,
		"CUDA_R_16BF":                              realBFloat16,
		"CUBLAS_COMPUTE_32F":                       compute32F,
		"CUBLAS_OP_N":                              opN,
		"CUBLAS_OP_T":                              opT,
		"CUBLASLT_MATMUL_DESC_TRANSA":              descTransA,
		"CUBLASLT_MATMUL_DESC_TRANSB":              descTransB,
		"CUBLASLT_MATMUL_DESC_BIAS_POINTER":        descBiasPointer,
		"CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES": preferenceWorkspace,
		"CUBLAS_STATUS_ALLOC_FAILED":               ltAllocFailed,

		"sizeof cublasLtMatmulAlgo_t":                   int(unsafe.Sizeof(r.algo)),
		"sizeof cublasLtMatmulHeuristicResult_t":        int(unsafe.Sizeof(r)),
		"cublasLtMatmulHeuristicResult_t.algo":          int(unsafe.Offsetof(r.algo)),
		"cublasLtMatmulHeuristicResult_t.workspaceSize": int(unsafe.Offsetof(r.workspaceSize)),
		"cublasLtMatmulHeuristicResult_t.state":         int(unsafe.Offsetof(r.state)),
		"cublasLtMatmulHeuristicResult_t.wavesCount":    int(unsafe.Offsetof(r.state) + unsafe.Sizeof(r.state)),

		"sizeof size_t":      int(unsafe.Sizeof(uintptr(0))),
		"sizeof CUdevice":    int(unsafe.Sizeof(int32(0))),
		"sizeof CUdeviceptr": int(unsafe.Sizeof(Buffer{}.Addr)),
	}
	for _, c := range []string{"Fwd", "BwdData", "BwdFilter"} {
		c = "cudnnConvolution" + c + "AlgoPerf_t"
		got["sizeof "+c] = int(unsafe.Sizeof(p))
		got[c+".algo"] = int(unsafe.Offsetof(p.algo))
		got[c+".status"] = int(unsafe.Offsetof(p.status))
		got[c+".time"] = int(unsafe.Offsetof(p.time))
		got[c+".memory"] = int(unsafe.Offsetof(p.memory))
		got[c+".determinism"] = int(unsafe.Offsetof(p.determinism))
		got[c+".mathType"] = int(unsafe.Offsetof(p.mathType))
	}
	require.Equal(t, want, got)
}

// TestBind calls functions bound to addresses, to check symbols, arguments (on the stack, too) and return values.
func TestBind(t *testing.T) {
	var seen [16]uintptr
	matmul := purego.NewCallback(func(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p uintptr) uintptr {
		seen = [16]uintptr{a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p}
		return 7
	})
	other := purego.NewCallback(func() uintptr { return 120905 })
	var symbols []string
	var b blasLt
	require.NoError(t, bind(&b, func(symbol string) (uintptr, error) {
		symbols = append(symbols, symbol)
		if symbol == "cublasLtMatmul" {
			return matmul, nil
		}
		return other, nil
	}))
	require.Len(t, symbols, reflect.TypeFor[blasLt]().NumField())
	one, zero := float32(1), float32(0)
	var algo matmulAlgo
	alpha, beta, how := unsafe.Pointer(&one), unsafe.Pointer(&zero), unsafe.Pointer(&algo)
	s := b.cublasLtMatmul(1, 2, alpha, 4, 5, 6, 7, beta, 9, 10, 11, 12, how, 1<<40, 15, 16)
	require.Equal(t, ltStatus(7), s)
	require.Equal(t, [16]uintptr{
		1, 2, uintptr(alpha), 4, 5, 6, 7, uintptr(beta), 9, 10, 11, 12, uintptr(how), 1 << 40, 15, 16,
	}, seen)
	require.Equal(t, uint64(120905), b.cublasLtGetVersion())

	symbols = nil
	var d driver
	err := bind(&d, func(symbol string) (uintptr, error) {
		symbols = append(symbols, symbol)
		if symbol == "cuMemFree_v2" {
			return 0, errors.New("undefined symbol")
		}
		return other, nil
	})
	require.EqualError(t, err, "it lacks the function cuMemFree_v2: undefined symbol")
	require.Contains(t, symbols, "cuMemAlloc_v2")
	require.Contains(t, symbols, "cuInit")
}

// TestStatus checks the errors made of statuses.
func TestStatus(t *testing.T) {
	name, text := []byte("CUDA_ERROR_OUT_OF_MEMORY\x00"), []byte("out of memory\x00")
	a := &api{}
	a.cuGetErrorName = func(_ status, to **byte) status { *to = &name[0]; return 0 }
	a.cuGetErrorString = func(_ status, to **byte) status { *to = &text[0]; return 0 }
	require.NoError(t, a.check(0, "nothing"))
	err := a.check(errorOutOfMemory, "cuMemAlloc of %s for %s", size(3<<29), "conv 512x32x32x64")
	require.EqualError(t, err,
		"cuda: cuMemAlloc of 1.5 GiB for conv 512x32x32x64: CUDA_ERROR_OUT_OF_MEMORY (out of memory)")
	require.ErrorIs(t, err, ssl.ErrOutOfMemory)
	require.NotErrorIs(t, a.check(1, "cuInit"), ssl.ErrOutOfMemory)
	a.cuGetErrorName = func(status, **byte) status { return 1 }
	require.EqualError(t, a.check(12345, "cuInit"), "cuda: cuInit: CUresult 12345, unknown to this driver")

	a.cudnnGetErrorString = func(dnnStatus) string { return "CUDNN_STATUS_BAD_PARAM" }
	a.cudnnGetLastErrorString = func(to *byte, bytes uint64) {
		copy(unsafe.Slice(to, bytes), "xDesc is null\x00")
	}
	require.EqualError(t, a.checkDNN(2000, "cudnnCreate"), "cuda: cudnnCreate: CUDNN_STATUS_BAD_PARAM (xDesc is null)")
	require.ErrorIs(t, a.checkDNN(dnnAllocFailed, "x"), ssl.ErrOutOfMemory)
	a.cublasLtGetStatusString = func(ltStatus) string { return "an unsupported value" }
	require.EqualError(t, a.checkBLAS(7, "cublasLtMatmul"),
		"cuda: cublasLtMatmul: cublasStatus_t 7 (an unsupported value)")
	require.ErrorIs(t, a.checkBLAS(ltAllocFailed, "x"), ssl.ErrOutOfMemory)
}

// TestGPUName checks the description of a GPU.
func TestGPUName(t *testing.T) {
	a := &api{}
	a.cuDeviceGetName = func(name *byte, size, _ int32) status {
		copy(unsafe.Slice(name, size), "NVIDIA A100\x00")
		return 0
	}
	a.cuDeviceTotalMem = func(bytes *uint64, _ int32) status { *bytes = 80 << 30; return 0 }
	a.cuDeviceGetAttribute = func(value *int32, attribute, _ int32) status {
		*value = map[int32]int32{attributeMajor: 8, attributeMinor: 0, attributeMultiprocessors: 108}[attribute]
		return 0
	}
	name, err := a.gpuName(0)
	require.NoError(t, err)
	require.Equal(t, "NVIDIA A100 (80 GiB, 108 multiprocessors, compute capability 8.0)", name)
}
