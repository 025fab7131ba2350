package cuda

import (
	"errors"
	"runtime"
	"slices"
	"unsafe"
)

// device is a stream of work for a GPU, in the order in which it is queued, with what only one stream can use at a time.
// What several devices queue may run at the same time.
type device struct {
	*gpu
	stream    stream
	clock     [2]event // for time
	dnn       dnnHandle
	convs     []*conv
	memory    *allocator
	workspace Buffer // bytes, for convolutions and products
	needed    int    // bytes of it that the chosen algorithms use
	closed    bool
}

// newDevice returns one more device on a GPU, which is closed with the last of them.
func newDevice(g *gpu) (_ *device, err error) {
	d := &device{gpu: g, memory: newAllocator(g.api, g.limit)}
	g.devices++
	defer func() {
		if err != nil {
			err = errors.Join(err, d.close())
		}
	}()
	if err := g.check(g.cuStreamCreate(&d.stream, streamNonBlocking), "cuStreamCreate"); err != nil {
		return nil, err
	}
	for i := range d.clock {
		if err := g.check(g.cuEventCreate(&d.clock[i], 0), "cuEventCreate"); err != nil {
			return nil, err
		}
	}
	if err := g.checkDNN(g.cudnnCreate(&d.dnn), "cudnnCreate"); err != nil {
		return nil, err
	}
	return d, g.checkDNN(g.cudnnSetStream(d.dnn, d.stream), "cudnnSetStream")
}

// close closes the device, which frees its memory and, if it is the last one, everything on the GPU. It does not report errors
// of a GPU that had failed before.
func (d *device) close() error {
	if d.closed {
		return nil
	}
	d.closed = true
	var errs []error
	note := func(err error) { errs = append(errs, err) }
	for _, v := range d.convs {
		v.close()
	}
	note(d.memory.close())
	if d.dnn != 0 {
		note(d.checkDNN(d.cudnnDestroy(d.dnn), "cudnnDestroy"))
	}
	for _, e := range d.clock {
		if e != 0 {
			note(d.check(d.cuEventDestroy(e), "cuEventDestroy"))
		}
	}
	if d.stream != 0 {
		note(d.check(d.cuStreamDestroy(d.stream), "cuStreamDestroy"))
	}
	if d.devices--; d.devices == 0 {
		note(d.gpu.close())
	}
	if d.err != nil {
		return nil
	}
	return errors.Join(errs...)
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
// workspaceLimit, and at least what the algorithms need that were chosen before.
func (d *device) growWorkspace() {
	d.free(d.workspace)
	d.workspace = d.bytes(max(d.needed, int(min(workspaceLimit, d.memory.available()/4))))
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

// recovers reports whether work has failed but the GPU goes on, and forgets the error then.
func (d *device) recovers() bool {
	failed := d.err
	if failed == nil {
		return false
	}
	if d.err = nil; d.wait() != nil {
		d.err = failed
		return false
	}
	return true
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
