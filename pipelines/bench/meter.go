package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"time"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// meter measures cases.
type meter struct {
	Options
	dir   string          // for files that PyTorch's side reads
	peaks map[int]float64 // by number of threads
	torch *worker         // nil until needed

	vectors kernels.Vectors // of the device; nil on the CPU
}

// side is one of the two sides of a comparison.
type side interface {
	// run runs the case n times.
	run(n int) (spent, error)
}

// spent is the time that several runs took.
type spent struct{ seconds, wait float64 }

// engine is our side of a case.
type engine struct {
	threads int
	work
}

func (e engine) run(n int) (spent, error) {
	// Limits the Go runtime's background work to the same number of processors.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(e.threads))
	waited := func() float64 { return 0 }
	if e.wait != nil {
		waited = func() float64 { return e.wait().Seconds() }
	}
	before, start := waited(), time.Now()
	for range n {
		e.work.run()
	}
	return spent{time.Since(start).Seconds(), waited() - before}, nil
}

// measureAll measures cases one after the other and passes each result to emit.
func (m *meter) measureAll(ctx context.Context, cases []benchmark, emit func(Result) error) (err error) {
	if m.dir, err = os.MkdirTemp("", "sdr-bench-"); err != nil {
		return fmt.Errorf("bench: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(m.dir)) }()
	defer m.stopTorch()
	for i, b := range cases {
		slog.Info("measuring", "case", b.name, "number", i+1, "of", len(cases))
		r, err := m.measure(ctx, b)
		if err != nil {
			return fmt.Errorf("bench %s: %w", b.name, err)
		}
		if err := emit(r); err != nil {
			return err
		}
	}
	return nil
}

// measure measures one case.
func (m *meter) measure(ctx context.Context, b benchmark) (r Result, err error) {
	r = Result{
		Case: b.name, Sizes: b.sizes, Threads: b.threads, ISA: kernels.ISA(), Precision: string(cmp.Or(b.round, ssl.FP32)),
	}
	onCPU := m.Device.Name != ssl.CUDA
	if onCPU {
		r.PeakGFLOPS = m.peak(b.threads)
	}
	var images [][]byte
	if b.encoded != nil {
		if images, err = b.encoded(ctx); err != nil {
			return r, err
		}
	}
	var before memory
	if b.memory && onCPU {
		pool := m.pool(b.threads) // autotunes first, which takes memory of its own
		if _, err := b.prepare(pool, images); err != nil {
			return r, err
		}
		pool.Close()
		debug.FreeOSMemory()
		before = startMemory()
	}
	pool := m.pool(b.threads)
	defer pool.Close()
	made, err := b.prepare(pool, images)
	if err != nil {
		return r, err
	}
	if made.close != nil {
		defer func() { err = errors.Join(err, made.close()) }()
	}
	ours := engine{b.threads, made}
	length := m.Time * time.Duration(max(1, b.stretch))
	sides, repeats := []side{ours}, []int{repeat(ours, length)}
	switch {
	case b.memory && onCPU:
		r.MemoryMiB = before.growth()
	case b.memory:
		r.MemoryMiB = float64(made.held()) / (1 << 20)
	}
	if m.Python != "" {
		if err := m.startTorch(ctx, b.memory && onCPU); err != nil {
			return r, err
		}
		folder, err := m.write(images)
		if err != nil {
			return r, err
		}
		made, err := m.torch.prepare(b, m.Options, length, folder)
		if err != nil {
			return r, err
		}
		r.TorchVariant, r.TorchVersion, r.TorchNote = made.Variant, m.torch.version, made.Note
		r.TorchMemoryMiB = made.MemoryMiB
		sides, repeats = append(sides, m.torch), append(repeats, times(length, made.Seconds))
	}
	rounds, neighbours, err := alternate(ctx, sides, repeats, m.Rounds)
	if err != nil {
		return r, err
	}
	r.Neighbours = neighbours
	r.fill(b, rounds)
	return r, nil
}

func (m *meter) pool(threads int) *kernels.Pool {
	p := kernels.NewPool(threads)
	p.Tune(m.Tuning)
	p.Offload(m.vectors)
	return p
}

// write writes images to a new folder, for PyTorch's side.
func (m *meter) write(images [][]byte) (folder string, err error) {
	if folder, err = os.MkdirTemp(m.dir, "images-"); err != nil {
		return "", err
	}
	for i, data := range images {
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%06d", i)), data, 0o600); err != nil {
			return "", err
		}
	}
	return folder, nil
}

// repeat warms up our side and returns how many runs fill the given time.
func repeat(e engine, d time.Duration) int {
	_, _ = e.run(1) // pages memory in and may autotune
	for n := 1; ; n *= 4 {
		if s, _ := e.run(n); s.seconds > d.Seconds()/10 || n >= 1<<20 {
			return times(d, s.seconds/float64(n))
		}
	}
}

// times returns how many runs of the given seconds fill d, at least one.
func times(d time.Duration, seconds float64) int {
	return int(math.Min(1<<24, math.Max(1, math.Round(d.Seconds()/seconds))))
}

// alternate measures the sides in turn. It returns the time per run of each side in every round, and the processor load
// from other programs in between.
func alternate(
	ctx context.Context, sides []side, repeats []int, rounds int,
) (measured [][]spent, neighbours float64, err error) {
	measured = make([][]spent, len(sides))
	var pauses rests
	for range rounds {
		for i, side := range sides {
			if err := ctx.Err(); err != nil {
				return nil, 0, err
			}
			runtime.GC() // our collector must not run while PyTorch's side runs
			pauses.take()
			s, err := side.run(repeats[i])
			if err != nil {
				return nil, 0, err
			}
			n := float64(repeats[i])
			measured[i] = append(measured[i], spent{s.seconds / n, s.wait / n})
		}
	}
	return measured, pauses.neighbours(), nil
}

// fill sets what follows from the times of our side and, if there is one, of PyTorch's side.
func (r *Result) fill(b benchmark, measured [][]spent) {
	r.Seconds, r.SecondsMin, r.DataWait = summary(measured[0])
	r.GFLOPS = b.flops / r.Seconds / 1e9
	if r.PeakGFLOPS > 0 {
		r.PeakShare = r.GFLOPS / r.PeakGFLOPS
	}
	r.ImagesPerSecond = float64(b.images) / r.Seconds
	if len(measured) == 1 {
		return
	}
	r.TorchSeconds, r.TorchSecondsMin, r.TorchDataWait = summary(measured[1])
	r.TorchGFLOPS = b.flops / r.TorchSeconds / 1e9
	r.TorchImagesPerSecond = float64(b.images) / r.TorchSeconds
	r.Ratio = r.TorchSeconds / r.Seconds
}

// summary returns the median and the minimum seconds over the rounds, and the share of time spent waiting for data.
func summary(rounds []spent) (median, least, waiting float64) {
	var sorted []float64
	var sum spent
	for _, s := range rounds {
		sorted = append(sorted, s.seconds)
		sum.seconds += s.seconds
		sum.wait += s.wait
	}
	slices.Sort(sorted)
	return middle(sorted), sorted[0], sum.wait / sum.seconds
}

// middle returns the median of sorted values.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
