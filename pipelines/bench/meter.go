package bench

import (
	"context"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// meter measures cases.
type meter struct {
	Options
	dir   string          // for files that the other side reads
	peaks map[int]float64 // by the number of threads
	torch *worker         // nil until it is needed
}

// side is one of the two that are compared.
type side interface {
	// run runs the case n times.
	run(n int) (seconds float64, err error)
}

// engine is our side of a case.
type engine struct {
	threads int
	once    func()
}

func (e engine) run(n int) (float64, error) {
	// What the runtime does beside the work has no more processors than the work.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(e.threads))
	start := time.Now()
	for range n {
		e.once()
	}
	return time.Since(start).Seconds(), nil
}

// measure measures one case.
func (m *meter) measure(ctx context.Context, b benchmark) (Result, error) {
	r := Result{Case: b.name, Sizes: b.sizes, Threads: b.threads, ISA: kernels.ISA(), PeakGFLOPS: m.peak(b.threads)}
	pool := kernels.NewPool(b.threads)
	defer pool.Close()
	var before memory
	if b.memory {
		debug.FreeOSMemory()
		before = startMemory()
	}
	once, err := b.prepare(pool)
	if err != nil {
		return r, err
	}
	ours := engine{b.threads, once}
	sides, repeats := []side{ours}, []int{repeat(ours, m.Time)}
	if b.memory {
		r.MemoryMiB = before.growth()
	}
	if m.Python != "" {
		if err := m.startTorch(ctx, b.memory); err != nil {
			return r, err
		}
		made, err := m.torch.prepare(b, m.Options)
		if err != nil {
			return r, err
		}
		r.TorchVariant, r.TorchVersion, r.TorchNote, r.TorchMemoryMiB = made.Variant, m.torch.version, made.Note, made.MemoryMiB
		sides, repeats = append(sides, m.torch), append(repeats, times(m.Time, made.Seconds))
	}
	measured, err := alternate(ctx, sides, repeats, m.Rounds)
	if err != nil {
		return r, err
	}
	r.fill(b, measured)
	return r, nil
}

// repeat warms a side up and returns how many runs fill the given time.
func repeat(s engine, d time.Duration) int {
	_, _ = s.run(1) // pages memory in, and may tune
	for n := 1; ; n *= 4 {
		if seconds, _ := s.run(n); seconds > d.Seconds()/10 || n >= 1<<20 {
			return times(d, seconds/float64(n))
		}
	}
}

// times is how many runs of so many seconds fill d, at least one.
func times(d time.Duration, seconds float64) int {
	return int(math.Min(1<<24, math.Max(1, math.Round(d.Seconds()/seconds))))
}

// pause lets the threads of the side that has run go to sleep.
const pause = 20 * time.Millisecond

// alternate measures the sides in turn and returns, of each, the seconds of a run in every round.
func alternate(ctx context.Context, sides []side, repeats []int, rounds int) ([][]float64, error) {
	measured := make([][]float64, len(sides))
	for range rounds {
		for i, s := range sides {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			runtime.GC() // ours must not go on beside the other side
			time.Sleep(pause)
			seconds, err := s.run(repeats[i])
			if err != nil {
				return nil, err
			}
			measured[i] = append(measured[i], seconds/float64(repeats[i]))
		}
	}
	return measured, nil
}

// fill sets what follows from the seconds of our side and, if there is one, of the other.
func (r *Result) fill(b benchmark, measured [][]float64) {
	r.Seconds, r.SecondsMin = median(measured[0]), slices.Min(measured[0])
	r.GFLOPS = b.flops / r.Seconds / 1e9
	r.PeakShare = r.GFLOPS / r.PeakGFLOPS
	r.ImagesPerSecond = float64(b.images) / r.Seconds
	if len(measured) == 1 {
		return
	}
	r.TorchSeconds, r.TorchSecondsMin = median(measured[1]), slices.Min(measured[1])
	r.TorchGFLOPS = b.flops / r.TorchSeconds / 1e9
	r.TorchImagesPerSecond = float64(b.images) / r.TorchSeconds
	r.Ratio = r.TorchSeconds / r.Seconds
}
