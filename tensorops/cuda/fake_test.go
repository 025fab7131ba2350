package cuda

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// fake is a simulated GPU behind the C functions that the package calls. It runs kernels as compiled by the shim, and
// computes convolutions and matrix products according to their descriptors. It checks what a real GPU requires: memory
// is allocated and large enough, nothing is allocated, tuned or waited for while a step is captured, and graphs copy
// only from and to pinned memory. Streams run as late as is allowed, and in turns that are drawn.
type fake struct {
	t      *testing.T
	p      ssl.Precision
	bf16   bool
	shim   *shim
	pool   *kernels.Pool
	arity  map[string]int // number of arguments per kernel
	blocks map[uint64][]uint64
	pinned map[uint64][]uint64
	names  []string // of functions; a handle is an index + 1

	described []any                  // tensors, filters, ...; a handle is an index + 1
	destroyed map[uintptr]bool       // descriptors by handle
	streams   [][]fakeWork           // queued; a handle is an index + 1
	open      int                    // number of streams that were not destroyed
	most      int                    // of open at any time
	handles   []stream               // of cuDNN's handles; a handle is an index + 1
	random    *rand.Rand             // draws the turns of streams
	capturing stream                 // that is captured; 0 if none is
	graph     []func()               // being captured
	graphs    [][]func()             // captured; a handle is an index + 1
	dropped   int                    // number of graphs destroyed
	execs     map[graphExec][]func() // instantiated
	calls     map[string]int
	freeBytes uint64
	events    int
	major     int32  // of the compute capability
	cudart    uint64 // the version of CUDA that cuDNN was built for
	engines   []fakeEngine
	broken    string // a kernel that cannot be launched
	dead      bool   // whether the GPU does not work any more
	few       bool   // whether cuDNN's older interface has no algorithms

	costs   map[string]float32 // simulated milliseconds of a kernel or of a convolution's algorithm; 1 if missing
	now     float32            // simulated milliseconds of work so far
	records []fakeEvent        // a handle is an index + 1
}

// fakeWork is what a stream does next, once an event has been recorded so many times, if there is one to wait for.
type fakeWork struct {
	run   func()
	after event
	times int
}

// fakeEvent is an event: the time when it was last recorded, and how many times that was queued and done.
type fakeEvent struct {
	at           float32
	queued, done int
}

type (
	fakeTensor struct{ kind, n, c, h, w int32 }
	fakeFilter struct{ kind, k, c, h, w int32 }
	fakeConv   struct{ pad, stride, math int32 }
	fakeMatmul struct{ transA, transB int32 }
	fakeLayout struct {
		kind          int32
		rows, columns uint64
		ld            int64
	}
)

func newFake(t *testing.T, p ssl.Precision) *fake {
	f := &fake{
		t: t, p: p, bf16: p == ssl.BF16, shim: newShim(t, p), pool: kernels.NewPool(1),
		arity: kernelArguments(), blocks: map[uint64][]uint64{}, pinned: map[uint64][]uint64{}, calls: map[string]int{},
		freeBytes: 1 << 30, major: 9, cudart: 13000, execs: map[graphExec][]func(){}, destroyed: map[uintptr]bool{}, engines: fakeEngines, random: rand.New(rand.NewPCG(1, 2)),
	}
	t.Cleanup(f.pool.Close)
	return f
}

// do queues work, or records it if the stream is captured.
func (f *fake) do(s stream, work func()) {
	if f.capturing == s {
		f.graph = append(f.graph, work)
		return
	}
	f.streams[s-1] = append(f.streams[s-1], fakeWork{run: work})
}

// finish has all streams work until one of them has nothing to do.
func (f *fake) finish(s stream) { f.work(func() bool { return len(f.streams[s-1]) == 0 }) }

// work has all streams work, one step at a time, until something is so, and then perhaps for a while.
func (f *fake) work(done func() bool) {
	for more := f.random.IntN(1000); ; {
		so := done()
		if so {
			if more--; more < 0 {
				return
			}
		}
		var able []int
		for i, queued := range f.streams {
			if len(queued) > 0 && (queued[0].after == 0 || f.records[queued[0].after-1].done >= queued[0].times) {
				able = append(able, i)
			}
		}
		if len(able) == 0 {
			require.True(f.t, so, "streams wait for each other")
			return
		}
		i := able[f.random.IntN(len(able))]
		work := f.streams[i][0]
		if f.streams[i] = f.streams[i][1:]; work.run != nil {
			work.run()
		}
	}
}

