package customize

import (
	"context"
	"errors"
	"fmt"
	"slices"
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

// base is the weights that versions begin with.
type base struct {
	name   string // prefix of the versions' names
	params []float32
}

// average returns the average of the nets' weights.
func average(ctx context.Context, nets []Start) (params []float32, err error) {
	for _, n := range nets {
		m, err := inference.Load(ctx, n.Model)
		if err != nil {
			return nil, err
		}
		if params == nil {
			params = make([]float32, len(m.Params))
		}
		for i, p := range m.Params {
			params[i] += p / float32(len(nets))
		}
	}
	return params, nil
}

// adapt returns the versions of a net: as it is and, for each base, with BatchNorm statistics of the task's images,
// trained on them at each rate, and halfway to that in weights (WiSE-FT, arXiv 2109.01903).
func (fn *customizeFn) adapt(ctx context.Context, r *recipe.Recipe, m *inference.Model, bases []base, of *tasks.Images) ([]version, error) {
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
		steps, err := fn.steps(a, len(bases)*len(fn.Config.Rates))
		if err != nil {
			return err
		}
		add := func(name string, params []float32, steps int) error {
			made, err := a.with(params)
			versions = append(versions, version{name, made, int64(steps) * int64(r.Train.Batch)})
			return err
		}
		for _, b := range bases {
			if err := add(b.name+"statistics of the task", b.params, 0); err != nil {
				return err
			}
			for _, rate := range fn.Config.Rates {
				trained, err := a.train(ctx, b.params, steps, rate)
				if err != nil {
					return err
				}
				halfway := slices.Clone(trained)
				for i, p := range b.params {
					halfway[i] = (p + halfway[i]) / 2
				}
				err = errors.Join(add(fmt.Sprintf("%strained at %g", b.name, rate), trained, steps),
					add(fmt.Sprintf("%shalfway to trained at %g", b.name, rate), halfway, steps))
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// steps returns the number of steps of each training that the budget allows.
func (fn *customizeFn) steps(a *adapter, trainings int) (int, error) {
	trainings = max(trainings, 1)
	if fn.Config.Images > 0 {
		return int(max(1, fn.Config.Images/int64(trainings*a.recipe.Train.Batch))), nil
	}
	seconds, err := a.secondsPerStep()
	return int(max(1, fn.Config.Seconds/float64(trainings)/seconds)), err
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

// open returns a student whose learner holds a net with the given weights.
func (a *adapter) open(params []float32) (*learn.Student, *sdrnet.Net, error) {
	layout := nn.NewLayout(a.recipe.Backbone, a.recipe.Heads())
	cfg := learn.Config(a.recipe, layout)
	cfg.Distill = 0
	nets, err := sdrnet.New(layout, sdrnet.Config{}, params, cfg.State(params), cfg.Memory(rng.New(a.recipe.Seed, rng.Queue)))
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

// train returns the weights after steps from given ones by the recipe's self-supervised training, with the recipe's optimizer, at a
// learning rate that rises to rate and falls to zero along a cosine.
func (a *adapter) train(ctx context.Context, from []float32, steps int, rate float64) (params []float32, err error) {
	st, nets, err := a.open(from)
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
	st, _, err := a.open(a.model.Params)
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
