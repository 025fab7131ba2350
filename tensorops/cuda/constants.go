package cuda

// Constants of the C headers, untyped so that they fit int32, uint32 and the statuses. testdata/constants.c prints them
// from the headers, and api_test.go compares.

// CUDA driver (cuda.h).
const (
	errorOutOfMemory = 2 // CUDA_ERROR_OUT_OF_MEMORY

	attributeMajor           = 75 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR
	attributeMinor           = 76 // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR
	attributeMultiprocessors = 16 // CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT

	streamNonBlocking  = 1 // CU_STREAM_NON_BLOCKING: does not wait for the default stream
	captureThreadLocal = 1 // CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
)

// NVRTC (nvrtc.h).
const rtcCompilation = 6 // NVRTC_ERROR_COMPILATION: see the log

// cuDNN (cudnn_graph.h, cudnn_ops.h, cudnn_cnn.h).
const (
	dnnFloat    = 0 // CUDNN_DATA_FLOAT
	dnnBFloat16 = 9 // CUDNN_DATA_BFLOAT16

	dnnNHWC             = 1 // CUDNN_TENSOR_NHWC
	dnnCrossCorrelation = 1 // CUDNN_CROSS_CORRELATION

	dnnDefaultMath  = 0 // CUDNN_DEFAULT_MATH: allows TF32
	dnnTensorOpMath = 1 // CUDNN_TENSOR_OP_MATH
	dnnFMAMath      = 3 // CUDNN_FMA_MATH: no tensor cores, so no TF32

	dnnDeterministic = 1 // CUDNN_DETERMINISTIC

	dnnAllocFailed = 4004 // CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED
)

