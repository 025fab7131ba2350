package kernels

import (
	"runtime"
	"sync/atomic"
	"time"
)

// event lets one goroutine wait for another. A layer of a small network takes less time than waking a sleeping thread,
// so the waiting goroutine spins for a while before it sleeps.
type event struct {
	state atomic.Int32
	wake  chan struct{}
}

// States of an event.
const (
	unset = iota
	set
	asleep
)

// spinTime is how long wait spins.
const spinTime = 50 * time.Microsecond

func newEvent() event { return event{wake: make(chan struct{}, 1)} }

// signal sets the event.
func (e *event) signal() {
	if e.state.Swap(set) == asleep {
		e.wake <- struct{}{}
	}
}

// wait waits until the event is set, then unsets it.
func (e *event) wait() {
	for start := time.Now(); e.state.Load() != set; runtime.Gosched() {
		if time.Since(start) > spinTime && e.state.CompareAndSwap(unset, asleep) {
			<-e.wake
			break
		}
	}
	e.state.Store(unset)
}
