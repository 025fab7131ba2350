// Package compute holds the resources that all DoFns of a process share: the thread pool, handed to one heavy
// computation at a time ([Run]); the tensor engine on top of it ([Engine]); and a cache of results ([Cache]). Runners
// call DoFns from several goroutines, and two trainings at once would only compete for the cores and double the memory.
package compute

import (
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

var (
	lock   sync.Mutex
	tuning *kernels.Tuning
	device ssl.Device
	pool   = sync.OnceValue(func() *kernels.Pool {
		adoptTuning()
		p := kernels.NewPool(0)
		p.Tune(tuning)
		vectors, err := ssl.OpenVectors(device)
		if err != nil {
			slog.Warn("the CPU clusters and searches", "error", err)
		}
		p.Offload(vectors)
		return p
	})
)

// Tune sets the tuning table that the thread pool chooses algorithms by; nil means none. Call it before the first Run.
func Tune(t *kernels.Tuning) { tuning = t }

// Tuning returns the table that Tune set.
func Tuning() *kernels.Tuning { return tuning }

// Use sets the device on which this process computes features and BatchNorm statistics, clusters and searches; by default it
// is the CPU. Call it before the first Run.
func Use(d ssl.Device) { device = d }

// Device returns the device that Use set.
func Device() ssl.Device { return device }

// Engine returns the tensor engine of this process. It computes on the thread pool of [Run]: wrap heavy work in Run.
func Engine() dense.Engine { return dense.NewEngine(pool()) }

// busy is the time, in nanoseconds, that work has had the thread pool.
var busy atomic.Int64

// Busy returns how long this process has computed in Run.
func Busy() time.Duration { return time.Duration(busy.Load()) }

// Run waits until the thread pool is free and calls work with it. The pool has as many threads as GOMAXPROCS allowed at
// its first use. Work must not call Run.
func Run(work func(threads *kernels.Pool) error) error {
	lock.Lock()
	defer lock.Unlock()
	start := time.Now()
	defer func() { busy.Add(int64(time.Since(start))) }()
	return work(pool())
}

// ParDo is beam.ParDo for a DoFn that takes long per element. It reshuffles before and after: this distributes the
// elements over the workers and prevents fusion, since prism (Beam 2.77) spins a core while a stage runs that reads a
// side input or has no output of its own.
func ParDo(s beam.Scope, doFn any, in beam.PCollection) beam.PCollection {
	return beam.Reshuffle(s, beam.ParDo(s, doFn, beam.Reshuffle(s, in)))
}
