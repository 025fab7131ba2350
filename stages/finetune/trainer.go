package finetune

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"gonum.org/v1/gonum/stat/distuv"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// checkpointTime is the time between checkpoints.
var checkpointTime = 30 * time.Second

// warmup is the fraction of the steps over which the learning rate rises.
const warmup = .05

// state is what a checkpoint holds besides vectors.
type state struct {
	Inputs string  `json:"inputs"`
	Step   int     `json:"step"`
	Sum    float64 `json:"sum"` // of the losses of this epoch
	// Best is the epoch of the best weights, and Better the last epoch that was better than all before it.
	Best    int            `json:"best"`
	Better  int            `json:"better"`
	History []curves.Epoch `json:"history"`
}

// trainer trains one net for one task.
type trainer struct {
	state
	cfg         Config
	metric      string
	input       inference.Input
	images      *tasks.Images
	train, held []int32

	*learner
	best     struct{ params, stats []float32 } // the best weights so far, if images are held out
	stream   *learn.Stream
	indices  []int32
	views    []*augment.Worker // one per thread
	randoms  []*rng.Generator
	viewTask func(thread, i int)
}

// newTrainer returns a trainer of a backbone for the images of a task. It computes on the pool.
func newTrainer(m *inference.Model, images *tasks.Images, metric string, cfg Config, inputs string, pool *kernels.Pool) *trainer {
	t := &trainer{cfg: cfg, metric: metric, input: m.Input, images: images}
	t.Inputs = inputs
	t.train, t.held = holdOut(images.Labels, cfg.HeldOut, cfg.Seed)
	batch := min(cfg.Batch, len(t.train))
	t.learner = newLearner(m.Backbone, len(images.Classes), m.Input.Size, batch, cfg, pool)
	l := t.net.Layout
	l.Init(t.net.Params, rng.New(cfg.Seed, rng.Weights))
	copy(t.net.Params, m.Params)
	copy(t.net.Stats, m.Stats)
	t.stream, t.indices = learn.NewStream(cfg.Seed, 0, t.train), make([]int32, batch)
	crop := augment.RandomResizedCrop{Scale: [2]float64{cfg.Scale, 1}, Ratio: [2]float64{3. / 4, 4. / 3}}
	for range pool.Threads() {
		operations := []augment.Operation{crop, augment.HorizontalFlip{P: cfg.Flip}}
		t.views = append(t.views, augment.NewWorker(operations, m.Input.Size, m.Input.Mean, m.Input.Std))
		t.randoms = append(t.randoms, rng.NewGenerator())
	}
	t.viewTask = t.view
	return t
}

// epochSteps returns the number of steps per epoch.
func (t *trainer) epochSteps() int { return max(1, len(t.train)/t.batch) }

// run trains to the end, from the checkpoint at a path if it has the same inputs. Without a path, there are none. The epochs are
// logged beside the checkpoint as they end.
func (t *trainer) run(ctx context.Context, checkpoint string) (err error) {
	log := curves.NewEpochs(files.Join(files.Dir(checkpoint), curves.EpochsFile))
	if checkpoint != "" {
		if err := t.restore(ctx, checkpoint); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, log.Close()) }()
		if err := log.Write(ctx, t.History); err != nil {
			return err
		}
	}
	steps, saved := t.cfg.Epochs*t.epochSteps(), time.Now()
	bar := progress.Start("finetune", "images", int64(t.Step)*int64(t.batch), int64(steps)*int64(t.batch))
	defer bar.End()
	for t.Step < steps && !t.stopped() {
		if err := ctx.Err(); err != nil {
			return err
		}
		loss, err := t.advance(steps)
		if err != nil {
			return err
		}
		details := []any{"loss", &progress.Figure{Format: "%.3f", Value: loss}}
		if n := len(t.History); n > 0 && t.History[n-1].Validation != nil {
			details = append(details, "validation", &progress.Figure{Format: "%.1f", Value: *t.History[n-1].Validation})
		}
		bar.Add(int64(t.batch), details...)
		if checkpoint != "" && t.Step%t.epochSteps() == 0 {
			if err := log.Write(ctx, t.History); err != nil {
				return err
			}
		}
		if checkpoint != "" && time.Since(saved) >= checkpointTime {
			if err := t.save(ctx, checkpoint); err != nil {
				return err
			}
			saved = time.Now()
		}
	}
	if n := len(t.History); t.stopped() && t.Step < steps {
		slog.Info("fine-tuning ends early, since the held-out images show no more progress", "epoch", n, "of", t.cfg.Epochs, "best", t.Best)
	}
	if t.best.params != nil {
		copy(t.net.Params, t.best.params)
		copy(t.net.Stats, t.best.stats)
	}
	return nil
}

