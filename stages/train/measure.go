package train

import (
	"context"
	"errors"
	"time"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/compute"
)

// Speed is how fast a machine trains, in seconds.
type Speed struct {
	// Steps are those of the steps, one by one.
	Steps []float64
	// Open is how long it takes until a training can take steps, without Load, that of its checkpoint, and Save.
	Open, Load, Save float64
	// Norm is the time that BatchNorm statistics take per image.
	Norm float64
}

// The numbers of steps before those that Measure measures, as the first ones load and choose kernels, and of the least
// that it measures.
const (
	unmeasured = 3
	measured   = 8
)

// Measure takes steps of a variant in this process for some time, for the SDRnet after its last split, then saves its
// checkpoint in cfg.Dir and goes on from it.
func Measure(ctx context.Context, cfg Config, variant string, refs []shards.Ref, lasting time.Duration) (found Speed, err error) {
	r, err := cfg.recipe()
	if err != nil {
		return found, err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	err = compute.Run(func(threads *kernels.Pool) error {
		if err := found.train(ctx, cfg, r, variant, images, threads, lasting); err != nil {
			return err
		}
		return found.resume(ctx, cfg, r, variant, images, threads)
	})
	if err != nil {
		return found, failure(variant, err)
	}
	return found, nil
}

// train measures steps and the checkpoint after them.
func (found *Speed) train(ctx context.Context, cfg Config, r *recipe.Recipe, variant string, images *shards.Images, threads *kernels.Pool, lasting time.Duration) (err error) {
	t, err := openTrainer(ctx, cfg, r, variant, images, threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.student.Close(), t.curve.Close()) }()
	for t.variant == SDR && t.nets.Level() < t.nets.Levels() {
		t.phase = t.nets.Level() + 1
		t.splitNets()
	}
	if err := t.student.Load(t.nets, t.teachers); err != nil {
		return err
	}
	begun, skipped := time.Now(), unmeasured*t.student.Ahead() // about as often on each of a GPU's tracks
	for i := 0; i < skipped+measured || time.Since(begun) < lasting; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		start := time.Now()
		if err := t.advance(max(r.Steps(), t.step+1), true); err != nil {
			return err
		}
		if i < skipped {
			begun = time.Now()
		} else {
			found.Steps = append(found.Steps, time.Since(start).Seconds())
		}
	}
	for len(t.begun) > 0 {
		if err := t.finish(); err != nil {
			return err
		}
	}
	start := time.Now()
	if _, err := t.model("", recipe.NormAll, nil); err != nil {
		return err
	}
	found.Norm = time.Since(start).Seconds() / float64(min(len(t.streams[""].Rows), r.Train.NormImages))
	start = time.Now()
	err = t.checkpoint(ctx)
	found.Save = time.Since(start).Seconds()
	return err
}

// resume measures how long it takes to go on.
func (found *Speed) resume(ctx context.Context, cfg Config, r *recipe.Recipe, variant string, images *shards.Images, threads *kernels.Pool) (err error) {
	start := time.Now()
	t, err := openTrainer(ctx, cfg, r, variant, images, threads)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.student.Close()) }()
	found.Open = time.Since(start).Seconds()
	start = time.Now()
	if err := t.restore(ctx); err != nil {
		return err
	}
	err = t.student.Load(t.nets, t.teachers)
	found.Load = time.Since(start).Seconds()
	return err
}

// Bytes returns the size of a variant's checkpoint in a phase: of what all its sub-nets share, and of what each has for
// itself, together. Of the latter, one bin trains most.
func Bytes(r *recipe.Recipe, variant string, phase int) (shared, own int64, err error) {
	nets, err := newNets(r, nil)
	if err != nil {
		return 0, 0, err
	}
	if variant != SDR {
		phase = 0
	}
	shared, own = stateSize(r, nets, phase)
	if phase > 0 && r.SSL.Distill > 0 {
		level := phase - 1
		if r.SSL.Teacher == recipe.EMATeacher {
			level = 0
		}
		ofTeachers, theirOwn := stateSize(r, nets, level)
		shared, own = shared+ofTeachers, own+theirOwn
	}
	return shared, own, nil
}

// stateSize returns the size of the state that nets, which have not split, have at a level.
func stateSize(r *recipe.Recipe, nets *sdrnet.Net, level int) (shared, own int64) {
	memory := int64(0)
	for _, v := range nets.State() {
		if v.Kind == sdrnet.Memory {
			memory += 4 * int64(len(v.Values))
		} else {
			shared += 4 * int64(len(v.Values))
		}
	}
	perWeight := shared / int64(nets.Layout().NumParams)
	_, branching := r.Levels()
	nodes := int64(1)
	for l, choices := range branching[:level] {
		for _, span := range nets.Individual(l) {
			own += perWeight * int64(choices) * int64(span.Len())
		}
		nodes *= int64(choices)
		own += memory * nodes
	}
	return shared + memory, own
}
