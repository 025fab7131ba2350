// Package cuda runs the networks of package nn on NVIDIA GPUs, without cgo, and searches and clusters there. Importing it for
// its side effect makes the device "cuda" available to package ssl:
//
//	import _ "github.com/sdr-ml/sdr/tensorops/cuda"
//
// From the bottom up:
//
//   - api.go, library.go, status.go: the C functions, bound by purego; the search for their libraries; their errors. The
//     driver, cuDNN 9, and cublasLt and NVRTC of CUDA 12 or 13 are opened together with the device.
//   - gpu.go, device.go, memory.go, queue.go, compile.go: a GPU, a stream of work for it with a memory allocator, and the kernels
//     by name.
//   - kernels: the CUDA C sources, compiled as one translation unit per precision.
//   - norm.go, pooling.go, loss.go, optimizer.go, conv_kernels.go, depthwise.go: operations on those kernels; conv.go chooses between
//     conv_kernels.go and cuDNN; matmul.go is on cublasLt.
//   - views.go: views, from images and what was drawn for each.
//   - network.go: these operations as an nn.Device. order.go, store.go: the weights of all sub-nets in device memory.
//   - vectors.go, held.go, assign.go: kernels.Vectors and kernels.Held, nearest neighbors and k-means, in float32 without TF32.
//   - learner.go, track.go, extractor.go, driver.go, examine.go: ssl.Learner, whose steps are CUDA graphs on one or several
//     streams, ssl.Extractor and ssl.Driver.
//
// Activations are NHWC, sums and statistics are float32 or wider, and no kernel adds in an order that depends on
// timing.
//
// The tests need no GPU: shim_test.go compiles the kernels for the CPU, and fake_test.go implements the C functions as
// a simulated GPU. With SDR_TEST_GPU=1 they run on a real GPU instead; `make test-gpu` builds them for a machine
// without Go.
package cuda
