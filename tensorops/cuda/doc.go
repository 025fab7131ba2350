// Package cuda is the NVIDIA driver of the tensor engine: it trains the networks of package nn on a GPU, without cgo.
// Importing it for its side effect makes the device "cuda" available to package ssl:
//
//	import _ "github.com/sdr-ml/sdr/tensorops/cuda"
//
// From the bottom up:
//
//   - api.go, library.go, status.go: the C functions that are called, bound by purego; where the libraries are looked
//     for; their errors. The driver, cuDNN 9, and cublasLt and NVRTC of CUDA 12 or 13 are opened when a device is.
//   - device.go, memory.go, queue.go, compile.go: a GPU with one stream, the memory it lends, kernels by name.
//   - kernels: the CUDA C sources, one translation unit for either precision of activations, float32 or bfloat16.
//   - norm.go, pooling.go, loss.go, optimizer.go on those kernels, conv.go on cuDNN, matmul.go on cublasLt.
//   - network.go: all that as nn.Device. order.go, store.go: the weights of all sub-nets in device memory.
//   - learner.go, driver.go, examine.go: ssl.Learner and ssl.Driver; a step is one CUDA graph.
//
// Activations are NHWC, sums and statistics float32 or wider, and no kernel adds in an order that depends on timing.
//
// The tests need no GPU: shim_test.go compiles the kernels for the CPU, and fake_test.go is a GPU behind the C
// functions. With SDR_TEST_GPU=1 they run on a GPU instead; `make test-gpu` builds them for a machine without Go.
package cuda
