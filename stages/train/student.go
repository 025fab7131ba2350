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
	augment augment.Recipe
	viewers []viewer // one a thread

	indices []int32 // of the batch's images
	step    int     // that the views are made for
	view    func(thread, i int)

	loading, computing time.Duration
}

// viewer makes views on one thread.
type viewer struct {
	*augment.Worker
	random *rng.Generator
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
		augment: augment.SimSiam(r.Input.Crop),
		indices: make([]int32, r.Train.Batch),
	}
	st.augment.BlurProb = r.Input.Blur
	st.augment.ScaleMin = r.Input.ScaleMin
	st.augment.Mean, st.augment.Std = r.Input.Mean, r.Input.Std
	for range pool.Threads() {
		st.viewers = append(st.viewers, viewer{augment.NewWorker(&st.augment), rng.NewGenerator()})
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
	params := st.augment.Draw(v.random.Rand, size, size)
	pixels := len(views) / (2 * n)
	v.Apply(views[i*pixels:][:pixels], st.images.At(int(st.indices[i%n])), size, size, params)
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
