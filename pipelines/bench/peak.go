package bench

import (
	"runtime"
	"sync"
	"time"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// peak returns the rate in GFLOPS that the processor reaches with the given number of threads: the best of several
// short measurements of the matrix kernel, in which every thread works on its own matrices in its L2 cache. It depends
// on the clock rate under load, so every Run measures it again.
func (m *meter) peak(threads int) float64 {
	if m.peaks[threads] == 0 {
		m.peaks[threads] = measurePeak(threads)
	}
	return m.peaks[threads]
}

func measurePeak(threads int) (best float64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads))
	for range 24 {
		for _, s := range []matrices{{m: 192, k: 192, n: 192}, {m: 384, k: 384, n: 384}, {m: 960, k: 144, n: 96}} {
			best = max(best, inCache(threads, s))
		}
	}
	return best
}

// inCache measures one product, which every thread repeats independently.
func inCache(threads int, s matrices) float64 {
	const length = 20 * time.Millisecond
	rates := make([]float64, threads)
	var all sync.WaitGroup
	for i := range rates {
		all.Go(func() {
			pool := kernels.NewPool(1)
			defer pool.Close()
			multiply := s.prepare(pool)
			multiply()
			start, n := time.Now(), 0
			for ; time.Since(start) < length; n++ {
				multiply()
			}
			rates[i] = s.flops() * float64(n) / time.Since(start).Seconds() / 1e9
		})
	}
	all.Wait()
	sum := 0.0
	for _, rate := range rates {
		sum += rate
	}
	return sum
}
