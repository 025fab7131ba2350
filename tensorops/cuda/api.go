package cuda

import (
	"fmt"
	"reflect"
	"unsafe"

	"github.com/ebitengine/purego"
)

// api holds the libraries' C functions, bound to Go without cgo. They are fields, named after the C functions without
// version suffix, so that tests can replace them; where the symbol differs, a tag has it. The functions' signatures are
// fixed by a library's major version, which load requires in the file name.
//
// Handles are opaque C pointers, device pointers are uint64, and functions write their results through pointers. No
// function keeps a pointer to Go memory after it returns, except asynchronous copies: their host memory, which the
// garbage collector does not move, must stay reachable until the stream is synchronized.
type api struct {
	driver
	nvrtc
	cudnn
	blasLt
}

// Handles of the driver (libcuda).
type (
	context   uintptr // CUcontext
	stream    uintptr // CUstream
	module    uintptr // CUmodule
	function  uintptr // CUfunction
	graph     uintptr // CUgraph
	graphExec uintptr // CUgraphExec
	event     uintptr // CUevent
)

// driver has the functions of the CUDA driver, libcuda.so.1. A device is an int32.
type driver struct {
	cuInit             func(flags uint32) status
	cuDriverGetVersion func(version *int32) status // 12040 is 12.4
	cuGetErrorName     func(s status, name **byte) status
	cuGetErrorString   func(s status, text **byte) status

	cuDeviceGetCount     func(count *int32) status
	cuDeviceGet          func(device *int32, ordinal int32) status
	cuDeviceGetName      func(name *byte, size, device int32) status
	cuDeviceTotalMem     func(bytes *uint64, device int32) status `c:"cuDeviceTotalMem_v2"`
	cuDeviceGetAttribute func(value *int32, attribute, device int32) status

	cuDevicePrimaryCtxRetain  func(ctx *context, device int32) status
	cuDevicePrimaryCtxRelease func(device int32) status `c:"cuDevicePrimaryCtxRelease_v2"`
	cuCtxSetCurrent           func(ctx context) status

	cuMemGetInfo      func(free, total *uint64) status        `c:"cuMemGetInfo_v2"`
	cuMemAlloc        func(addr *uint64, bytes uint64) status `c:"cuMemAlloc_v2"`
	cuMemFree         func(addr uint64) status                `c:"cuMemFree_v2"`
	cuMemHostAlloc    func(host *unsafe.Pointer, bytes uint64, flags uint32) status
	cuMemFreeHost     func(host unsafe.Pointer) status
	cuMemcpyHtoDAsync func(to uint64, from unsafe.Pointer, bytes uint64, queue stream) status `c:"cuMemcpyHtoDAsync_v2"`
	cuMemcpyDtoHAsync func(to unsafe.Pointer, from uint64, bytes uint64, queue stream) status `c:"cuMemcpyDtoHAsync_v2"`
	cuMemsetD8Async   func(to uint64, value uint8, bytes uint64, queue stream) status

	cuStreamCreate       func(queue *stream, flags uint32) status
	cuStreamDestroy      func(queue stream) status `c:"cuStreamDestroy_v2"`
	cuStreamSynchronize  func(queue stream) status
	cuStreamWaitEvent    func(queue stream, e event, flags uint32) status
	cuStreamBeginCapture func(queue stream, mode int32) status `c:"cuStreamBeginCapture_v2"`
	cuStreamEndCapture   func(queue stream, captured *graph) status

	cuEventCreate      func(e *event, flags uint32) status
	cuEventRecord      func(e event, queue stream) status
	cuEventSynchronize func(e event) status
	cuEventElapsedTime func(ms *float32, from, to event) status // between two events that have completed
	cuEventDestroy     func(e event) status                     `c:"cuEventDestroy_v2"`

	cuGraphInstantiate func(exec *graphExec, from graph, flags uint64) status `c:"cuGraphInstantiateWithFlags"`
	cuGraphLaunch      func(exec graphExec, queue stream) status
	cuGraphExecDestroy func(exec graphExec) status
	cuGraphDestroy     func(g graph) status

	cuModuleLoadData    func(m *module, image unsafe.Pointer) status
	cuModuleUnload      func(m module) status
	cuModuleGetFunction func(f *function, m module, name string) status

	// params is an array of pointers to the arguments, which are read before it returns.
	cuLaunchKernel func(f function, gridX, gridY, gridZ, blockX, blockY, blockZ, shared uint32, queue stream,
		params, extra unsafe.Pointer) status
}

