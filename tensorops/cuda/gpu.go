package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// gpu is what the devices on a GPU share: its context, the kernels and the choices of algorithms. Errors are sticky: after the
// first, which err holds, nothing more is run.
type gpu struct {
	*api
	precision     ssl.Precision // of products
	bf16          bool          // whether that is BF16
	deterministic bool
	tuning        *kernels.Tuning // nil: algorithms are measured anew
	name          string
	id            int32 // the driver's number of the GPU
	limit         int64 // on the memory, in bytes; 0 if there is none

	ctx        context
	module     module
	functions  map[string]function
	blas       ltHandle
	planner    dnnHandle // with which plans are made
	algorithms map[passKey]algorithm
	products   map[productKey]*product

	devices int // that are open
	err     error
}

// openDevice opens the first GPU that the process sees (see CUDA_VISIBLE_DEVICES), for networks of one precision.
func openDevice(a *api, opts ssl.Device, p ssl.Precision) (_ *device, err error) {
	g := &gpu{
		api: a, precision: cmp.Or(p, ssl.FP32), bf16: p == ssl.BF16, deterministic: opts.Deterministic, tuning: opts.Tuning, limit: opts.Memory,
		functions: map[string]function{}, algorithms: map[passKey]algorithm{}, products: map[productKey]*product{},
	}
	runtime.LockOSThread() // contexts are per thread
	defer runtime.UnlockOSThread()
	defer func() {
		if err != nil && g.devices == 0 {
			err = errors.Join(err, g.close())
		}
	}()
	if g.id, err = firstGPU(a); err != nil {
		return nil, err
	}
	if g.name, err = a.gpuName(g.id); err != nil {
		return nil, err
	}
	if g.tuning != nil {
		g.tuning.Join(kernels.Part{Kind: kernels.GPU, Name: g.name})
	}
	major, minor, err := capability(a, g.id)
	if err != nil {
		return nil, err
	}
	if err := a.check(a.cuDevicePrimaryCtxRetain(&g.ctx, g.id), "cuDevicePrimaryCtxRetain of %s", g.name); err != nil {
		return nil, err
	}
	if err := a.check(a.cuCtxSetCurrent(g.ctx), "cuCtxSetCurrent"); err != nil {
		return nil, err
	}
	if err := g.load(major, minor); err != nil {
		return nil, err
	}
	if err := a.checkBLAS(a.cublasLtCreate(&g.blas), "cublasLtCreate"); err != nil {
		return nil, err
	}
	if err := a.checkDNN(a.cudnnCreate(&g.planner), "cudnnCreate"); err != nil {
		return nil, err
	}
	return newDevice(g)
}

// load compiles the kernels, or reads them from the user's cache folder, and looks them up by name.
func (g *gpu) load(major, minor int) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("cuda: no cache folder for compiled kernels: %w; set HOME or XDG_CACHE_HOME", err)
	}
	cubin, err := compile(&g.nvrtc, source(), g.precision, major, minor, filepath.Join(cache, "sdr", "cuda"))
	if err != nil {
		return err
	}
	if err := g.check(g.cuModuleLoadData(&g.module, unsafe.Pointer(&cubin[0])), "cuModuleLoadData of the kernels for sm_%d%d", major, minor); err != nil {
		return err
	}
	for _, name := range kernelNames() {
		var f function
		if err := g.check(g.cuModuleGetFunction(&f, g.module, name), "cuModuleGetFunction of %s", name); err != nil {
			return err
		}
		g.functions[name] = f
	}
	return nil
}

// enter makes the context current on the goroutine's thread until leave is called.
func (g *gpu) enter() (leave func(), err error) {
	runtime.LockOSThread()
	if err := g.check(g.cuCtxSetCurrent(g.ctx), "cuCtxSetCurrent"); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return runtime.UnlockOSThread, nil
}

// fail records an error if it is the first.
func (g *gpu) fail(err error) {
	if g.err == nil && err != nil {
		g.err = err
	}
}

// try is check for queued work: it records the error.
func (g *gpu) try(s status, format string, args ...any) {
	if s != 0 {
		g.fail(g.check(s, format, args...))
	}
}

// pin allocates pinned host memory.
func (g *gpu) pin(bytes int) (host unsafe.Pointer, err error) {
	err = g.check(g.cuMemHostAlloc(&host, uint64(bytes), 0), "cuMemHostAlloc of %s", size(uint64(bytes)))
	return host, err
}

// close frees what the devices have shared.
func (g *gpu) close() error {
	if g.ctx == 0 {
		return nil
	}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	for _, how := range g.algorithms {
		how.close()
	}
	if g.planner != 0 {
		note(g.checkDNN(g.cudnnDestroy(g.planner), "cudnnDestroy"))
	}
	for _, p := range g.products {
		p.close(g)
	}
	if g.blas != 0 {
		note(g.checkBLAS(g.cublasLtDestroy(g.blas), "cublasLtDestroy"))
	}
	if g.module != 0 {
		note(g.check(g.cuModuleUnload(g.module), "cuModuleUnload"))
	}
	note(g.check(g.cuDevicePrimaryCtxRelease(g.id), "cuDevicePrimaryCtxRelease"))
	g.ctx = 0
	slog.Debug("closed the GPU", "name", g.name)
	return errors.Join(errs...)
}

// capability returns the compute capability of a GPU; an error if it is too old for the kernels.
func capability(a *api, id int32) (major, minor int, err error) {
	var of [2]int32
	for i, what := range []int32{attributeMajor, attributeMinor} {
		if err := a.check(a.cuDeviceGetAttribute(&of[i], what, id), "cuDeviceGetAttribute"); err != nil {
			return 0, 0, err
		}
	}
	if major, minor = int(of[0]), int(of[1]); major < 8 {
		return 0, 0, fmt.Errorf("cuda: the GPU has compute capability %d.%d, but 8.0 or newer is needed; use --device cpu", major, minor)
	}
	return major, minor, nil
}

// firstGPU initializes the driver and returns the first GPU.
func firstGPU(a *api) (id int32, err error) {
	if err := a.check(a.cuInit(0), "cuInit"); err != nil {
		return 0, err
	}
	var count int32
	if err := a.check(a.cuDeviceGetCount(&count), "cuDeviceGetCount"); err != nil {
		return 0, err
	}
	if count == 0 {
		return 0, errors.New("cuda: the driver sees no GPU; is one hidden by CUDA_VISIBLE_DEVICES?")
	}
	return id, a.check(a.cuDeviceGet(&id, 0), "cuDeviceGet")
}
