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