// program is an NVRTC program (nvrtcProgram).
type program uintptr

// nvrtc has the functions of the runtime compiler, libnvrtc.so.13 or .12.
type nvrtc struct {
	nvrtcVersion        func(major, minor *int32) rtcStatus
	nvrtcGetErrorString func(s rtcStatus) string
	nvrtcCreateProgram  func(p *program, source, name string, headers int32, sources, names unsafe.Pointer) rtcStatus
	nvrtcDestroyProgram func(p *program) rtcStatus
	nvrtcCompileProgram func(p program, count int32, options **byte) rtcStatus

	nvrtcGetProgramLogSize func(p program, bytes *uint64) rtcStatus // including the final NUL
	nvrtcGetProgramLog     func(p program, log *byte) rtcStatus
	nvrtcGetCUBINSize      func(p program, bytes *uint64) rtcStatus
	nvrtcGetCUBIN          func(p program, cubin *byte) rtcStatus
}

// Handles of cuDNN.
type (
	dnnHandle             uintptr // cudnnHandle_t
	tensorDescriptor      uintptr // cudnnTensorDescriptor_t
	filterDescriptor      uintptr // cudnnFilterDescriptor_t
	convolutionDescriptor uintptr // cudnnConvolutionDescriptor_t
	descriptor            uintptr // cudnnBackendDescriptor_t, of anything in the graph interface
)

// algoPerf describes one of cuDNN's algorithms for a convolution. cudnnConvolutionFwdAlgoPerf_t, ...BwdDataAlgoPerf_t
// and ...BwdFilterAlgoPerf_t have this layout.
type algoPerf struct {
	algo        int32
	status      dnnStatus
	time        float32 // ms; -1 if not measured
	memory      uint64  // bytes of workspace
	determinism int32
	mathType    int32
	_           [3]int32
}