// finishAll has all streams work until they have nothing to do.
func (f *fake) finishAll() {
	for i := range f.streams {
		f.finish(stream(i + 1))
	}
}

// ran counts a kernel or an algorithm of a convolution, and simulates how long it takes.
func (f *fake) ran(name string) {
	f.calls[name]++
	if cost, ok := f.costs[name]; ok {
		f.now += cost
	} else {
		f.now++
	}
}

// closed checks that nothing was left behind.
func (f *fake) closed() {
	require.Empty(f.t, f.blocks, "device memory leaks")
	require.Empty(f.t, f.pinned, "pinned memory leaks")
	require.Zero(f.t, f.events, "events leak")
	require.Zero(f.t, f.open, "streams leak")
	require.Empty(f.t, f.execs, "graphs leak")
	require.Len(f.t, f.graphs, f.dropped, "captured graphs leak")
	require.Len(f.t, f.destroyed, len(f.described), "descriptors leak")
}

// eager counts a call that a captured stream does not allow.
func (f *fake) eager(what string) {
	f.calls[what]++
	require.Zero(f.t, f.capturing, "%s in a captured step", what)
}

// memory checks that device memory is allocated, and returns it.
func (f *fake) memory(addr, bytes uint64, what string) unsafe.Pointer {
	for from, b := range f.blocks {
		if addr >= from && addr+bytes <= from+8*uint64(len(b)) {
			return unsafe.Add(unsafe.Pointer(&b[0]), addr-from)
		}
	}
	require.FailNow(f.t, "device memory", "%s: %d bytes at %x are not allocated", what, bytes, addr)
	return nil
}

// host reports whether memory is pinned, and checks that graphs copy only from and to such.
func (f *fake) host(p unsafe.Pointer, bytes uint64) bool {
	addr := uint64(uintptr(p))
	for from, b := range f.pinned {
		if addr >= from && addr+bytes <= from+8*uint64(len(b)) {
			return true
		}
	}
	require.Zero(f.t, f.capturing, "a captured copy of %d bytes is not pinned", bytes)
	return false
}

func allocate(m map[uint64][]uint64, bytes uint64) uint64 {
	b := make([]uint64, (bytes+7)/8+64) // 512 bytes more, for the alignment of a GPU
	addr := (uint64(uintptr(unsafe.Pointer(&b[0]))) + 511) / 512 * 512
	skip := (addr - uint64(uintptr(unsafe.Pointer(&b[0])))) / 8
	m[addr] = b[skip : skip+(bytes+7)/8]
	for i := range m[addr] {
		m[addr][i] = shimFill
	}
	return addr
}

func copyBytes(to, from unsafe.Pointer, n uint64) {
	copy(unsafe.Slice((*byte)(to), n), unsafe.Slice((*byte)(from), n))
}

// read returns n elements of device memory as floats.
func (f *fake) read(addr uint64, n int, bf16 bool, what string) []float32 {
	out := make([]float32, n)
	if bf16 {
		for i, v := range unsafe.Slice((*uint16)(f.memory(addr, uint64(2*n), what)), n) {
			out[i] = math.Float32frombits(uint32(v) << 16)
		}
		return out
	}
	copy(out, unsafe.Slice((*float32)(f.memory(addr, uint64(4*n), what)), n))
	return out
}

func (f *fake) write(addr uint64, values []float32, bf16 bool, what string) {
	n := len(values)
	if bf16 {
		to := unsafe.Slice((*uint16)(f.memory(addr, uint64(2*n), what)), n)
		for i, v := range values {
			to[i] = toBFloat16(v)
		}
		return
	}
	copy(unsafe.Slice((*float32)(f.memory(addr, uint64(4*n), what)), n), values)
}

// describe returns a handle for a descriptor; get resolves it.
func (f *fake) describe(d any) uintptr {
	f.described = append(f.described, d)
	return uintptr(len(f.described))
}

// destroy destroys a descriptor.
func (f *fake) destroy(handle uintptr) dnnStatus {
	require.NotZero(f.t, handle)
	require.False(f.t, f.destroyed[handle], "a descriptor is destroyed twice")
	f.destroyed[handle] = true
	return 0
}

func get[D any](f *fake, handle uintptr) D {
	require.NotZero(f.t, handle)
	require.False(f.t, f.destroyed[handle], "a descriptor is used after it was destroyed")
	return f.described[handle-1].(D)
}