// stopped reports whether the held-out images have shown no progress for too long.
func (t *trainer) stopped() bool { return len(t.held) > 0 && len(t.History)-t.Better >= t.cfg.Patience }

// advance takes one of so many steps, and ends the epoch if it is the last one of it.
func (t *trainer) advance(steps int) (loss float64, err error) {
	for i := range t.indices {
		t.indices[i] = t.stream.Next()
		t.labels[i] = t.images.Labels[t.indices[i]]
	}
	t.pool.For(t.batch, t.viewTask)
	lr := optim.Cosine(t.Step, steps, int(warmup*float64(steps)), t.cfg.LR)
	loss = t.step(lr, t.weight())
	if math.IsNaN(loss) || math.IsInf(loss, 0) {
		return 0, fmt.Errorf("the loss is %v at step %d: the training diverged; lower the learning rate (now %v)", loss, t.Step, t.cfg.LR)
	}
	t.Step++
	t.Sum += loss
	if n := t.epochSteps(); t.Step%n == 0 {
		t.endEpoch(curves.Epoch{Epoch: len(t.History) + 1, Step: t.Step, LR: lr, Loss: t.Sum / float64(n), Time: float64(time.Now().UnixMilli()) / 1000})
	}
	return loss, nil
}

// weight draws how much of each image is left in the mixture of the current step; 1 without mixup.
func (t *trainer) weight() float64 {
	if t.cfg.Mixup == 0 {
		return 1
	}
	random := t.randoms[0]
	random.Seek(t.cfg.Seed, rng.Mix, uint64(t.Step))
	return distuv.Beta{Alpha: t.cfg.Mixup, Beta: t.cfg.Mixup, Src: random}.Rand()
}

// view makes the view of image i of the batch.
func (t *trainer) view(thread, i int) {
	random, size := t.randoms[thread], t.images.Size
	random.Seek(t.cfg.Seed, rng.View, uint64(t.Step), uint64(i))
	pixels := size * size * 3
	t.views[thread].View(t.learner.images[i*pixels:][:pixels], t.images.At(int(t.indices[i])), size, size, random)
}

// endEpoch measures the net on the images that are held out and keeps its weights if none before were better.
func (t *trainer) endEpoch(e curves.Epoch) {
	t.Sum = 0
	if len(t.held) == 0 {
		t.Best = e.Epoch
	} else {
		value := t.validate()
		highest := math.Inf(-1)
		for _, before := range t.History {
			highest = max(highest, *before.Validation)
		}
		if e.Validation = &value; value > highest {
			t.Better = e.Epoch
		}
		if value >= highest { // of equals, the later one has seen lower learning rates
			t.Best = e.Epoch
			t.best.params = append(t.best.params[:0], t.net.Params...)
			t.best.stats = append(t.best.stats[:0], t.net.Stats...)
		}
	}
	t.History = append(t.History, e)
}

// validate returns the metric on the images that are held out, in percent.
func (t *trainer) validate() float64 {
	predicted, labels := make([]int64, 0, len(t.held)), make([]int64, len(t.held))
	for i, row := range t.held {
		labels[i] = t.images.Labels[row]
	}
	classes, pixels := len(t.images.Classes), t.images.Size*t.images.Size*3
	for from := 0; from < len(t.held); from += t.batch {
		rows := t.held[from:min(from+t.batch, len(t.held))]
		t.pool.For(len(rows), func(_, i int) {
			augment.Normalize(t.learner.images[i*pixels:][:pixels], t.images.At(int(rows[i])), t.input.Mean, t.input.Std)
		})
		predicted = append(predicted, metrics.Top(t.predict(), classes)[:len(rows)]...)
	}
	return tasks.Percent(t.metric, predicted, labels)
}

// model returns the net with its classifier.
func (t *trainer) model() *inference.Model {
	n := t.net
	return inference.NewClassified(nn.Model{Backbone: n.Backbone, Heads: n.Heads, Params: n.Params, Stats: n.Stats}, t.input, t.images.Classes)
}
