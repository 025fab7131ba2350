package cuda

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// device is a GPU with its context, a single stream for all work, the kernels and the libraries' handles. Errors are
// sticky: after the first, which err holds, nothing more is run.
type device struct {
	*api
	precision     ssl.Precision // of products
	bf16          bool          // whether that is BF16
	deterministic bool
	tuning        *kernels.Tuning // nil: algorithms are measured anew
	name          string
	id            int32 // the driver's number of the device

	ctx       context
	stream    stream
	clock     [2]event // for time
	module    module
	functions map[string]function
	memory    *allocator
	dnn       dnnHandle
	blas      ltHandle

	workspace  Buffer // bytes, for convolutions and products
	needed     int    // bytes of it that the chosen algorithms use
	algorithms map[passKey]algorithm
	products   map[productKey]*product
	convs      []*conv

	err error
}

// openDevice opens the first GPU that the process sees (see CUDA_VISIBLE_DEVICES), for networks of one precision.
func openDevice(a *api, opts ssl.Device, p ssl.Precision) (_ *device, err error) {
	d := &device{
		api: a, precision: cmp.Or(p, ssl.FP32), bf16: p == ssl.BF16, deterministic: opts.Deterministic, tuning: opts.Tuning,
		functions: map[string]function{}, algorithms: map[passKey]algorithm{}, products: map[productKey]*product{},
	}
	runtime.LockOSThread() // contexts are per thread
	defer runtime.UnlockOSThread()
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if d.id, err = firstGPU(a); err != nil {
		return nil, err
	}
	if d.name, err = a.gpuName(d.id); err != nil {
		return nil, err
	}
	if d.tuning != nil {
		d.tuning.Join(kernels.Part{Kind: kernels.GPU, Name: d.name})
	}
	major, minor, err := capability(a, d.id)
	if err != nil {
		return nil, err
	}
	if err := a.check(a.cuDevicePrimaryCtxRetain(&d.ctx, d.id), "cuDevicePrimaryCtxRetain of %s", d.name); err != nil {
		return nil, err
	}
	if err := a.check(a.cuCtxSetCurrent(d.ctx), "cuCtxSetCurrent"); err != nil {
		return nil, err
	}
	if err := a.check(a.cuStreamCreate(&d.stream, streamNonBlocking), "cuStreamCreate"); err != nil {
		return nil, err
	}
	for i := range d.clock {
		if err := a.check(a.cuEventCreate(&d.clock[i], 0), "cuEventCreate"); err != nil {
			return nil, err
		}
	}
	d.memory = newAllocator(a, opts.Memory)
	if err := d.load(major, minor); err != nil {
		return nil, err
	}
	if err := a.checkDNN(a.cudnnCreate(&d.dnn), "cudnnCreate"); err != nil {
		return nil, err
	}
	if err := a.checkDNN(a.cudnnSetStream(d.dnn, d.stream), "cudnnSetStream"); err != nil {
		return nil, err
	}
	return d, a.checkBLAS(a.cublasLtCreate(&d.blas), "cublasLtCreate")
}

// load compiles the kernels, or reads them from the user's cache folder, and looks them up by name.
func (d *device) load(major, minor int) error {
	cache, err := os.UserCacheDir()
	if err != nil {
		return fmt.Errorf("cuda: no cache folder for compiled kernels: %w; set HOME or XDG_CACHE_HOME", err)
	}
	cubin, err := compile(&d.nvrtc, source(), d.precision, major, minor, filepath.Join(cache, "sdr", "cuda"))
	if err != nil {
		return err
	}
	if err := d.check(d.cuModuleLoadData(&d.module, unsafe.Pointer(&cubin[0])), "cuModuleLoadData of the kernels for sm_%d%d", major, minor); err != nil {
		return err
	}
	for _, name := range kernelNames() {
		var f function
		if err := d.check(d.cuModuleGetFunction(&f, d.module, name), "cuModuleGetFunction of %s", name); err != nil {
			return err
		}
		d.functions[name] = f
	}
	return nil
}