// shape returns the convolution that the descriptors describe.
func (f *fake) shape(x, y uintptr, w uintptr, c uintptr) kernels.Conv {
	xd, yd, wd, cd := get[*fakeTensor](f, x), get[*fakeTensor](f, y), get[*fakeFilter](f, w), get[*fakeConv](f, c)
	kind := int32(dnnFloat)
	if f.bf16 {
		kind = dnnBFloat16
	}
	require.Equal(f.t, [3]int32{kind, kind, kind}, [3]int32{xd.kind, yd.kind, wd.kind})
	require.Equal(f.t, f.p == ssl.FP32, cd.math == dnnFMAMath, "only float32 does without tensor cores")
	s := kernels.Conv{N: int(xd.n), H: int(xd.h), W: int(xd.w), Cin: int(xd.c), Cout: int(wd.k), KH: int(wd.h), KW: int(wd.w), Stride: int(cd.stride), Pad: int(cd.pad)}
	require.Equal(f.t, xd.c, wd.c)
	require.Equal(f.t, fakeTensor{kind, xd.n, wd.k, int32(s.OutH()), int32(s.OutW())}, *yd)
	return s
}

// reorder converts weights from cuDNN's order [Cout, KH, KW, Cin] to that of package kernels, or back.
func reorder(s kernels.Conv, w []float32, back bool) []float32 {
	out, taps := make([]float32, len(w)), len(w)/s.Cout
	for filter := range s.Cout {
		for i := range taps {
			if back {
				out[filter*taps+i] = w[i*s.Cout+filter]
			} else {
				out[i*s.Cout+filter] = w[filter*taps+i]
			}
		}
	}
	return out
}

// convolve computes a pass on operands in device memory.
func (f *fake) convolve(s kernels.Conv, p pass, x, w, y uint64) {
	nx, nw, ny := s.N*s.H*s.W*s.Cin, s.KH*s.KW*s.Cin*s.Cout, s.N*s.OutH()*s.OutW()*s.Cout
	plan, what := kernels.NewConvPlan(s, kernels.FP32, f.pool), fmt.Sprintf("%v of %+v", p, s)
	switch p {
	case forward:
		out := make([]float32, ny)
		plan.Forward(f.read(x, nx, f.bf16, what), reorder(s, f.read(w, nw, f.bf16, what), false), out)
		f.write(y, out, f.bf16, what)
	case backwardData:
		out := make([]float32, nx)
		plan.BackwardData(f.read(y, ny, f.bf16, what), reorder(s, f.read(w, nw, f.bf16, what), false), out)
		f.write(x, out, f.bf16, what)
	case backwardWeights:
		out := make([]float32, nw)
		plan.BackwardWeights(f.read(x, nx, f.bf16, what), f.read(y, ny, f.bf16, what), out)
		f.write(w, reorder(s, out, true), f.bf16, what)
	}
}

// perf returns three algorithms: the first is not usable, the second is not deterministic, the third is.
func (f *fake) perf(list *algoPerf, most int32, n *int32, room uint64) {
	found := unsafe.Slice(list, most)
	mathType := int32(0) // CUDNN_DEFAULT_MATH, which float32 must not use
	if f.bf16 {
		mathType = dnnTensorOpMath
	}
	found[0] = algoPerf{algo: 5, status: 9}
	found[1] = algoPerf{algo: 2, memory: 1000, determinism: 0, mathType: mathType}
	found[2] = algoPerf{algo: 1, memory: 2000, determinism: dnnDeterministic, mathType: mathType}
	*n = 3
	require.GreaterOrEqual(f.t, room, uint64(2000))
	if f.few {
		*n = 1
	}
}

// api returns the fake's functions.
func (f *fake) api() *api {
	a := &api{}
	f.addDriver(&a.driver)
	f.addDNN(&a.cudnn)
	f.addGraph(&a.cudnn)
	f.addBLAS(&a.blasLt)
	// Nothing is compiled: the "cubin" is never read.
	a.nvrtc = nvrtc{
		nvrtcVersion: func(major, minor *int32) rtcStatus { *major, *minor = 13, 0; return 0 },
		nvrtcCreateProgram: func(p *program, _, _ string, _ int32, _, _ unsafe.Pointer) rtcStatus {
			*p = 1
			return 0
		},
		nvrtcDestroyProgram:    func(*program) rtcStatus { return 0 },
		nvrtcCompileProgram:    func(program, int32, **byte) rtcStatus { return 0 },
		nvrtcGetProgramLogSize: func(_ program, bytes *uint64) rtcStatus { *bytes = 1; return 0 },
		nvrtcGetProgramLog:     func(program, *byte) rtcStatus { return 0 },
		nvrtcGetCUBINSize:      func(_ program, bytes *uint64) rtcStatus { *bytes = 4; return 0 },
		nvrtcGetCUBIN:          func(_ program, cubin *byte) rtcStatus { *cubin = 1; return 0 },
		nvrtcGetErrorString:    func(rtcStatus) string { return "" },
	}
	return a
}

