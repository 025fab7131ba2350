package bench

import (
	"fmt"
	"maps"
	"time"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// loops are whole training loops over encoded images in memory: decode, two views of each image, training step. The
// real training decodes its images only once, during ingest; here decoding is part of every step, as in PyTorch's
// loops. On a GPU, for which the CPU may decode too slowly, there are loops over images that both sides have decoded, too.
func loops(o Options, data *pictures) []benchmark {
	jpeg, png := data.encode("jpeg"), data.encode("png")
	var cases []benchmark
	for _, p := range o.precisions() {
		narrow, wide := newTraining("simsiam", 16, p), newTraining("simsiam", 64, p)
		narrow.device, wide.device = o.Device, o.Device
		cases = append(cases,
			narrow.loop(o.Threads, "jpeg", jpeg), wide.loop(o.Threads, "jpeg", jpeg), narrow.loop(o.Threads, "png", png))
		if o.Device.Name == ssl.CUDA {
			cases = append(cases, narrow.loop(o.Threads, decoded, png), wide.loop(o.Threads, decoded, png))
		}
	}
	return cases
}

// decoded is the format of images that are decoded before the loop.
const decoded = "decoded"

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
		prepare: func(p *kernels.Pool, encoded [][]byte) (work, error) {
			image := func(i int) imageio.RGB { return mustDecode(encoded[i%len(encoded)]) }
			if format == decoded {
				var images []imageio.RGB
				for i := range encoded {
					images = append(images, image(i))
				}
				image = func(i int) imageio.RGB { return images[i%len(images)] }
			}
			return t.prepareLoop(p, image)
		},
	}
}

// prepareLoop returns the loop as in stages/train: all threads train, and then prepare the next step, or a GPU trains
// meanwhile, which makes the views.
func (t training) prepareLoop(p *kernels.Pool, image func(i int) imageio.RGB) (work, error) {
	operations := augment.SimSiam(t.size)
	l, err := t.learner(p, &ssl.Views{Size: smallSize, Mean: mean, Std: std, Steps: augment.MaxSteps * len(operations)})
	if err != nil {
		return work{}, err
	}
	views := newViewer(t.images, t.size, image, l, p)
	views.load()
	var waited time.Duration
	return work{
		run: func() {
			start := time.Now()
			busy := t.step(l, views.load).Busy
			waited += time.Since(start) - busy
		},
		wait:  func() time.Duration { return waited },
		close: l.Close,
	}, nil
}

// viewer makes two views of each image, batch by batch, or draws them for a device that makes them.
type viewer struct {
	image   func(i int) imageio.RGB
	threads []viewMaker // one per thread
	pool    *kernels.Pool
	images  int // per batch
	seen    int // images in previous batches
	to      viewed
	batch   []float32   // [2*images, size, size, 3]: all first views, then all second views
	sources ssl.Sources // instead of these
}

// viewed is the part of an ssl.Learner that takes views.
type viewed interface {
	Views() []float32
	Sources() (ssl.Sources, bool)
}

// viewMaker makes views on one thread.
type viewMaker struct {
	*augment.Worker
	random *rng.Generator
}

func newViewer(images, size int, image func(i int) imageio.RGB, to viewed, p *kernels.Pool) *viewer {
	v := &viewer{image: image, pool: p, images: images, to: to}
	for range p.Threads() {
		v.threads = append(v.threads, viewMaker{newWorker(size), rng.NewGenerator()})
	}
	return v
}

// load makes the next batch.
func (v *viewer) load() {
	var ok bool
	if v.sources, ok = v.to.Sources(); ok {
		v.pool.For(v.images, v.draw)
	} else {
		v.batch = v.to.Views()
		v.pool.For(v.images, v.make)
	}
	v.seen += v.images
}

// make makes the views of one image of the batch.
func (v *viewer) make(thread, i int) {
	size := len(v.batch) / (2 * v.images)
	v.each(thread, i, func(t viewMaker, m imageio.RGB, at int) {
		t.View(v.batch[at*size:][:size], m.Pix, m.Height, m.Width, t.random)
	})
}

// draw copies one image of the batch, which is a small one, and draws its views.
func (v *viewer) draw(thread, i int) {
	most := len(v.sources.Steps) / (2 * v.images)
	v.each(thread, i, func(t viewMaker, m imageio.RGB, at int) {
		copy(v.sources.Images[i*len(m.Pix):], m.Pix)
		t.Fill(v.sources.Steps[at*most:][:most], m.Height, m.Width, t.random)
	})
}

// each takes an image of the batch and calls f for each of its views, with the place of the view.
func (v *viewer) each(thread, i int, f func(t viewMaker, m imageio.RGB, at int)) {
	t := v.threads[thread]
	m := v.image(v.seen + i)
	for view := range 2 {
		at := view*v.images + i
		t.random.Seek(1, rng.View, uint64(v.seen), uint64(at))
		f(t, m, at)
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