// enter makes the device's context current on the goroutine's thread until leave is called.
func (d *device) enter() (leave func(), err error) {
	runtime.LockOSThread()
	if err := d.check(d.cuCtxSetCurrent(d.ctx), "cuCtxSetCurrent"); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return runtime.UnlockOSThread, nil
}

// fail records an error if it is the first.
func (d *device) fail(err error) {
	if d.err == nil && err != nil {
		d.err = err
	}
}

// try is check for queued work: it records the error.
func (d *device) try(s status, format string, args ...any) {
	if s != 0 {
		d.fail(d.check(s, format, args...))
	}
}

// launch implements queue.
func (d *device) launch(kernel string, grid, block dim3, args ...any) {
	if d.err != nil {
		return
	}
	f, ok := d.functions[kernel]
	if !ok {
		panic("cuda: no kernel named " + kernel)
	}
	params := encode(args)
	d.try(d.cuLaunchKernel(f, grid[0], grid[1], grid[2], block[0], block[1], block[2], 0, d.stream, unsafe.Pointer(&params[0]), nil),
		"cuLaunchKernel of %s, %v blocks of %v threads", kernel, grid, block)
	runtime.KeepAlive(params)
}

// bytes implements memory: it returns an array of n bytes; the zero Buffer after an error.
func (d *device) bytes(n int) Buffer { return d.alloc(n, n, "a step") }

// growWorkspace makes the workspace large enough for almost any algorithm: a quarter of the free memory, up to
// workspaceLimit.
func (d *device) growWorkspace() {
	d.free(d.workspace)
	d.workspace = d.bytes(int(min(workspaceLimit, d.memory.available()/4)))
}

// fitWorkspace shrinks the workspace to what the chosen algorithms need.
func (d *device) fitWorkspace() {
	d.free(d.workspace)
	if d.err == nil {
		d.fail(d.memory.trim()) // for other devices of the process
	}
	d.workspace = d.bytes(d.needed)
}

// floats implements memory: it returns an array of n float32.
func (d *device) floats(n int) Buffer { return d.alloc(n, 4*n, "a step") }

// acts returns an array of n activations; an error names what they are for.
func (d *device) acts(n int, what string) Buffer { return d.alloc(n, n*d.actSize(), what) }

func (d *device) alloc(n, bytes int, what string) Buffer {
	if d.err != nil || n == 0 {
		return Buffer{}
	}
	addr, err := d.memory.alloc(bytes, what)
	if err != nil {
		d.fail(err)
		return Buffer{}
	}
	return Buffer{Addr: addr, Len: n}
}

// free frees arrays.
func (d *device) free(buffers ...Buffer) {
	for _, b := range buffers {
		if b.Addr != 0 {
			d.memory.free(b.Addr)
		}
	}
}

// actSize returns the size of an activation in bytes.
func (d *device) actSize() int {
	if d.bf16 {
		return 2
	}
	return 4
}

// slice returns the elements [from, to) of a buffer of elements of size bytes.
func (b Buffer) slice(from, to, size int) Buffer {
	if b.Addr == 0 || from == to {
		return Buffer{}
	}
	return Buffer{Addr: b.Addr + uint64(from)*uint64(size), Len: to - from}
}

// upload copies host memory to the device. While a stream is captured, host must be pinned.
func (d *device) upload(to Buffer, host unsafe.Pointer, bytes int) {
	if d.err == nil {
		d.try(d.cuMemcpyHtoDAsync(to.Addr, host, uint64(bytes), d.stream), "cuMemcpyHtoDAsync of %s", size(uint64(bytes)))
	}
}

// download copies device memory to the host, with the same restriction. The copy is complete after wait.
func (d *device) download(host unsafe.Pointer, from Buffer, bytes int) {
	if d.err == nil {
		d.try(d.cuMemcpyDtoHAsync(host, from.Addr, uint64(bytes), d.stream), "cuMemcpyDtoHAsync of %s", size(uint64(bytes)))
	}
}

// zero sets an array of the given number of bytes to 0.
func (d *device) zero(b Buffer, bytes int) {
	if d.err == nil && b.Addr != 0 {
		d.try(d.cuMemsetD8Async(b.Addr, 0, uint64(bytes), d.stream), "cuMemsetD8Async of %s", size(uint64(bytes)))
	}
}

