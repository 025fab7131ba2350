/* Prints the values of constants.go and the layouts of api.go's structs, from the CUDA headers. To update
 * constants.json, run in this folder, with a CUDA toolkit and cuDNN 9 installed:
 *
 *   gcc -w -I/usr/local/cuda/include constants.c -o constants && ./constants >constants.json
 *
 * The current file is from the headers in the wheels nvidia-cuda-runtime-cu12, nvidia-cublas-cu12, nvidia-cudnn-cu12 and
 * nvidia-cuda-nvrtc-cu12, with one -I for each. They lack crt/host_defines.h and nv/target, which C does not need: a
 * file crt/host_defines.h of empty macros (CUDARTAPI, __host__, ...) replaced the former, and
 * -D__CUDA_FP16_H__ -D__CUDA_BF16_H__ -D__half=short -D__nv_bfloat16=short excluded what includes the latter.
 */
#include <stddef.h>
#include <stdio.h>

#include <cublasLt.h>
#include <cuda.h>
#include <cudnn.h>
#include <nvrtc.h>

static const char *comma = "";

static void row(const char *name, long value) {
  printf("%s\n  \"%s\": %ld", comma, name, value);
  comma = ",";
}

#define VALUE(name) row(#name, (long)(name))
#define SIZE(type) row("sizeof " #type, (long)sizeof(type))
#define OFFSET(type, field) row(#type "." #field, (long)offsetof(type, field))
#define PERF(type)           \
  SIZE(type);                \
  OFFSET(type, algo);        \
  OFFSET(type, status);      \
  OFFSET(type, time);        \
  OFFSET(type, memory);      \
  OFFSET(type, determinism); \
  OFFSET(type, mathType)

int main(void) {
  printf("{");
  VALUE(CUDA_ERROR_OUT_OF_MEMORY);
  VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
  VALUE(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  VALUE(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  VALUE(CU_STREAM_NON_BLOCKING);
  VALUE(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL);
  VALUE(NVRTC_ERROR_COMPILATION);
  VALUE(CUDNN_DATA_FLOAT);
  VALUE(CUDNN_DATA_BFLOAT16);
  VALUE(CUDNN_TENSOR_NHWC);
  VALUE(CUDNN_CROSS_CORRELATION);
  VALUE(CUDNN_DEFAULT_MATH);
  VALUE(CUDNN_TENSOR_OP_MATH);
  VALUE(CUDNN_FMA_MATH);
  VALUE(CUDNN_DETERMINISTIC);
  VALUE(CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED);
  VALUE(CUDA_R_32F);
  VALUE(CUDA_R_16BF);
  VALUE(CUBLAS_COMPUTE_32F);
  VALUE(CUBLAS_OP_N);
  VALUE(CUBLAS_OP_T);
  VALUE(CUBLASLT_MATMUL_DESC_TRANSA);
  VALUE(CUBLASLT_MATMUL_DESC_TRANSB);
  VALUE(CUBLASLT_MATMUL_DESC_BIAS_POINTER);
  VALUE(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES);
  VALUE(CUBLAS_STATUS_ALLOC_FAILED);
  PERF(cudnnConvolutionFwdAlgoPerf_t);
  PERF(cudnnConvolutionBwdDataAlgoPerf_t);
  PERF(cudnnConvolutionBwdFilterAlgoPerf_t);
  SIZE(cublasLtMatmulAlgo_t);
  SIZE(cublasLtMatmulHeuristicResult_t);
  OFFSET(cublasLtMatmulHeuristicResult_t, algo);
  OFFSET(cublasLtMatmulHeuristicResult_t, workspaceSize);
  OFFSET(cublasLtMatmulHeuristicResult_t, state);
  OFFSET(cublasLtMatmulHeuristicResult_t, wavesCount);
  SIZE(size_t);
  SIZE(CUdevice);
  SIZE(CUdeviceptr);
  printf("\n}\n");
  return 0;
}
