package train

import (
	"time"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// student makes views of images and has a learner take steps on them.
type student struct {
	ssl.Learner
	seed    uint64
	images  *shards.Images
	pool    *kernels.Pool
	viewers []viewer // one per thread

	indices []int32 // of the batch's images
	step    int     // that the views are made for
	view    func(thread, i int)

	loading, computing time.Duration
}

// viewer makes views on one thread.
type viewer struct {
	views  [2]*augment.Worker // the first and the second view of an image
	random *rng.Generator
}

func newViewer(r *recipe.Recipe) viewer {
	view := func(operations []augment.Operation) *augment.Worker {
		return augment.NewWorker(operations, r.Input.Crop, r.Input.Mean, r.Input.Std)
	}
	return viewer{[2]*augment.Worker{view(r.Views.First), view(r.Views.Second)}, rng.NewGenerator()}
}

func newStudent(d ssl.Device, r *recipe.Recipe, o optim.Optimizer, images *shards.Images, pool *kernels.Pool) (*student, error) {
	c := ssl.Config{
		Backbone: r.Backbone, Heads: r.Heads(), Size: r.Input.Crop, Batch: r.Train.Batch,
		Distill: r.SSL.Distill, BF16: r.Train.Precision == recipe.BF16, Optimizer: o,
	}
	if r.SSL.Method == recipe.NTXent {
		c.Temperature = r.SSL.Temperature
	}
	learner, err := ssl.Open(d, c, pool)
	if err != nil {
		return nil, err
	}
	st := &student{
		Learner: learner, seed: r.Seed, images: images, pool: pool,
		indices: make([]int32, r.Train.Batch),
	}
	for range pool.Threads() {
		st.viewers = append(st.viewers, newViewer(r))
	}
	st.view = st.makeView
	return st, nil
}

// load draws the step's images and makes two views of each.
func (st *student) load(step int, s *stream) {
	start := time.Now()
	for i := range st.indices {
		st.indices[i] = s.next()
	}
	st.step = step
	st.pool.For(2*len(st.indices), st.view)
	st.loading += time.Since(start)
}

// makeView makes view i of the batch.
func (st *student) makeView(thread, i int) {
	v, n, size, views := st.viewers[thread], len(st.indices), st.images.Size(), st.Views()
	v.random.Seek(st.seed, rng.View, uint64(st.step), uint64(i))
	pixels := len(views) / (2 * n)
	v.views[i/n].View(views[i*pixels:][:pixels], st.images.At(int(st.indices[i%n])), size, size, v.random)
}

// learn has a sub-net learn from the loaded views.
func (st *student) learn(code string, lr float32, n int) (ssl.Measure, error) {
	start := time.Now()
	defer func() { st.computing += time.Since(start) }()
	return st.Step(code, lr, n)
}

// wait is the share of the time that went into making views.
func (st *student) wait() float64 {
	return st.loading.Seconds() / max((st.loading+st.computing).Seconds(), 1e-9)
}