func (f *fake) addDriver(a *driver) {
	text := append([]byte("FAKE_ERROR"), 0)
	*a = driver{
		cuInit:             func(uint32) status { return 0 },
		cuDriverGetVersion: func(v *int32) status { *v = 13000; return 0 },
		cuGetErrorName:     func(_ status, name **byte) status { *name = &text[0]; return 0 },
		cuGetErrorString:   func(_ status, name **byte) status { *name = &text[0]; return 0 },
		cuDeviceGetCount:   func(n *int32) status { *n = 1; return 0 },
		cuDeviceGet:        func(d *int32, ordinal int32) status { *d = ordinal; return 0 },
		cuDeviceGetName: func(name *byte, size, _ int32) status {
			copy(unsafe.Slice(name, size), "Fake GPU\x00")
			return 0
		},
		cuDeviceTotalMem: func(bytes *uint64, _ int32) status { *bytes = f.freeBytes; return 0 },
		cuDeviceGetAttribute: func(v *int32, attribute, _ int32) status {
			*v = map[int32]int32{attributeMajor: f.major, attributeMinor: 0}[attribute]
			return 0
		},
		cuDevicePrimaryCtxRetain:  func(ctx *context, _ int32) status { *ctx = 1; return 0 },
		cuDevicePrimaryCtxRelease: func(int32) status { return 0 },
		cuCtxSetCurrent:           func(context) status { return 0 },
		cuMemGetInfo:              func(free, total *uint64) status { *free, *total = f.freeBytes, f.freeBytes; return 0 },
		cuMemAlloc: func(addr *uint64, bytes uint64) status {
			f.eager("cuMemAlloc")
			if bytes > f.freeBytes {
				f.calls["out of memory"]++
				return errorOutOfMemory
			}
			f.freeBytes -= bytes
			*addr = allocate(f.blocks, bytes)
			return 0
		},
		cuMemFree: func(addr uint64) status {
			f.eager("cuMemFree")
			f.finishAll()
			require.Contains(f.t, f.blocks, addr)
			f.freeBytes += 8 * uint64(len(f.blocks[addr]))
			delete(f.blocks, addr)
			return 0
		},
		cuMemHostAlloc: func(host *unsafe.Pointer, bytes uint64, _ uint32) status {
			f.eager("cuMemHostAlloc")
			addr := allocate(f.pinned, bytes)
			*host = unsafe.Pointer(&f.pinned[addr][0])
			return 0
		},
		cuMemFreeHost: func(host unsafe.Pointer) status {
			f.finishAll()
			require.Contains(f.t, f.pinned, uint64(uintptr(host)))
			delete(f.pinned, uint64(uintptr(host)))
			return 0
		},
		cuMemcpyHtoDAsync: func(to uint64, from unsafe.Pointer, bytes uint64, s stream) status {
			if !f.host(from, bytes) { // it has been read when the call returns
				from = unsafe.Pointer(&slices.Clone(unsafe.Slice((*byte)(from), bytes))[0])
			}
			f.do(s, func() { copyBytes(f.memory(to, bytes, "upload"), from, bytes) })
			return 0
		},
		cuMemcpyDtoHAsync: func(to unsafe.Pointer, from uint64, bytes uint64, s stream) status {
			f.host(to, bytes)
			f.do(s, func() { copyBytes(to, f.memory(from, bytes, "download"), bytes) })
			return 0
		},
		cuMemsetD8Async: func(to uint64, value uint8, bytes uint64, s stream) status {
			f.do(s, func() {
				b := unsafe.Slice((*byte)(f.memory(to, bytes, "memset")), bytes)
				for i := range b {
					b[i] = value
				}
			})
			return 0
		},
		cuStreamCreate: func(s *stream, flags uint32) status {
			f.streams = append(f.streams, nil)
			*s = stream(len(f.streams))
			f.open++
			f.most = max(f.most, f.open)
			return 0
		},
		cuStreamDestroy: func(s stream) status { f.finish(s); f.open--; return 0 },
		cuEventCreate: func(e *event, _ uint32) status {
			f.events++
			f.records = append(f.records, fakeEvent{})
			*e = event(len(f.records))
			return 0
		},
		cuEventRecord: func(e event, s stream) status {
			f.eager("cuEventRecord")
			f.records[e-1].queued++
			f.do(s, func() { f.records[e-1].at, f.records[e-1].done = f.now, f.records[e-1].done+1 })
			return 0
		},
		cuEventSynchronize: func(e event) status {
			f.eager("cuEventSynchronize")
			f.work(func() bool { return f.records[e-1].done == f.records[e-1].queued })
			return 0
		},
		cuEventElapsedTime: func(ms *float32, from, to event) status {
			for _, e := range []event{from, to} {
				require.Positive(f.t, f.records[e-1].done)
				require.Equal(f.t, f.records[e-1].queued, f.records[e-1].done)
			}
			*ms = f.records[to-1].at - f.records[from-1].at
			return 0
		},
		cuEventDestroy: func(event) status { f.events--; return 0 },
		cuStreamSynchronize: func(s stream) status {
			f.eager("cuStreamSynchronize")
			f.finish(s)
			if f.dead {
				return 700
			}
			return 0
		},
		cuStreamWaitEvent: func(s stream, e event, flags uint32) status {
			f.eager("cuStreamWaitEvent")
			require.Zero(f.t, flags)
			f.streams[s-1] = append(f.streams[s-1], fakeWork{after: e, times: f.records[e-1].queued})
			return 0
		},
		cuStreamBeginCapture: func(s stream, _ int32) status {
			f.eager("cuStreamBeginCapture")
			f.capturing, f.graph = s, nil
			return 0
		},
		cuStreamEndCapture: func(s stream, g *graph) status {
			require.Equal(f.t, f.capturing, s)
			f.graphs = append(f.graphs, f.graph)
			f.capturing, *g = 0, graph(len(f.graphs))
			return 0
		},
		cuGraphInstantiate: func(exec *graphExec, g graph, _ uint64) status {
			*exec = graphExec(g)
			f.execs[*exec] = f.graphs[g-1]
			return 0
		},
		cuGraphLaunch: func(exec graphExec, s stream) status {
			f.eager("cuGraphLaunch")
			require.Contains(f.t, f.execs, exec, "a graph that was destroyed")
			for _, work := range f.execs[exec] {
				f.do(s, work)
			}
			return 0
		},
		cuGraphExecDestroy: func(exec graphExec) status { delete(f.execs, exec); return 0 },
		cuGraphDestroy:     func(graph) status { f.dropped++; return 0 },
		cuModuleLoadData:   func(m *module, _ unsafe.Pointer) status { *m = 1; return 0 },
		cuModuleUnload:     func(module) status { return 0 },
		cuModuleGetFunction: func(fn *function, _ module, name string) status {
			require.Contains(f.t, f.arity, name)
			f.names = append(f.names, name)
			*fn = function(len(f.names))
			return 0
		},
		cuLaunchKernel: func(fn function, gx, gy, gz, bx, by, bz, shared uint32, s stream, params, _ unsafe.Pointer) status {
			name := f.names[fn-1]
			if name == f.broken {
				return 1
			}
			require.LessOrEqual(f.t, bx*by*bz, uint32(1024), name)
			require.NotZero(f.t, gx*gy*gz*bx*by*bz, name)
			require.LessOrEqual(f.t, max(gy, gz), uint32(65535), name)
			n := f.arity[name]
			values, addresses := make([]uint64, n), make([]unsafe.Pointer, n) // read now, not when the kernel runs
			for i, p := range unsafe.Slice((*unsafe.Pointer)(params), n) {
				values[i] = *(*uint64)(p)
				addresses[i] = unsafe.Pointer(&values[i])
			}
			f.do(s, func() {
				f.ran(name)
				f.shim.run(name, dim3{gx, gy, gz}, dim3{bx, by, bz}, addresses)
			})
			return 0
		},
	}
}