// cuDNN's graph interface (cudnn_graph.h).
const (
	// Kinds of descriptors.
	backendConvolution    = 1  // CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR
	backendEngine         = 2  // CUDNN_BACKEND_ENGINE_DESCRIPTOR
	backendEngineConfig   = 3  // CUDNN_BACKEND_ENGINECFG_DESCRIPTOR
	backendHeuristics     = 4  // CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR
	backendPlan           = 5  // CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR
	backendKnobChoice     = 7  // CUDNN_BACKEND_KNOB_CHOICE_DESCRIPTOR
	backendForward        = 10 // CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR
	backendBackwardFilter = 11 // CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR
	backendBackwardData   = 12 // CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR
	backendGraph          = 15 // CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR
	backendVariantPack    = 16 // CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR
	backendTensor         = 17 // CUDNN_BACKEND_TENSOR_DESCRIPTOR

	// Kinds of attributes.
	typeHandle          = 0  // CUDNN_TYPE_HANDLE
	typeDataType        = 1  // CUDNN_TYPE_DATA_TYPE
	typeInt64           = 3  // CUDNN_TYPE_INT64
	typeFloat           = 4  // CUDNN_TYPE_FLOAT
	typePointer         = 6  // CUDNN_TYPE_VOID_PTR
	typeConvolutionMode = 7  // CUDNN_TYPE_CONVOLUTION_MODE
	typeHeuristics      = 8  // CUDNN_TYPE_HEUR_MODE
	typeKnobType        = 9  // CUDNN_TYPE_KNOB_TYPE
	typeNumericalNote   = 11 // CUDNN_TYPE_NUMERICAL_NOTE
	typeDescriptor      = 15 // CUDNN_TYPE_BACKEND_DESCRIPTOR
	typeBehaviorNote    = 19 // CUDNN_TYPE_BEHAVIOR_NOTE

	// Attributes.
	attrConvolutionType        = 100  // CUDNN_ATTR_CONVOLUTION_COMP_TYPE
	attrConvolutionMode        = 101  // CUDNN_ATTR_CONVOLUTION_CONV_MODE
	attrConvolutionDilations   = 102  // CUDNN_ATTR_CONVOLUTION_DILATIONS
	attrConvolutionStrides     = 103  // CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES
	attrConvolutionPostPadding = 104  // CUDNN_ATTR_CONVOLUTION_POST_PADDINGS
	attrConvolutionPrePadding  = 105  // CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS
	attrConvolutionDimensions  = 106  // CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS
	attrHeuristicsMode         = 200  // CUDNN_ATTR_ENGINEHEUR_MODE
	attrHeuristicsGraph        = 201  // CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH
	attrHeuristicsResults      = 202  // CUDNN_ATTR_ENGINEHEUR_RESULTS
	attrConfigEngine           = 300  // CUDNN_ATTR_ENGINECFG_ENGINE
	attrConfigKnobs            = 302  // CUDNN_ATTR_ENGINECFG_KNOB_CHOICES
	attrPlanHandle             = 400  // CUDNN_ATTR_EXECUTION_PLAN_HANDLE
	attrPlanConfig             = 401  // CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG
	attrPlanWorkspace          = 402  // CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE
	attrKnobType               = 600  // CUDNN_ATTR_KNOB_CHOICE_KNOB_TYPE
	attrKnobValue              = 601  // CUDNN_ATTR_KNOB_CHOICE_KNOB_VALUE
	attrForwardAlpha           = 700  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA
	attrForwardBeta            = 701  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA
	attrForwardConvolution     = 702  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC
	attrForwardW               = 703  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W
	attrForwardX               = 704  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X
	attrForwardY               = 705  // CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y
	attrDataAlpha              = 706  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA
	attrDataBeta               = 707  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA
	attrDataConvolution        = 708  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC
	attrDataW                  = 709  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W
	attrDataDX                 = 710  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX
	attrDataDY                 = 711  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY
	attrFilterAlpha            = 712  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA
	attrFilterBeta             = 713  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA
	attrFilterConvolution      = 714  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC
	attrFilterDW               = 715  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW
	attrFilterX                = 716  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X
	attrFilterDY               = 717  // CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY
	attrGraphHandle            = 800  // CUDNN_ATTR_OPERATIONGRAPH_HANDLE
	attrGraphOperations        = 801  // CUDNN_ATTR_OPERATIONGRAPH_OPS
	attrTensorAlignment        = 900  // CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT
	attrTensorType             = 901  // CUDNN_ATTR_TENSOR_DATA_TYPE
	attrTensorDimensions       = 902  // CUDNN_ATTR_TENSOR_DIMENSIONS
	attrTensorStrides          = 903  // CUDNN_ATTR_TENSOR_STRIDES
	attrTensorID               = 906  // CUDNN_ATTR_TENSOR_UNIQUE_ID
	attrPackIDs                = 1000 // CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS
	attrPackPointers           = 1001 // CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS
	attrPackWorkspace          = 1003 // CUDNN_ATTR_VARIANT_PACK_WORKSPACE
	attrEngineGraph            = 1300 // CUDNN_ATTR_ENGINE_OPERATION_GRAPH
	attrEngineIndex            = 1301 // CUDNN_ATTR_ENGINE_GLOBAL_INDEX
	attrEngineNumericalNotes   = 1303 // CUDNN_ATTR_ENGINE_NUMERICAL_NOTE
	attrEngineBehaviorNotes    = 1305 // CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE

	// Values of attributes.
	heuristicsModeFallback = 2 // CUDNN_HEUR_MODE_FALLBACK
	heuristicsModeA        = 3 // CUDNN_HEUR_MODE_A
	noteTensorCore         = 0 // CUDNN_NUMERICAL_NOTE_TENSOR_CORE
	noteDownConvert        = 1 // CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS
	noteReducedPrecision   = 2 // CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION
	noteNondeterministic   = 4 // CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC
	noteRuntimeCompilation = 0 // CUDNN_BEHAVIOR_NOTE_RUNTIME_COMPILATION
)

// cublasLt (cublas_api.h, cublasLt.h), with CUDA's data types (library_types.h).
const (
	realFloat    = 0  // CUDA_R_32F
	realBFloat16 = 14 // CUDA_R_16BF
	compute32F   = 68 // CUBLAS_COMPUTE_32F: no TF32

	opN = 0 // CUBLAS_OP_N
	opT = 1 // CUBLAS_OP_T

	descTransA      = 3 // CUBLASLT_MATMUL_DESC_TRANSA
	descTransB      = 4 // CUBLASLT_MATMUL_DESC_TRANSB
	descBiasPointer = 8 // CUBLASLT_MATMUL_DESC_BIAS_POINTER

	preferenceWorkspace = 1 // CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES

	ltAllocFailed = 3 // CUBLAS_STATUS_ALLOC_FAILED
)
