package train

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// newLastPhase returns a trainer at the beginning of the SDR variant's last phase.
func newLastPhase(t *testing.T, set ...string) *trainer {
	t.Helper()
	images, err := shards.Open(t.Context(), writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, images.Close()) })
	pool := kernels.NewPool(2)
	t.Cleanup(pool.Close)
	tr, err := openTrainer(t.Context(), Config{Dir: t.TempDir()}, tiny(t, set...), SDR, images, pool)
	require.NoError(t, err)
	tr.nets.Split()
	require.NoError(t, tr.split())
	tr.phase = 2

	other := learn.NewStream(1, 2, tr.streams[""].Rows)
	for step := range 200 { // the view buffers grow to their largest size
		tr.student.Prepare(step, other)
	}
	return tr
}

// steps trains for n steps.
func steps(t *testing.T, tr *trainer, n int) {
	for range n {
		require.NoError(t, tr.advance(1000, true))
	}
}

// A step allocates nothing: views, forward, loss, backward, update and measurements, for any sub-net, method and
// optimizer.
func TestStepAllocatesNothing(t *testing.T) {
	for _, set := range [][]string{
		{"ssl.method=ntxent", "train={optimizer: sgd}"},
		{"ssl.method=simsiam", "train={optimizer: lars}"},
		{"ssl.method=ntxent", "train={optimizer: adamw, lr: 0.001}"},
		{"ssl.method=byol", "train={optimizer: sgd}", "split.lr=2"},
		{"ssl.method=moco", "train={optimizer: sgd}"},
		{"ssl.method=swav", "train={optimizer: lars}"},
		{"ssl={method: ntxent, distill: 0.5, teacher: ema}", "train.accumulate=3"},
	} {
		tr := newLastPhase(t, append(set, "train.images=16000", "views.gaussian_blur.p=0.5")...)
		steps(t, tr, 40)
		require.Len(t, tr.last, 5, "all sub-nets have been trained")
		require.Zero(t, testing.AllocsPerRun(40, func() {
			if err := tr.advance(1000, true); err != nil {
				panic(err)
			}
		}), set)
	}
}

// Thousands of steps leave nothing on the heap except what the runtime itself keeps: a few KiB for its threads.
func TestHeapDoesNotGrow(t *testing.T) {
	tr := newLastPhase(t, "ssl.method=simsiam", "train={batch: 2, images: 20400, phases: [0.2, 0.4]}", "input.crop=8", "backbone.width=1")
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC() // frees what finalizers and pools kept through the first
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	steps(t, tr, 200)
	before := heap()
	steps(t, tr, 10_000)
	require.Less(t, heap(), before+32<<10)
	runtime.KeepAlive(tr)
}