func (f *fake) addDNN(a *cudnn) {
	*a = cudnn{
		cudnnGetVersion:         func() uint64 { return 91000 },
		cudnnGetCudartVersion:   func() uint64 { return f.cudart },
		cudnnGetErrorString:     func(dnnStatus) string { return "CUDNN_FAKE_ERROR" },
		cudnnGetLastErrorString: func(*byte, uint64) {},
		cudnnCreate: func(h *dnnHandle) dnnStatus {
			f.handles = append(f.handles, 0)
			*h = dnnHandle(len(f.handles))
			return 0
		},
		cudnnDestroy:   func(dnnHandle) dnnStatus { return 0 },
		cudnnSetStream: func(h dnnHandle, s stream) dnnStatus { f.handles[h-1] = s; return 0 },
		cudnnCreateTensorDescriptor: func(t *tensorDescriptor) dnnStatus {
			*t = tensorDescriptor(f.describe(&fakeTensor{}))
			return 0
		},
		cudnnSetTensor4dDescriptor: func(t tensorDescriptor, format, kind, n, c, h, w int32) dnnStatus {
			require.EqualValues(f.t, dnnNHWC, format)
			*get[*fakeTensor](f, uintptr(t)) = fakeTensor{kind, n, c, h, w}
			return 0
		},
		cudnnDestroyTensorDescriptor: func(d tensorDescriptor) dnnStatus { return f.destroy(uintptr(d)) },
		cudnnCreateFilterDescriptor: func(d *filterDescriptor) dnnStatus {
			*d = filterDescriptor(f.describe(&fakeFilter{}))
			return 0
		},
		cudnnSetFilter4dDescriptor: func(d filterDescriptor, kind, format, k, c, h, w int32) dnnStatus {
			require.EqualValues(f.t, dnnNHWC, format)
			*get[*fakeFilter](f, uintptr(d)) = fakeFilter{kind, k, c, h, w}
			return 0
		},
		cudnnDestroyFilterDescriptor: func(d filterDescriptor) dnnStatus { return f.destroy(uintptr(d)) },
		cudnnCreateConvolutionDescriptor: func(c *convolutionDescriptor) dnnStatus {
			*c = convolutionDescriptor(f.describe(&fakeConv{}))
			return 0
		},
		cudnnSetConvolution2dDescriptor: func(c convolutionDescriptor, padH, padW, strideH, strideW, dilationH, dilationW, mode, compute int32) dnnStatus {
			require.Equal(f.t, []int32{padH, strideH, 1, 1, dnnCrossCorrelation, dnnFloat}, []int32{padW, strideW, dilationH, dilationW, mode, compute})
			*get[*fakeConv](f, uintptr(c)) = fakeConv{pad: padH, stride: strideH}
			return 0
		},
		cudnnSetConvolutionMathType: func(c convolutionDescriptor, math int32) dnnStatus {
			get[*fakeConv](f, uintptr(c)).math = math
			return 0
		},
		cudnnDestroyConvolutionDescriptor: func(d convolutionDescriptor) dnnStatus { return f.destroy(uintptr(d)) },

		cudnnFindConvolutionForwardAlgorithmEx: func(_ dnnHandle, xd tensorDescriptor, x uint64, wd filterDescriptor, w uint64,
			c convolutionDescriptor, yd tensorDescriptor, y uint64, most int32, found *int32, results *algoPerf, ws, size uint64) dnnStatus {
			f.eager("cudnnFind")
			f.memory(ws, size, "workspace")
			f.shape(uintptr(xd), uintptr(yd), uintptr(wd), uintptr(c))
			f.perf(results, most, found, size)
			return 0
		},
		cudnnFindConvolutionBackwardDataAlgorithmEx: func(_ dnnHandle, wd filterDescriptor, w uint64, dyd tensorDescriptor, dy uint64,
			c convolutionDescriptor, dxd tensorDescriptor, dx uint64, most int32, found *int32, results *algoPerf, ws, size uint64) dnnStatus {
			f.eager("cudnnFind")
			f.memory(ws, size, "workspace")
			f.shape(uintptr(dxd), uintptr(dyd), uintptr(wd), uintptr(c))
			f.perf(results, most, found, size)
			return 0
		},
		cudnnFindConvolutionBackwardFilterAlgorithmEx: func(_ dnnHandle, xd tensorDescriptor, x uint64, dyd tensorDescriptor, dy uint64,
			c convolutionDescriptor, dwd filterDescriptor, dw uint64, most int32, found *int32, results *algoPerf, ws, size uint64) dnnStatus {
			f.eager("cudnnFind")
			f.memory(ws, size, "workspace")
			f.shape(uintptr(xd), uintptr(dyd), uintptr(dwd), uintptr(c))
			f.perf(results, most, found, size)
			return 0
		},
		cudnnGetConvolutionForwardAlgorithm: func(_ dnnHandle, xd tensorDescriptor, wd filterDescriptor, c convolutionDescriptor,
			yd tensorDescriptor, most int32, found *int32, results *algoPerf) dnnStatus {
			f.eager("cudnnGet")
			f.shape(uintptr(xd), uintptr(yd), uintptr(wd), uintptr(c))
			f.perf(results, most, found, 2000)
			return 0
		},
		cudnnGetConvolutionBackwardDataAlgorithm: func(_ dnnHandle, wd filterDescriptor, dyd tensorDescriptor, c convolutionDescriptor,
			dxd tensorDescriptor, most int32, found *int32, results *algoPerf) dnnStatus {
			f.eager("cudnnGet")
			f.shape(uintptr(dxd), uintptr(dyd), uintptr(wd), uintptr(c))
			f.perf(results, most, found, 2000)
			return 0
		},
		cudnnGetConvolutionBackwardFilterAlgorithm: func(_ dnnHandle, xd, dyd tensorDescriptor, c convolutionDescriptor,
			dwd filterDescriptor, most int32, found *int32, results *algoPerf) dnnStatus {
			f.eager("cudnnGet")
			f.shape(uintptr(xd), uintptr(dyd), uintptr(dwd), uintptr(c))
			f.perf(results, most, found, 2000)
			return 0
		},

		cudnnConvolutionForward: func(h dnnHandle, alpha unsafe.Pointer, xd tensorDescriptor, x uint64, wd filterDescriptor, w uint64,
			c convolutionDescriptor, algo int32, ws, size uint64, beta unsafe.Pointer, yd tensorDescriptor, y uint64) dnnStatus {
			f.runs(h, alpha, beta, algo, ws, size)
			s := f.shape(uintptr(xd), uintptr(yd), uintptr(wd), uintptr(c))
			f.do(f.handles[h-1], func() { f.convolve(s, forward, x, w, y) })
			return 0
		},
		cudnnConvolutionBackwardData: func(h dnnHandle, alpha unsafe.Pointer, wd filterDescriptor, w uint64, dyd tensorDescriptor, dy uint64,
			c convolutionDescriptor, algo int32, ws, size uint64, beta unsafe.Pointer, dxd tensorDescriptor, dx uint64) dnnStatus {
			f.runs(h, alpha, beta, algo, ws, size)
			s := f.shape(uintptr(dxd), uintptr(dyd), uintptr(wd), uintptr(c))
			f.do(f.handles[h-1], func() { f.convolve(s, backwardData, dx, w, dy) })
			return 0
		},
		cudnnConvolutionBackwardFilter: func(h dnnHandle, alpha unsafe.Pointer, xd tensorDescriptor, x uint64, dyd tensorDescriptor, dy uint64,
			c convolutionDescriptor, algo int32, ws, size uint64, beta unsafe.Pointer, dwd filterDescriptor, dw uint64) dnnStatus {
			f.runs(h, alpha, beta, algo, ws, size)
			s := f.shape(uintptr(xd), uintptr(dyd), uintptr(dwd), uintptr(c))
			f.do(f.handles[h-1], func() { f.convolve(s, backwardWeights, x, dw, dy) })
			return 0
		},
	}
}