// wait waits for all queued work and returns the first error.
func (d *device) wait() error {
	if d.err == nil {
		d.try(d.cuStreamSynchronize(d.stream), "cuStreamSynchronize")
	}
	return d.err
}

// time returns the milliseconds that work takes on the GPU: the median of a few runs in a graph, or of the first run if
// that takes more than limit. It must not be called while a stream is captured.
func (d *device) time(limit float32, work func()) float32 {
	const rounds = 3
	elapsed := func(run func()) (ms float32) {
		d.try(d.cuEventRecord(d.clock[0], d.stream), "cuEventRecord")
		run()
		d.try(d.cuEventRecord(d.clock[1], d.stream), "cuEventRecord")
		if d.wait() == nil {
			d.try(d.cuEventElapsedTime(&ms, d.clock[0], d.clock[1]), "cuEventElapsedTime")
		}
		return ms
	}
	work() // loads what is missing
	once, runs := elapsed(work), 1
	switch {
	case d.err != nil:
		return once
	case once < 0.1: // mostly the time to launch
		runs = 8
	case once > limit:
		return once
	}
	exec := d.capture("a measurement", func() {
		for range runs {
			work()
		}
	})
	var all [rounds]float32
	for i := range all {
		all[i] = elapsed(func() { d.replay(exec, "a measurement") }) / float32(runs)
	}
	d.drop(exec)
	slices.Sort(all[:])
	return all[rounds/2]
}

// capture makes a graph of the work that a function queues.
func (d *device) capture(what string, queue func()) (exec graphExec) {
	d.try(d.cuStreamBeginCapture(d.stream, captureThreadLocal), "cuStreamBeginCapture of %s", what)
	queue()
	var g graph
	d.try(d.cuStreamEndCapture(d.stream, &g), "cuStreamEndCapture of %s", what)
	if d.err == nil {
		d.try(d.cuGraphInstantiate(&exec, g, 0), "cuGraphInstantiate of %s", what)
	}
	if g != 0 {
		d.try(d.cuGraphDestroy(g), "cuGraphDestroy")
	}
	return exec
}

// replay queues a graph.
func (d *device) replay(exec graphExec, what string) {
	if d.err == nil {
		d.try(d.cuGraphLaunch(exec, d.stream), "cuGraphLaunch of %s", what)
	}
}

// drop destroys a graph, unless it is zero.
func (d *device) drop(exec graphExec) {
	if exec != 0 {
		d.try(d.cuGraphExecDestroy(exec), "cuGraphExecDestroy")
	}
}

// pin allocates pinned host memory.
func (d *device) pin(bytes int) (host unsafe.Pointer, err error) {
	err = d.check(d.cuMemHostAlloc(&host, uint64(bytes), 0), "cuMemHostAlloc of %s", size(uint64(bytes)))
	return host, err
}

// close frees everything. It does not report errors of a device that had failed before.
func (d *device) close() error {
	if d.ctx == 0 {
		return nil
	}
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	for _, p := range d.products {
		p.close(d)
	}
	for _, v := range d.convs {
		v.close()
	}
	if d.blas != 0 {
		note(d.checkBLAS(d.cublasLtDestroy(d.blas), "cublasLtDestroy"))
	}
	if d.dnn != 0 {
		note(d.checkDNN(d.cudnnDestroy(d.dnn), "cudnnDestroy"))
	}
	if d.memory != nil {
		note(d.memory.close())
	}
	if d.module != 0 {
		note(d.check(d.cuModuleUnload(d.module), "cuModuleUnload"))
	}
	for _, e := range d.clock {
		if e != 0 {
			note(d.check(d.cuEventDestroy(e), "cuEventDestroy"))
		}
	}
	if d.stream != 0 {
		note(d.check(d.cuStreamDestroy(d.stream), "cuStreamDestroy"))
	}
	note(d.check(d.cuDevicePrimaryCtxRelease(d.id), "cuDevicePrimaryCtxRelease"))
	d.ctx = 0
	if err := errors.Join(errs...); err != nil && d.err == nil {
		return err
	}
	slog.Debug("closed the GPU", "name", d.name)
	return nil
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