// cudnn has the functions of cuDNN 9's two interfaces to convolutions, libcudnn.so.9: the older one, with a function for
// each pass, and the graph interface. Data types, formats, modes, math types and algorithms are int32, as are kinds and
// names of what the graph interface describes. Tensor sizes are in the order n, c, h, w, whatever the format.
type cudnn struct {
	cudnnGetVersion       func() uint64 // 90800 is 9.8.0
	cudnnGetCudartVersion func() uint64 // of the CUDA that it was built for; 12080 is 12.8
	// cudnnGetLastErrorString writes the thread's last message, empty if there is none.
	cudnnGetLastErrorString func(message *byte, bytes uint64)
	cudnnGetErrorString     func(s dnnStatus) string
	cudnnCreate             func(h *dnnHandle) dnnStatus
	cudnnDestroy            func(h dnnHandle) dnnStatus
	cudnnSetStream          func(h dnnHandle, queue stream) dnnStatus

	cudnnCreateTensorDescriptor  func(t *tensorDescriptor) dnnStatus
	cudnnSetTensor4dDescriptor   func(t tensorDescriptor, format, kind, n, c, h, w int32) dnnStatus
	cudnnDestroyTensorDescriptor func(t tensorDescriptor) dnnStatus

	// The data type precedes the format here; k, c, h, w are the number of filters, their channels and their size.
	cudnnCreateFilterDescriptor  func(f *filterDescriptor) dnnStatus
	cudnnSetFilter4dDescriptor   func(f filterDescriptor, kind, format, k, c, h, w int32) dnnStatus
	cudnnDestroyFilterDescriptor func(f filterDescriptor) dnnStatus

	cudnnCreateConvolutionDescriptor func(c *convolutionDescriptor) dnnStatus
	cudnnSetConvolution2dDescriptor  func(c convolutionDescriptor, padH, padW, strideH, strideW, dilationH, dilationW,
		mode, compute int32) dnnStatus
	cudnnSetConvolutionMathType       func(c convolutionDescriptor, math int32) dnnStatus
	cudnnDestroyConvolutionDescriptor func(c convolutionDescriptor) dnnStatus

	// These measure, overwriting the output, and return the fastest first.
	cudnnFindConvolutionForwardAlgorithmEx func(h dnnHandle, xd tensorDescriptor, x uint64, wd filterDescriptor, w uint64,
		c convolutionDescriptor, yd tensorDescriptor, y uint64, most int32, found *int32, results *algoPerf,
		workspace, size uint64) dnnStatus
	cudnnFindConvolutionBackwardDataAlgorithmEx func(h dnnHandle, wd filterDescriptor, w uint64, dyd tensorDescriptor,
		dy uint64, c convolutionDescriptor, dxd tensorDescriptor, dx uint64, most int32, found *int32, results *algoPerf,
		workspace, size uint64) dnnStatus
	cudnnFindConvolutionBackwardFilterAlgorithmEx func(h dnnHandle, xd tensorDescriptor, x uint64, dyd tensorDescriptor,
		dy uint64, c convolutionDescriptor, dwd filterDescriptor, dw uint64, most int32, found *int32, results *algoPerf,
		workspace, size uint64) dnnStatus

	// These use heuristics.
	cudnnGetConvolutionForwardAlgorithm func(h dnnHandle, xd tensorDescriptor, wd filterDescriptor,
		c convolutionDescriptor, yd tensorDescriptor, most int32, found *int32,
		results *algoPerf) dnnStatus `c:"cudnnGetConvolutionForwardAlgorithm_v7"`
	cudnnGetConvolutionBackwardDataAlgorithm func(h dnnHandle, wd filterDescriptor, dyd tensorDescriptor,
		c convolutionDescriptor, dxd tensorDescriptor, most int32, found *int32,
		results *algoPerf) dnnStatus `c:"cudnnGetConvolutionBackwardDataAlgorithm_v7"`
	cudnnGetConvolutionBackwardFilterAlgorithm func(h dnnHandle, xd, dyd tensorDescriptor, c convolutionDescriptor,
		dwd filterDescriptor, most int32, found *int32,
		results *algoPerf) dnnStatus `c:"cudnnGetConvolutionBackwardFilterAlgorithm_v7"`

	// alpha and beta are float32 in host memory.
	cudnnConvolutionForward func(h dnnHandle, alpha unsafe.Pointer, xd tensorDescriptor, x uint64, wd filterDescriptor,
		w uint64, c convolutionDescriptor, algo int32, workspace, size uint64, beta unsafe.Pointer, yd tensorDescriptor,
		y uint64) dnnStatus
	cudnnConvolutionBackwardData func(h dnnHandle, alpha unsafe.Pointer, wd filterDescriptor, w uint64,
		dyd tensorDescriptor, dy uint64, c convolutionDescriptor, algo int32, workspace, size uint64, beta unsafe.Pointer,
		dxd tensorDescriptor, dx uint64) dnnStatus
	cudnnConvolutionBackwardFilter func(h dnnHandle, alpha unsafe.Pointer, xd tensorDescriptor, x uint64,
		dyd tensorDescriptor, dy uint64, c convolutionDescriptor, algo int32, workspace, size uint64, beta unsafe.Pointer,
		dwd filterDescriptor, dw uint64) dnnStatus

	// The graph interface. An attribute has count values of the C type that belongs to its kind; to read those of kind
	// descriptor, the list has to consist of empty descriptors.
	cudnnBackendCreateDescriptor  func(kind int32, d *descriptor) dnnStatus
	cudnnBackendSetAttribute      func(d descriptor, name, kind int32, count int64, values unsafe.Pointer) dnnStatus
	cudnnBackendGetAttribute      func(d descriptor, name, kind int32, most int64, count *int64, values unsafe.Pointer) dnnStatus
	cudnnBackendFinalize          func(d descriptor) dnnStatus
	cudnnBackendDestroyDescriptor func(d descriptor) dnnStatus
	cudnnBackendExecute           func(h dnnHandle, plan, operands descriptor) dnnStatus
}

