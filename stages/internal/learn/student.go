// Package learn holds what every training of a recipe has in common: the order in which images are drawn, their views,
// the steps of a learner on them, and the BatchNorm statistics of the result.
package learn

import (
	"time"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Images gives random access to images of Size x Size pixels.
type Images struct {
	// Size is the height and width in pixels.
	Size int
	// At returns image i, [Size, Size, 3] bytes, which must not be modified.
	At func(i int) []uint8
}

// Student makes the views of images and has a learner take steps on them. It makes the next step's views while the
// device computes.
type Student struct {
	ssl.Learner
	seed    uint64
	images  Images
	pool    *kernels.Pool
	viewers []viewer // one per thread

	indices []int32   // of the batch's images
	views   []float32 // of the batch
	step    int       // that the views are for
	ready   bool      // the views are complete
	view    func(thread, i int)

	begun time.Time     // start of the first step
	busy  time.Duration // time that the device has computed since then
}

// viewer makes views on one thread.
type viewer struct {
	views  [2]*augment.Worker // for the first and the second view of an image
	random *rng.Generator
}

func newViewer(r *recipe.Recipe) viewer {
	view := func(operations []augment.Operation) *augment.Worker {
		return augment.NewWorker(operations, r.Input.Crop, r.Input.Mean, r.Input.Std)
	}
	return viewer{[2]*augment.Worker{view(r.Views.First), view(r.Views.Second)}, rng.NewGenerator()}
}

// NewStudent returns a student of a recipe's views with a learner on a device. Close it after use.
func NewStudent(d ssl.Device, c ssl.Config, r *recipe.Recipe, images Images, pool *kernels.Pool) (*Student, error) {
	if err := inference.Release(); err != nil {
		return nil, err
	}
	learner, err := ssl.Open(d, c, pool)
	if err != nil {
		return nil, err
	}
	st := &Student{
		Learner: learner, seed: r.Seed, images: images, pool: pool,
		indices: make([]int32, r.Train.Batch),
	}
	for range pool.Threads() {
		st.viewers = append(st.viewers, newViewer(r))
	}
	st.view = st.makeView
	return st, nil
}

// Prepare draws the images of a step and makes two views of each, unless it already has.
func (st *Student) Prepare(step int, s *Stream) {
	if st.ready && st.step == step {
		return
	}
	for i := range st.indices {
		st.indices[i] = s.Next()
	}
	st.step, st.views = step, st.Views()
	st.pool.For(2*len(st.indices), st.view)
	st.ready = true
}

// makeView makes view i of the batch.
func (st *Student) makeView(thread, i int) {
	v, n, size := st.viewers[thread], len(st.indices), st.images.Size
	v.random.Seek(st.seed, rng.View, uint64(st.step), uint64(i))
	pixels := len(st.views) / (2 * n)
	v.views[i/n].View(st.views[i*pixels:][:pixels], st.images.At(int(st.indices[i%n])), size, size, v.random)
}

// Start starts a step on the prepared views.
func (st *Student) Start(step ssl.Step) error {
	if st.begun.IsZero() {
		st.begun = time.Now()
	}
	st.ready = false
	return st.Submit(step)
}

// Finish waits for the step and returns its measurements.
func (st *Student) Finish() (ssl.Measure, error) {
	found, err := st.Wait()
	st.busy += found.Busy
	return found, err
}

// Idle returns the share of time that the device had nothing to compute.
func (st *Student) Idle() float64 {
	return max(0, 1-st.busy.Seconds()/max(time.Since(st.begun).Seconds(), 1e-9))
}
