package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a fixed set of worker goroutines, with the scratch memory that the operations run on it share. Its methods
// may be called from several goroutines; the calls then run one after the other.
type Pool struct {
	mu      sync.Mutex // held by the operation that is running
	isa     *isa
	tuning  *Tuning // nil: algorithms are chosen by estimate
	workers []worker
	shared  []float32 // packed weights, panels or partial sums of the running operation
	gemm    gemm

	f       func(worker, i int) // nil ends the workers
	n       int64
	next    atomic.Int64
	running atomic.Int64 // helpers still at work
	done    event        // none is
}

// worker is what one thread of a Pool owns.
type worker struct {
	start   event
	tile    tile      // arguments of the micro-kernel; lives here so that calls allocate nothing
	scratch []float32 // padded images or packed rows
	_       [64]byte  // keeps two workers' fields off one cache line
}

// NewPool starts a pool of the given number of threads, the calling goroutine being one of them. threads <= 0 means
// GOMAXPROCS. Close it to end its goroutines.
func NewPool(threads int) *Pool {
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	p := &Pool{isa: active, workers: make([]worker, threads), done: newEvent()}
	p.gemm.init(p)
	for w := 1; w < threads; w++ {
		p.workers[w].start = newEvent()
		go p.work(w)
	}
	return p
}

// Tune makes the pool choose algorithms by a table rather than by estimates. It is to be called before plans are made.
func (p *Pool) Tune(t *Tuning) { p.tuning = t }

// work is the life of worker w.
func (p *Pool) work(w int) {
	for {
		p.workers[w].start.wait()
		if p.f == nil {
			return
		}
		p.claim(w)
		if p.running.Add(-1) == 0 {
			p.done.signal()
		}
	}
}

// Threads returns the number of threads, which is also one more than the largest worker index that For passes.
func (p *Pool) Threads() int { return len(p.workers) }

// Close ends the pool's goroutines. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := 1; w < len(p.workers); w++ {
		p.workers[w].start.signal()
	}
}

// For calls f(worker, i) once for every i in [0,n), spread over the threads, and returns when all calls have. worker
// is in [0,Threads()) and no two calls with the same worker run at once. Which worker gets which i is not fixed, so
// f(i) should write only what belongs to i. For allocates nothing and starts no goroutine; f must not use the pool.
func (p *Pool) For(n int, f func(worker, i int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run(n, worthSharing, f)
}

// worthSharing is the least work, in multiply-adds, that is worth waking other threads for.
const worthSharing = 1 << 20

// run is For for callers that hold p.mu and know how much work f does in all, in multiply-adds.
func (p *Pool) run(n, work int, f func(worker, i int)) {
	helpers := min(n, len(p.workers)) - 1
	if helpers <= 0 || work < worthSharing {
		for i := range n {
			f(0, i)
		}
		return
	}
	p.f, p.n = f, int64(n)
	p.next.Store(0)
	p.running.Store(int64(helpers))
	for w := 1; w <= helpers; w++ {
		p.workers[w].start.signal()
	}
	p.claim(0)
	p.done.wait()
	p.f = nil
}

// claim takes items until none is left.
func (p *Pool) claim(worker int) {
	for i := p.next.Add(1) - 1; i < p.n; i = p.next.Add(1) - 1 {
		p.f(worker, int(i))
	}
}

// reserve makes the scratch at least as large as asked for: shared floats in all, scratch floats for every worker.
func (p *Pool) reserve(shared, scratch int) {
	if len(p.shared) < shared {
		p.shared = NewFloats(shared)
	}
	for w := range p.workers {
		if len(p.workers[w].scratch) < scratch {
			p.workers[w].scratch = NewFloats(scratch)
		}
	}
}