// runs checks the arguments of a convolution: factors 1 and 0, and the workspace that its algorithm needs.
func (f *fake) runs(h dnnHandle, alpha, beta unsafe.Pointer, algo int32, ws, size uint64) {
	f.do(f.handles[h-1], func() { f.ran(fmt.Sprintf("algorithm %d", algo)) })
	require.Equal(f.t, [2]float32{1, 0}, [2]float32{*(*float32)(alpha), *(*float32)(beta)})
	need := map[int32]uint64{1: 2000, 2: 1000}[algo]
	require.NotZero(f.t, need, "algorithm %d cannot be used", algo)
	require.GreaterOrEqual(f.t, size, need)
	f.memory(ws, size, "workspace")
}

func (f *fake) addBLAS(a *blasLt) {
	*a = blasLt{
		cublasLtGetVersion:      func() uint64 { return 130000 },
		cublasLtGetStatusString: func(ltStatus) string { return "CUBLAS_FAKE_ERROR" },
		cublasLtCreate:          func(h *ltHandle) ltStatus { *h = 1; return 0 },
		cublasLtDestroy:         func(ltHandle) ltStatus { return 0 },
		cublasLtMatmulDescCreate: func(d *matmulDesc, compute, scale int32) ltStatus {
			require.Equal(f.t, [2]int32{compute32F, realFloat}, [2]int32{compute, scale})
			*d = matmulDesc(f.describe(&fakeMatmul{}))
			return 0
		},
		cublasLtMatmulDescSetAttribute: func(d matmulDesc, attribute int32, value unsafe.Pointer, bytes uintptr) ltStatus {
			require.EqualValues(f.t, 4, bytes)
			m := get[*fakeMatmul](f, uintptr(d))
			to := map[int32]*int32{descTransA: &m.transA, descTransB: &m.transB}[attribute]
			require.NotNil(f.t, to)
			*to = *(*int32)(value)
			return 0
		},
		cublasLtMatmulDescDestroy: func(d matmulDesc) ltStatus { return ltStatus(f.destroy(uintptr(d))) },
		cublasLtMatrixLayoutCreate: func(l *matrixLayout, kind int32, rows, columns uint64, ld int64) ltStatus {
			*l = matrixLayout(f.describe(&fakeLayout{kind, rows, columns, ld}))
			return 0
		},
		cublasLtMatrixLayoutDestroy:    func(d matrixLayout) ltStatus { return ltStatus(f.destroy(uintptr(d))) },
		cublasLtMatmulPreferenceCreate: func(p *matmulPreference) ltStatus { *p = 1; return 0 },
		cublasLtMatmulPreferenceSetAttribute: func(_ matmulPreference, attribute int32, _ unsafe.Pointer, bytes uintptr) ltStatus {
			require.EqualValues(f.t, [2]uintptr{preferenceWorkspace, 8}, [2]uintptr{uintptr(attribute), bytes})
			return 0
		},
		cublasLtMatmulPreferenceDestroy: func(matmulPreference) ltStatus { return 0 },
		cublasLtMatmulAlgoGetHeuristic: func(_ ltHandle, _ matmulDesc, _, _, _, _ matrixLayout, _ matmulPreference,
			most int32, results *heuristicResult, found *int32) ltStatus {
			require.EqualValues(f.t, 1, most)
			results.algo[0], results.workspaceSize, *found = 77, 1500, 1
			return 0
		},
		cublasLtMatmul: func(_ ltHandle, desc matmulDesc, alpha unsafe.Pointer, a uint64, la matrixLayout, b uint64, lb matrixLayout,
			beta unsafe.Pointer, c uint64, lc matrixLayout, d uint64, ld matrixLayout, algo unsafe.Pointer, ws, size uint64, s stream) ltStatus {
			require.Equal(f.t, [2]float32{1, 0}, [2]float32{*(*float32)(alpha), *(*float32)(beta)})
			require.EqualValues(f.t, 77, (*matmulAlgo)(algo)[0])
			require.Equal(f.t, c, d)
			require.GreaterOrEqual(f.t, size, uint64(1500))
			f.memory(ws, size, "workspace")
			m := get[*fakeMatmul](f, uintptr(desc))
			for _, addr := range []uint64{a, b, d} {
				require.Zero(f.t, addr%256, "cublasLt chooses algorithms for aligned operands")
			}
			f.do(s, func() {
				f.multiply(*m, a, *get[*fakeLayout](f, uintptr(la)), b, *get[*fakeLayout](f, uintptr(lb)), d, *get[*fakeLayout](f, uintptr(lc)))
			})
			return 0
		},
	}
}

