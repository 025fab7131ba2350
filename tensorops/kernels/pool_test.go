package kernels

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForVisitsEveryIndexOnce(t *testing.T) {
	for _, threads := range []int{1, 2, 5} {
		p := newPool(t, threads)
		require.Equal(t, threads, p.Threads())
		for _, n := range []int{0, 1, 2, 4, 1000} {
			visits := make([]int, n)
			perWorker := make([]int, threads)
			p.For(n, func(worker, i int) {
				visits[i]++
				perWorker[worker]++
			})
			total := 0
			for _, v := range perWorker {
				total += v
			}
			require.Equal(t, n, total)
			for _, v := range visits {
				require.Equal(t, 1, v)
			}
		}
	}
}

func TestPoolServesSeveralGoroutines(t *testing.T) {
	p := newPool(t, 3)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				sum := make([]int, p.Threads())
				p.For(20, func(worker, i int) { sum[worker] += i })
				require.Equal(t, 190, sum[0]+sum[1]+sum[2])
			}
		})
	}
	wg.Wait()
}

func TestNewPoolDefaultsToAllProcessors(t *testing.T) {
	require.Positive(t, newPool(t, 0).Threads())
}
