package customize

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// version is a net that may suit the task.
type version struct {
	name  string
	model *inference.Model
	// What it was trained on beyond the net as it was, and how long that took.
	images  int64
	seconds float64
}

// AsIs is the version of a net that is not adapted.
const AsIs = "as is"

// adapt returns the versions of a net: as it is, with BatchNorm statistics of the task's images, and trained on them at
// each rate.
func (fn *customizeFn) adapt(ctx context.Context, r *recipe.Recipe, m *inference.Model, of *tasks.Images, from Start) ([]version, error) {
	if m.Backbone != r.Backbone || m.Heads != r.Heads() {
		return nil, errors.New("the model is not of the run's recipe")
	}
	a := &adapter{model: m, Further: learn.Further{
		Recipe: r, Params: m.Params, Images: learn.Images{Size: of.Size, At: of.At}, Rows: make([]int32, of.Len()),
		Name: "customize", Device: fn.Config.Device,
	}}
	for i := range a.Rows {
		a.Rows[i] = int32(i)
	}
	versions := []version{{name: AsIs, model: m}}
	return versions, compute.Run(func(pool *kernels.Pool) error {
		a.Pool = pool
		same, err := a.with(m.Params)
		if err != nil {
			return err
		}
		versions = append(versions, version{name: "statistics of the task", model: same})
		steps, err := fn.steps(a)
		if err != nil {
			return err
		}
		for _, rate := range fn.Config.Rates {
			curve := curves.New(fn.Config.Metrics, fmt.Sprintf("%s/%s-%g", from.Task, from.Subnet, rate), steps)
			start := time.Now()
			params, _, err := a.Train(ctx, steps, rate, curve)
			if errors.Is(err, learn.ErrDiverged) {
				slog.Warn("a version is left out", "task", from.Task, "rate", rate, "why", err)
				continue
			}
			if err != nil {
				return err
			}
			seconds := time.Since(start).Seconds()
			trained, err := a.with(params)
			if err != nil {
				return err
			}
			versions = append(versions, version{fmt.Sprintf("trained at %g", rate), trained, int64(steps) * int64(r.Train.Batch), seconds})
		}
		return nil
	})
}

// steps returns the number of training steps per rate that the budget allows.
func (fn *customizeFn) steps(a *adapter) (int, error) {
	if fn.Config.Images > 0 {
		return Steps(fn.Config.Images, len(fn.Config.Rates), a.Recipe.Train.Batch), nil
	}
	seconds, err := a.SecondsPerStep()
	return int(max(1, fn.Config.Seconds/float64(max(len(fn.Config.Rates), 1))/seconds)), err
}

// Steps returns the number of training steps per rate for a budget of images.
func Steps(images int64, rates, batch int) int {
	return int(max(1, images/int64(max(rates, 1))/int64(batch)))
}

// adapter trains a net on the images of a task.
type adapter struct {
	learn.Further
	model *inference.Model
}

// with returns the model with other weights and BatchNorm statistics of the task's images.
func (a *adapter) with(params []float32) (*inference.Model, error) {
	made, err := learn.Model(a.Recipe, params, a.Images, a.Rows, 0, a.Pool)
	if err != nil {
		return nil, err
	}
	m := *a.model
	m.Params, m.Stats = params, made.Stats
	return &m, nil
}