// Handles of cublasLt.
type (
	ltHandle         uintptr // cublasLtHandle_t
	matmulDesc       uintptr // cublasLtMatmulDesc_t
	matrixLayout     uintptr // cublasLtMatrixLayout_t
	matmulPreference uintptr // cublasLtMatmulPreference_t
)

// matmulAlgo is one of cublasLt's algorithms (cublasLtMatmulAlgo_t), opaque to us.
type matmulAlgo [8]uint64

// heuristicResult describes an algorithm (cublasLtMatmulHeuristicResult_t).
type heuristicResult struct {
	algo          matmulAlgo
	workspaceSize uint64   // bytes
	state         ltStatus // if not 0, the other fields are invalid
	_             float32  // wavesCount
	_             [4]int32
}

// blasLt has the functions of cublasLt, libcublasLt.so.13 or .12. Data types, operations and attributes are int32.
// Matrices are column-major; ld is the distance between columns.
type blasLt struct {
	cublasLtGetVersion      func() uint64 // 120804 is 12.8.4
	cublasLtGetStatusString func(s ltStatus) string
	cublasLtCreate          func(h *ltHandle) ltStatus
	cublasLtDestroy         func(h ltHandle) ltStatus

	cublasLtMatmulDescCreate       func(d *matmulDesc, compute, scale int32) ltStatus
	cublasLtMatmulDescSetAttribute func(d matmulDesc, attribute int32, value unsafe.Pointer, bytes uintptr) ltStatus
	cublasLtMatmulDescDestroy      func(d matmulDesc) ltStatus

	cublasLtMatrixLayoutCreate  func(l *matrixLayout, kind int32, rows, columns uint64, ld int64) ltStatus
	cublasLtMatrixLayoutDestroy func(l matrixLayout) ltStatus

	cublasLtMatmulPreferenceCreate       func(p *matmulPreference) ltStatus
	cublasLtMatmulPreferenceSetAttribute func(p matmulPreference, attribute int32, value unsafe.Pointer,
		bytes uintptr) ltStatus
	cublasLtMatmulPreferenceDestroy func(p matmulPreference) ltStatus

	cublasLtMatmulAlgoGetHeuristic func(h ltHandle, d matmulDesc, la, lb, lc, ld matrixLayout, p matmulPreference,
		most int32, results *heuristicResult, found *int32) ltStatus

	// alpha and beta are in host memory; algo is a *matmulAlgo.
	cublasLtMatmul func(h ltHandle, desc matmulDesc, alpha unsafe.Pointer, a uint64, la matrixLayout, b uint64,
		lb matrixLayout, beta unsafe.Pointer, c uint64, lc matrixLayout, d uint64, ld matrixLayout, algo unsafe.Pointer,
		workspace, size uint64, queue stream) ltStatus
}

// symbol returns the symbol of the function in a field.
func symbol(f reflect.StructField) string {
	if name, ok := f.Tag.Lookup("c"); ok {
		return name
	}
	return f.Name
}

// bind sets the fields of a struct of functions, passed by pointer, to the addresses that find returns. It fails on the
// first one that is missing.
func bind(functions any, find func(symbol string) (uintptr, error)) error {
	v := reflect.ValueOf(functions).Elem()
	for i := range v.NumField() {
		name := symbol(v.Type().Field(i))
		address, err := find(name)
		if err != nil {
			return fmt.Errorf("it lacks the function %s: %w", name, err)
		}
		// reflect can set unexported fields only through their address.
		field := v.Field(i)
		purego.RegisterFunc(reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Interface(), address)
	}
	return nil
}
