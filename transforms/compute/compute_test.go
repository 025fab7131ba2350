package compute_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// TestRun requests the thread pool from many goroutines: one has it at a time, and all get the same pool.
func TestRun(t *testing.T) {
	busy := 0 // the race detector would notice two at once
	pools := make([]*kernels.Pool, 16)
	var group sync.WaitGroup
	for i := range pools {
		group.Go(func() {
			err := compute.Run(func(threads *kernels.Pool) error {
				busy++
				pools[i] = threads
				runtime.Gosched()
				if busy != 1 {
					t.Errorf("%d have the device at once", busy)
				}
				busy--
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for _, p := range pools {
		require.Same(t, pools[0], p)
	}
	require.Equal(t, runtime.GOMAXPROCS(0), pools[0].Threads())
}
