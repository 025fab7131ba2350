package learn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Further goes on with the self-supervised training of a finished net, on images of its own. There is no teacher.
type Further struct {
	Recipe *recipe.Recipe
	// Params are the net's weights, which stay as they are: Train returns others.
	Params []float32
	// Own, if it has a level, is that level: only the weights that are individual there are trained, and the others stay
	// as they are, bit by bit. Otherwise all are.
	Own sdrnet.Config
	// Rows are the images to train on.
	Images Images
	Rows   []int32
	// Name names the training in the progress and selects its order of images.
	Name   string
	Device ssl.Device
	Pool   *kernels.Pool
}

// warmup is the fraction of the steps over which the learning rate rises.
const warmup = .05

// open returns a student whose learner holds the net, and the code of what it trains.
func (f *Further) open() (*Student, *sdrnet.Net, string, error) {
	layout := nn.NewLayout(f.Recipe.Backbone, f.Recipe.Heads())
	cfg := Config(f.Recipe, layout)
	cfg.Distill, cfg.GroupLR, cfg.Teacher, cfg.Ahead = 0, 0, nil, 1 // each step depends on the last one
	nets, err := sdrnet.New(layout, f.Own, f.Params, cfg.State(f.Params), cfg.Memory(rng.New(f.Recipe.Seed, rng.Queue)))
	if err != nil {
		return nil, nil, "", err
	}
	code := ""
	if cfg.Defers = nets.Levels() > 0; cfg.Defers {
		if len(nets.Individual(0)) == 0 {
			return nil, nil, "", fmt.Errorf("there are no individual weights to train (split.shared: %v)", f.Own.Shared)
		}
		nets.Split()
		code = "0"
	}
	st, err := NewStudent(f.Device, cfg, f.Recipe, f.Images, f.Pool)
	if err != nil {
		return nil, nil, "", err
	}
	if err := st.Load(nets, nil); err != nil {
		return nil, nil, "", errors.Join(err, st.Close())
	}
	return st, nets, code, nil
}

// ErrDiverged is what errors.Is finds in the error of a training whose loss is no finite number.
var ErrDiverged = errors.New("the training diverged")

// Train returns the weights after steps of the recipe's self-supervised training, with the recipe's optimizer, at a
// learning rate that rises to rate and falls to zero along a cosine, and the measurements of the last step. It writes all of
// these to the curve, which should be new.
func (f *Further) Train(ctx context.Context, steps int, rate float64, curve *curves.Curve) (params []float32, last ssl.Measure, err error) {
	st, nets, code, err := f.open()
	if err != nil {
		return nil, last, err
	}
	defer func() { err = errors.Join(err, st.Close(), curve.Close()) }()
	stream := NewStream(f.Recipe.Seed, rng.Name(f.Name), f.Rows)
	batch := int64(f.Recipe.Train.Batch)
	bar := progress.Start(f.Name, "images", 0, int64(steps)*batch)
	defer bar.End()
	loss, std, wait := progress.Figure{Format: "%.3f"}, progress.Figure{Format: "%.3f"}, progress.Figure{Format: "%.0f%%"}
	details := []any{"loss", &loss, "std", &std, "data_wait", &wait}
	for step := range steps {
		if err := ctx.Err(); err != nil {
			return nil, last, err
		}
		lr := optim.Cosine(step, steps, int(warmup*float64(steps)), rate)
		// Shared weights are never updated, since every step leaves that to a later one.
		if last, err = take(st, stream, ssl.Step{Code: code, LR: float32(lr), Defer: code != "", Number: step + 1, Of: steps}); err != nil {
			return nil, last, err
		}
		if math.IsNaN(last.Loss) || math.IsInf(last.Loss, 0) {
			return nil, last, fmt.Errorf("the loss is %v at step %d: %w; lower the rate (now %v)", last.Loss, step, ErrDiverged, rate)
		}
		idle := st.Idle()
		curve.Add(curves.Point{
			Step: step, Loss: last.Loss, SSL: last.SSL, Distill: last.Distill, Std: last.Std, LR: lr,
			Time: float64(time.Now().UnixMilli()) / 1000, Wait: idle,
		})
		loss.Value, std.Value, wait.Value = last.Loss, last.Std, 100*idle
		bar.Add(batch, details...)
		if curve.Due() {
			if err := curve.Write(ctx); err != nil {
				return nil, last, err
			}
		}
	}
	if err := curve.Write(ctx); err != nil {
		return nil, last, err
	}
	if err := st.Sync(); err != nil {
		return nil, last, err
	}
	params = make([]float32, len(f.Params))
	nets.Gather(code, params)
	return params, last, nil
}

// take takes a step on the next images of a stream and prepares the views of the one after it.
func take(st *Student, stream *Stream, step ssl.Step) (ssl.Measure, error) {
	st.Prepare(step.Number, stream)
	if err := st.Start(step); err != nil {
		return ssl.Measure{}, err
	}
	if step.Number < step.Of {
		st.Prepare(step.Number+1, stream)
	}
	return st.Finish()
}

// The steps before and during the measurement of their time; the first ones load and choose kernels.
const (
	untimedSteps = 3
	timedSteps   = 6
)

// SecondsPerStep measures how long a step takes.
func (f *Further) SecondsPerStep() (seconds float64, err error) {
	st, _, code, err := f.open()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	stream := NewStream(f.Recipe.Seed, 0, f.Rows)
	var start time.Time
	for step := range untimedSteps + timedSteps {
		if step == untimedSteps {
			start = time.Now()
		}
		if _, err := take(st, stream, ssl.Step{Code: code, Defer: code != "", Number: step + 1, Of: untimedSteps + timedSteps}); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds() / timedSteps, nil
}
