// Package learn holds what every training of a recipe has in common: the order in which images are drawn, their views,
// the steps of a learner on them, and the BatchNorm statistics of the result.
package learn

import (
	"log/slog"
	"slices"
	"sync"
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

// Student has a learner take steps on views of images, which it makes, unless the device makes them of the images and of
// what the student draws. It prepares the next step while the device computes.
type Student struct {
	ssl.Learner
	seed    uint64
	images  Images
	pool    *kernels.Pool
	viewers []viewer // one per thread
	ahead   int

	indices []int32     // of the batch's images
	views   []float32   // of the batch, if the student makes them
	sources ssl.Sources // of the batch's views, otherwise
	step    int         // that these are for
	ready   bool        // they are complete
	view    func(thread, i int)
	draw    func(thread, i int)

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
	c.Views = deviceViews(d, r, images.Size)
	learner, err := ssl.Open(d, c, pool)
	if err != nil {
		return nil, err
	}
	st := &Student{
		Learner: learner, seed: r.Seed, images: images, pool: pool,
		indices: make([]int32, r.Train.Batch), ahead: 1,
	}
	if d, _ := ssl.Resolve(d); d.Name == ssl.CUDA { // a CPU has done a step when it returns from Start
		st.ahead = max(1, c.Ahead)
	}
	for range pool.Threads() {
		st.viewers = append(st.viewers, newViewer(r))
	}
	st.view, st.draw = st.makeView, st.drawViews
	return st, nil
}

// cpuViews says once in the log that a device does not make views.
var cpuViews sync.Once

// deviceViews describes a recipe's views of images of a size for a device to make; nil if no device can.
func deviceViews(d ssl.Device, r *recipe.Recipe, size int) *ssl.Views {
	if err := augment.CheckPortable(slices.Concat(r.Views.First, r.Views.Second)); err != nil {
		if d, _ := ssl.Resolve(d); d.Name == ssl.CUDA {
			cpuViews.Do(func() { slog.Info("the views are made on the CPU", "why", err) })
		}
		return nil
	}
	most := max(len(r.Views.First), len(r.Views.Second))
	return &ssl.Views{Size: size, Mean: r.Input.Mean, Std: r.Input.Std, Steps: augment.MaxSteps * most}
}

// Prepare draws the images of a step and makes or draws two views of each, unless it already has.
func (st *Student) Prepare(step int, s *Stream) {
	if st.ready && st.step == step {
		return
	}
	for i := range st.indices {
		st.indices[i] = s.Next()
	}
	st.step = step
	var ok bool
	if st.sources, ok = st.Sources(); ok {
		st.pool.For(len(st.indices), st.draw)
	} else {
		st.views = st.Views()
		st.pool.For(2*len(st.indices), st.view)
	}
	st.ready = true
}

// makeView makes view i of the batch.
func (st *Student) makeView(thread, i int) {
	v, n, size := st.viewers[thread], len(st.indices), st.images.Size
	st.seek(v, i)
	pixels := len(st.views) / (2 * n)
	v.views[i/n].View(st.views[i*pixels:][:pixels], st.images.At(int(st.indices[i%n])), size, size, v.random)
}

// drawViews copies image i of the batch and draws its views.
func (st *Student) drawViews(thread, i int) {
	v, n, size := st.viewers[thread], len(st.indices), st.images.Size
	copy(st.sources.Images[i*size*size*3:], st.images.At(int(st.indices[i])))
	most := len(st.sources.Steps) / (2 * n)
	for which, worker := range v.views {
		at := which*n + i
		st.seek(v, at)
		worker.Fill(st.sources.Steps[at*most:][:most], size, size, v.random)
	}
}

// seek moves to the random stream of view i of the batch.
func (st *Student) seek(v viewer, i int) {
	v.random.Seek(st.seed, rng.View, uint64(st.step), uint64(i))
}

// Ahead returns how many steps may be started before the first of them is finished.
func (st *Student) Ahead() int { return st.ahead }

// Start starts a step on the prepared views.
func (st *Student) Start(step ssl.Step) error {
	if st.begun.IsZero() {
		st.begun = time.Now()
	}
	st.ready = false
	return st.Submit(step)
}

// Finish waits for the first step that has not been finished, and returns its measurements.
func (st *Student) Finish() (ssl.Measure, error) {
	found, err := st.Wait()
	st.busy += found.Busy
	return found, err
}

// Idle returns the share of time that the device had nothing to compute.
func (st *Student) Idle() float64 {
	return max(0, 1-st.busy.Seconds()/max(time.Since(st.begun).Seconds(), 1e-9))
}
