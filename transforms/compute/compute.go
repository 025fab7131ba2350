// Package compute is what the DoFns of one process share: its processors, handed
// to one piece of heavy work at a time ([Run]), since runners call DoFns from
// several goroutines and two trainings at once would only share the cores and
// double the memory; the engine of its tensors ([Engine]); and what was computed
// already ([Cache]).
package compute

import (
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

var (
	lock   sync.Mutex
	tuning *kernels.Tuning
	pool   = sync.OnceValue(func() *kernels.Pool {
		p := kernels.NewPool(0)
		p.Tune(tuning)
		return p
	})
)

// Tune makes the device choose algorithms by a table, nil for none. It is to
// be called before the first Run.
func Tune(t *kernels.Tuning) { tuning = t }

// Tuning returns the table that Tune set.
func Tuning() *kernels.Tuning { return tuning }

// Engine is what tensors compute on in this process: the threads of Run. Whoever
// has much to compute takes them by Run first.
func Engine() dense.Engine { return dense.NewEngine(pool()) }

// Run waits until the device is free and does work with its threads, as many
// as GOMAXPROCS was when they were first asked for. The work must not call Run.
func Run(work func(threads *kernels.Pool) error) error {
	lock.Lock()
	defer lock.Unlock()
	return work(pool())
}

// ParDo is beam.ParDo for a DoFn whose elements each take long. It spreads the
// elements over the workers, and cuts the DoFn off from what comes before and
// after: prism (Beam 2.77) spins a core for as long as a stage is busy that
// reads a side input or has no output of its own.
func ParDo(s beam.Scope, doFn any, in beam.PCollection) beam.PCollection {
	return beam.Reshuffle(s, beam.ParDo(s, doFn, beam.Reshuffle(s, in)))
}
