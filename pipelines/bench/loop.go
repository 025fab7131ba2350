package bench

import (
	"fmt"
	"maps"
	"time"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// loops are whole training loops over encoded images in memory: decode, two views of each image, training step. The
// real training decodes its images only once, during ingest; here decoding is part of every step, as in PyTorch's
// loops.
func loops(o Options, data *pictures) []benchmark {
	jpeg, png := data.encode("jpeg"), data.encode("png")
	var cases []benchmark
	for _, p := range o.precisions() {
		narrow, wide := newTraining("simsiam", 16, p), newTraining("simsiam", 64, p)
		cases = append(cases,
			narrow.loop(o.Threads, "jpeg", jpeg), wide.loop(o.Threads, "jpeg", jpeg), narrow.loop(o.Threads, "png", png))
	}
	return cases
}

func (t training) loop(threads int, format string, encoded source) benchmark {
	sizes := map[string]any{"format": format}
	maps.Copy(sizes, t.sizes())
	return benchmark{
		name:    fmt.Sprintf("loop/%s/%s", t.name(), format),
		kind:    "loop",
		sizes:   sizes,
		threads: threads,
		flops:   t.flops(),
		images:  t.images,
		round:   t.round,
		stretch: 8, // PyTorch's worker processes take a while to get ahead
		encoded: encoded,
		prepare: t.prepareLoop,
	}
}

// prepareLoop returns the loop as in stages/train: all threads make views, then all threads train.
func (t training) prepareLoop(p *kernels.Pool, encoded [][]byte) (work, error) {
	l, err := t.learner(p)
	if err != nil {
		return work{}, err
	}
	views := newViewer(t.images, t.size, encoded, l.Views(), p)
	var waited time.Duration
	return work{
		run: func() {
			start := time.Now()
			views.load()
			waited += time.Since(start)
			t.step(l)
		},
		wait: func() time.Duration { return waited },
	}, nil
}

// viewer decodes images, batch by batch, and makes two views of each.
type viewer struct {
	encoded [][]byte
	threads []viewMaker // one per thread
	pool    *kernels.Pool
	images  int       // per batch
	seen    int       // images in previous batches
	batch   []float32 // [2*images, size, size, 3]: all first views, then all second views
}

// viewMaker makes views on one thread.
type viewMaker struct {
	*augment.Worker
	random *rng.Generator
}

func newViewer(images, size int, encoded [][]byte, batch []float32, p *kernels.Pool) *viewer {
	v := &viewer{
		encoded: encoded, pool: p,
		images: images, batch: batch,
	}
	for range p.Threads() {
		v.threads = append(v.threads, viewMaker{newWorker(size), rng.NewGenerator()})
	}
	return v
}

// load makes the next batch.
func (v *viewer) load() {
	v.pool.For(v.images, v.make)
	v.seen += v.images
}

// make makes the views of one image of the batch.
func (v *viewer) make(thread, i int) {
	t := v.threads[thread]
	m := mustDecode(v.encoded[(v.seen+i)%len(v.encoded)])
	size := len(v.batch) / (2 * v.images)
	for view := range 2 {
		at := view*v.images + i
		t.random.Seek(1, rng.View, uint64(v.seen), uint64(at))
		t.View(v.batch[at*size:][:size], m.Pix, m.Height, m.Width, t.random)
	}
}

// mustDecode decodes an image that this package encoded.
func mustDecode(data []byte) imageio.RGB {
	m, err := imageio.Decode(data)
	if err != nil {
		panic(err)
	}
	return m
}
