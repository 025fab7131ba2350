package kernels

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// Pool is a thread pool: a fixed number of worker goroutines and the scratch memory of the operations that run on them.
// Its methods may be called from several goroutines; calls run one at a time.
type Pool struct {
	mu      sync.Mutex // held by the current operation
	isa     *isa
	tuning  *Tuning // nil: the cost model chooses algorithms
	vectors Vectors // nil: the threads search
	workers []worker
	shared  []float32 // packed weights, panels or partial sums of the current operation
	gemm    gemm

	f       func(worker, i int) // nil ends the workers
	n       int64
	next    atomic.Int64
	running atomic.Int64 // helpers that are not done
	done    event        // all helpers are
}

// worker is the state of one thread of a Pool.
type worker struct {
	start   event
	tile    tile      // arguments of the micro-kernel, kept here so that calls do not allocate
	scratch []float32 // padded images or packed rows
	touched float32   // keeps the compiler from removing touch
	_       [64]byte  // prevents false sharing between workers
}

// NewPool starts a thread pool of the given size, including the calling goroutine. threads <= 0 means GOMAXPROCS. Close
// ends its goroutines.
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

// Tune makes the pool choose algorithms by a tuning table rather than by the cost model. Call it before creating plans.
func (p *Pool) Tune(t *Tuning) {
	if p.tuning = t; t != nil {
		t.Join(Part{Processor, p.processor()})
	}
}

// Tuning returns the pool's tuning table, or nil.
func (p *Pool) Tuning() *Tuning { return p.tuning }

// work is the main loop of worker w.
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

// Threads returns the number of threads, an upper bound on the worker indices that For passes.
func (p *Pool) Threads() int { return len(p.workers) }

// Close ends the pool's goroutines. The pool must not be used afterwards.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := 1; w < len(p.workers); w++ {
		p.workers[w].start.signal()
	}
}

// For calls f(worker, i) once for each i in [0,n), distributed over the threads, and returns when all calls have.
// worker is in [0,Threads()), and no two calls with the same worker run at once. Which worker runs which i is not
// fixed, so f must write only data that belong to i. For allocates nothing and starts no goroutines; f must not use the
// pool.
func (p *Pool) For(n int, f func(worker, i int)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.run(n, minParallelWork, f)
}

// minParallelWork is the least work, in multiply-adds, for which waking other threads pays off.
const minParallelWork = 1 << 20

// run is For for callers that hold p.mu; work is the total work of f, in multiply-adds.
func (p *Pool) run(n, work int, f func(worker, i int)) {
	helpers := min(n, len(p.workers)) - 1
	if helpers <= 0 || work < minParallelWork {
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

// claim runs items until none are left.
func (p *Pool) claim(worker int) {
	for i := p.next.Add(1) - 1; i < p.n; i = p.next.Add(1) - 1 {
		p.f(worker, int(i))
	}
}

// reserve grows the scratch memory to at least shared floats in total and scratch floats per worker.
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
