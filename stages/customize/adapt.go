package customize

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// version is a net that may suit the task.
type version struct {
	name   string
	model  *inference.Model
	images int64 // that it was trained on beyond the net as it was
}

// AsIs is the version of a net that is not adapted.
const AsIs = "as is"

// warmup is the fraction of the steps over which the learning rate rises.
const warmup = .05

// adapt returns the versions of a net: as it is, with BatchNorm statistics of the task's images, and trained on them at
// each rate.
func (fn *customizeFn) adapt(ctx context.Context, r *recipe.Recipe, m *inference.Model, of *tasks.Images) ([]version, error) {
	if m.Backbone != r.Backbone || m.Heads != r.Heads() {
		return nil, errors.New("the model is not of the run's recipe")
	}
	a := &adapter{
		recipe: r, model: m, device: fn.Config.Device,
		images: learn.Images{Size: of.Size, At: of.At}, rows: make([]int32, of.Len()),
	}
	for i := range a.rows {
		a.rows[i] = int32(i)
	}
	versions := []version{{AsIs, m, 0}}
	return versions, compute.Run(func(pool *kernels.Pool) error {
		a.pool = pool
		same, err := a.with(m.Params)
		if err != nil {
			return err
		}
		versions = append(versions, version{"statistics of the task", same, 0})
		steps, err := fn.steps(a)
		if err != nil {
			return err
		}
		for _, rate := range fn.Config.Rates {
			params, err := a.train(ctx, steps, rate)
			if err != nil {
				return err
			}
			trained, err := a.with(params)
			if err != nil {
				return err
			}
			versions = append(versions, version{fmt.Sprintf("trained at %g", rate), trained, int64(steps) * int64(r.Train.Batch)})
		}
		return nil
	})
}

// steps returns the number of training steps per rate that the budget allows.
func (fn *customizeFn) steps(a *adapter) (int, error) {
	rates, batch := int64(max(len(fn.Config.Rates), 1)), int64(a.recipe.Train.Batch)
	if fn.Config.Images > 0 {
		return int(max(1, fn.Config.Images/rates/batch)), nil
	}
	seconds, err := a.secondsPerStep()
	return int(max(1, fn.Config.Seconds/float64(rates)/seconds)), err
}

// adapter trains a net on the images of a task.
type adapter struct {
	recipe *recipe.Recipe
	model  *inference.Model
	device ssl.Device
	images learn.Images
	rows   []int32
	pool   *kernels.Pool
}

// with returns the model with other weights and BatchNorm statistics of the task's images.
func (a *adapter) with(params []float32) (*inference.Model, error) {
	made, err := learn.Model(a.recipe, params, a.images, a.rows, 0, a.pool)
	if err != nil {
		return nil, err
	}
	m := *a.model
	m.Params, m.Stats = params, made.Stats
	return &m, nil
}

// open returns a student whose learner holds the model as a net of its own.
func (a *adapter) open() (*learn.Student, *sdrnet.Net, error) {
	layout := nn.NewLayout(a.recipe.Backbone, a.recipe.Heads())
	cfg := learn.Config(a.recipe, layout)
	cfg.Distill = 0
	nets, err := sdrnet.New(layout, sdrnet.Config{}, a.model.Params, cfg.State(a.model.Params), cfg.Memory(rng.New(a.recipe.Seed, rng.Queue)))
	if err != nil {
		return nil, nil, err
	}
	st, err := learn.NewStudent(a.device, cfg, a.recipe, a.images, a.pool)
	if err != nil {
		return nil, nil, err
	}
	if err := st.Load(nets, nil); err != nil {
		return nil, nil, errors.Join(err, st.Close())
	}
	return st, nets, nil
}

// train returns the weights after steps of the recipe's self-supervised training, with the recipe's optimizer, at a
// learning rate that rises to rate and falls to zero along a cosine.
func (a *adapter) train(ctx context.Context, steps int, rate float64) (params []float32, err error) {
	st, nets, err := a.open()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	stream := learn.NewStream(a.recipe.Seed, rng.Name("customize"), a.rows)
	batch := int64(a.recipe.Train.Batch)
	bar := progress.Start("customize", "images", 0, int64(steps)*batch)
	defer bar.End()
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		lr := optim.Cosine(step, steps, int(warmup*float64(steps)), rate)
		if err := take(st, stream, ssl.Step{LR: float32(lr), Number: step + 1, Of: steps}); err != nil {
			return nil, err
		}
		bar.Add(batch)
	}
	if err := st.Sync(); err != nil {
		return nil, err
	}
	params = make([]float32, len(a.model.Params))
	nets.Gather("", params)
	return params, nil
}

// take takes a step on the next images of a stream and prepares the views of the one after it.
func take(st *learn.Student, stream *learn.Stream, step ssl.Step) error {
	st.Prepare(step.Number, stream)
	if err := st.Start(step); err != nil {
		return err
	}
	if step.Number < step.Of {
		st.Prepare(step.Number+1, stream)
	}
	_, err := st.Finish()
	return err
}

// The steps before and during the measurement of their time; the first ones load and choose kernels.
const (
	untimedSteps = 3
	timedSteps   = 6
)

// secondsPerStep measures how long a step takes.
func (a *adapter) secondsPerStep() (seconds float64, err error) {
	st, _, err := a.open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	stream := learn.NewStream(a.recipe.Seed, 0, a.rows)
	var start time.Time
	for step := range untimedSteps + timedSteps {
		if step == untimedSteps {
			start = time.Now()
		}
		if err := take(st, stream, ssl.Step{Number: step + 1, Of: untimedSteps + timedSteps}); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds() / timedSteps, nil
}