// multiply computes a product of column-major matrices, as cublasLt does.
func (f *fake) multiply(m fakeMatmul, a uint64, la fakeLayout, b uint64, lb fakeLayout, d uint64, ld fakeLayout) {
	load := func(addr uint64, l fakeLayout) func(row, column int) float64 {
		require.Equal(f.t, f.bf16, l.kind == realBFloat16)
		require.EqualValues(f.t, l.rows, l.ld)
		values := f.read(addr, int(l.rows*l.columns), l.kind == realBFloat16, "a product's operand")
		return func(row, column int) float64 { return float64(values[column*int(l.ld)+row]) }
	}
	x, y := load(a, la), load(b, lb)
	rows, columns, inner := int(ld.rows), int(ld.columns), int(la.columns)
	if m.transA == opT {
		x0 := x
		x, inner = func(r, c int) float64 { return x0(c, r) }, int(la.rows)
	}
	if m.transB == opT {
		y0 := y
		y = func(r, c int) float64 { return y0(c, r) }
	}
	out := make([]float32, rows*columns)
	for c := range columns {
		for r := range rows {
			var sum float64
			for k := range inner {
				sum += x(r, k) * y(k, c)
			}
			out[c*rows+r] = float32(sum)
		}
	}
	f.write(d, out, ld.kind == realBFloat16, "a product")
}
