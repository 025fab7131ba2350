package train

import (
	"time"

	"github.com/sdr-ml/sdr/stages/recipe"
	"github.com/sdr-ml/sdr/stages/shards"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// student computes the loss of one sub-net on one batch, and its gradient.
type student struct {
	recipe  *recipe.Recipe
	images  *shards.Images
	pool    *kernels.Pool
	augment augment.Recipe
	viewers []viewer // one a thread

	net     *nn.Net
	views   []float32 // [2*batch, crop, crop, 3]: all first views, then all second ones
	indices []int32   // of the batch's images
	dz, dp  []float32 // gradients of the embedding and the prediction
	step    int       // that the views are made for
	view    func(thread, i int)

	cosine *nn.NegCosine // SimSiam and SiamKD
	ntxent *nn.NTXent    // nil for SimSiam
	watch  *nn.Collapse

	teachers *sdrnet.Net // frozen, as the last phase left them
	teacher  *nn.Net

	loading, computing time.Duration
}

// viewer makes views on one thread.
type viewer struct {
	*augment.Worker
	random *rng.Generator
}

func newStudent(r *recipe.Recipe, images *shards.Images, pool *kernels.Pool) *student {
	n, heads := r.Train.Batch, r.Heads()
	st := &student{
		recipe: r, images: images, pool: pool,
		augment: augment.SimSiam(r.Input.Crop),
		net:     nn.New(r.Backbone, heads, r.Input.Crop, 2*n, 2, pool, nn.Train|precision(r)),
		views:   make([]float32, 2*n*r.Input.Crop*r.Input.Crop*3),
		indices: make([]int32, n),
		dz:      make([]float32, 2*n*r.SSL.Dim),
	}
	st.augment.BlurProb = r.Input.Blur
	st.augment.ScaleMin = r.Input.ScaleMin
	st.augment.Mean, st.augment.Std = r.Input.Mean, r.Input.Std
	for range pool.Threads() {
		st.viewers = append(st.viewers, viewer{augment.NewWorker(&st.augment), rng.NewGenerator()})
	}
	if heads.PredictorHidden > 0 {
		st.dp = make([]float32, len(st.dz))
	}
	st.view = st.makeView
	st.watch = nn.NewCollapse(r.SSL.Dim)
	st.cosine = nn.NewNegCosine(2*n, r.SSL.Dim, pool)
	if r.SSL.Method == recipe.NTXent {
		st.ntxent = nn.NewNTXent(2*n, r.SSL.Dim, r.SSL.Temperature, pool)
	}
	return st
}

// precision is what the recipe adds to a net's mode.
func precision(r *recipe.Recipe) nn.Mode {
	if r.Train.Precision == recipe.BF16 {
		return nn.BF16
	}
	return 0
}

// parent makes the nets the teachers of the phase that begins.
func (st *student) parent(nets *sdrnet.Net) {
	if st.recipe.SSL.Distill == 0 {
		return
	}
	st.teachers = nets
	if st.teacher == nil {
		r := st.recipe
		st.teacher = nn.New(r.Backbone, r.Heads(), r.Input.Crop, 2*r.Train.Batch, 2, st.pool, nn.Inference|precision(r))
	}
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
	v, n, size := st.viewers[thread], len(st.indices), st.images.Size()
	v.random.Seek(st.recipe.Seed, rng.View, uint64(st.step), uint64(i))
	params := st.augment.Draw(v.random.Rand, size, size)
	pixels := len(st.views) / (2 * n)
	v.Apply(st.views[i*pixels:][:pixels], st.images.At(int(st.indices[i%n])), size, size, params)
}

// gradient runs the sub-net of a code forward and backward on the loaded
// views; its weights are in net.Params. The loss is that of the
// self-supervised method plus lambda times SiamKD.
func (st *student) gradient(code string) (loss, ssl, distill float64) {
	start := time.Now()
	defer func() { st.computing += time.Since(start) }()
	st.net.Forward(st.views, nn.BatchStats)
	clear(st.dp)
	dz := st.dz
	if st.ntxent == nil {
		dz = nil // stop-gradient
		ssl = st.cosine.Loss(st.net.P, st.net.Z, st.dp, 1)
	} else {
		clear(dz)
		ssl = st.ntxent.Loss(st.net.Z, dz, 1)
	}
	lambda := st.recipe.SSL.Distill
	if st.teachers != nil {
		st.teachers.Gather(code[:max(len(code)-1, 0)], st.teacher.Params)
		st.teacher.Forward(st.views, nn.BatchStats)
		distill = st.cosine.Loss(st.net.P, st.teacher.Z, st.dp, float32(lambda))
	}
	st.net.Backward(dz, st.dp)
	return ssl + lambda*distill, ssl, distill
}

// std is the collapse watch of the loaded batch.
func (st *student) std() float64 { return st.watch.Std(st.net.Z) }

// wait is the share of the time that went into making views.
func (st *student) wait() float64 {
	return st.loading.Seconds() / max((st.loading+st.computing).Seconds(), 1e-9)
}
