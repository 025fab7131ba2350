// Package train is the stage that trains: first phase 0, one net on all images; then an SDRnet, whose sub-nets each see
// one subset of the images and which splits phase by phase, each sub-net distilled from its parent; and the unified
// baselines to compare it with.
//
// Each of these is a variant: phase 0, the SDRnet, or a baseline. Variants after phase 0 start from its state and are
// independent of each other, so a cluster trains them in parallel and a single machine one after the other. The unified
// net is phase 0 continued to the end of the budget: given the same images, its weights do not depend on when phase 0
// ended. The random net, which is not trained at all, has the initial weights, which are random unless Config.Init names
// others.
package train

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Variants other than the baselines, which package recipe names.
const (
	// Phase0 trains one net on all images until the first phase.
	Phase0 = "phase0"
	// Joint goes on with mini-batches of one subset each until the first split, where the recipe begins a phase with such:
	// until then, SDR and recipe.UnifiedSubsetBatches are the same.
	Joint = "joint"
	// SDR splits that net into sub-nets.
	SDR = "sdr"
)

// Range returns the steps of the training that a variant has for itself: from the first one up to to.
func Range(r *recipe.Recipe, variant string) (from, to int) {
	switch variant {
	case Phase0:
		return 0, r.PhaseStep(1)
	case Joint:
		return r.PhaseStep(1), r.Joint()
	case recipe.Unified:
		return r.PhaseStep(1), r.Steps()
	case recipe.Random:
		return 0, 0
	}
	return r.Joint(), r.Steps()
}

// Root is the name of the sub-net that keeps training on all images.
const Root = "root"

// ErrOutOfMemory is returned when a training does not fit into the device's memory.
var ErrOutOfMemory = fault.New("out-of-device-memory")

// Config says what to train and where to keep it.
type Config struct {
	// Dir is the run folder, for checkpoints, metrics and models.
	Dir string
	// Recipe is the recipe as YAML, with every key set.
	Recipe string
	// Variants are the variants to train.
	Variants []string
	// Inputs is a digest of the images and the recipe. A checkpoint with another digest is not resumed.
	Inputs string
	// Start is the training that the variants continue; empty for none.
	Start Start
	// Init is the file of the backbone to begin with, as SaveInit writes it; empty for random weights. What it holds is part
	// of Inputs.
	Init string
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device. A run may resume on another device.
	Device ssl.Device
}

// recipe returns the recipe.
func (c Config) recipe() (*recipe.Recipe, error) { return recipe.Parse([]byte(c.Recipe)) }

// Start names a training to continue, of the variant Phase0 (if it is empty) or Joint, by its Config.
type Start struct{ Variant, Dir, Inputs string }

// Model is the schema of Train's output: one finished net.
type Model struct {
	// Subnet is the net's name: phase0, root, the code of a sub-net, or the name of a baseline. The name of a further
	// version of a sub-net ends with where its BatchNorm statistics come from: 0.1-all.
	Subnet string `arrow:"subnet"`
	// Variant is the variant that trained the net.
	Variant string `arrow:"variant" json:"Arm"` // model files have used this key since the first version
	// Level is the number of choices in the code; 0 for nets that see all images.
	Level int64 `arrow:"level"`
	// Path is the model file.
	Path string `arrow:"path"`
	// Images is the number of images that the variant had seen when the net was finished, and SubsetImages the size of
	// the net's subset, without images that are held out.
	Images       int64 `arrow:"images"`
	SubsetImages int64 `arrow:"subset_images"`
	// Steps is the number of steps that the net itself has taken, for a sub-net since it split off. A net without any is a
	// copy of its parent, apart from the weights that it shares with others; its Loss and Std are 0.
	Steps int64 `arrow:"steps"`
	// Loss is the training loss of the net's last step.
	Loss float64 `arrow:"loss"`
	// Std is the mean standard deviation of the l2-normalized embedding: about 1/sqrt(d) when healthy, 0 when
	// collapsed.
	Std float64 `arrow:"std"`
}

// Candidate reports whether the router may choose the net: any node of the tree of sub-nets, including the root and the
// parents, or the unified net of a recipe without splits. A baseline is not a candidate, since it is trained with a
// budget of its own.
func (m Model) Candidate() bool { return m.Variant == SDR || m.Variant == Phase0 && m.Subnet != Phase0 }

func init() {
	beam.RegisterDoFn(reflect.TypeFor[variantsFn]())
	beam.RegisterDoFn(reflect.TypeFor[trainFn]())
}

// Train trains cfg.Variants from scratch on the images that refs name, in one bin.
//
// in: *record.Batch of shards.Ref. out: *record.Batch of Model, one batch per variant.
func Train(s beam.Scope, refs beam.PCollection, cfg Config) beam.PCollection {
	cfg.Start = Start{}
	return Continue(s, refs, beam.CreateList(s, []*record.Batch{}), cfg)
}

// Continue is like Train, but continues cfg.Start, the training whose output is started, unless that is empty.
//
// in: *record.Batch of shards.Ref, and *record.Batch of Model as a side input. out: *record.Batch of Model, one batch
// per variant.
func Continue(s beam.Scope, refs, started beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("train.Continue")
	pairs := beam.ParDo(s, &variantsFn{Variants: cfg.Variants}, beam.Impulse(s), beam.SideInput{Input: refs}, beam.SideInput{Input: started})
	return compute.ParDo(s, &trainFn{Config: cfg}, pairs)
}

// Rounds takes some of the rounds of a training of cfg.Variants in several bins.
//
// in: *record.Batch of shards.Ref, and the output of the rounds before or, for the first, of the training that these
// continue. out: *record.Batch of Checkpoint, a row per variant.
func Rounds(s beam.Scope, refs, before beam.PCollection, cfg Config, rounds []Steps) beam.PCollection {
	s = s.Scope("train.Rounds")
	bins := Bins(s, refs, cfg)
	for _, steps := range rounds {
		before = Round(s, bins, refs, before, cfg, steps)
	}
	return before
}

// variantsFn pairs every variant with all references, once phase 0 has been trained.
type variantsFn struct{ Variants []string }

func (fn *variantsFn) ProcessElement(_ []byte, refs, _ func(**record.Batch) bool, emit func(string, *record.Batch)) error {
	rows, err := record.All[shards.Ref](refs)
	if err != nil {
		return err
	}
	shards.Sort(rows)
	for _, variant := range fn.Variants {
		emit(variant, record.Of(rows))
	}
	return nil
}

type trainFn struct{ Config Config }

func (fn *trainFn) ProcessElement(ctx context.Context, variant string, refs *record.Batch) (*record.Batch, error) {
	rows, err := record.Rows[shards.Ref](refs)
	if err != nil {
		return nil, err
	}
	models, err := Variant(ctx, fn.Config, variant, rows)
	if err != nil {
		return nil, err
	}
	return record.Of(models), nil
}

// Variant trains one of cfg.Variants in this process, without a pipeline: what Continue does for each.
func Variant(ctx context.Context, cfg Config, variant string, refs []shards.Ref) (models []Model, err error) {
	err = compute.Run(func(threads *kernels.Pool) (err error) {
		models, err = trainVariant(ctx, cfg, variant, refs, threads)
		return err
	})
	if err != nil {
		return nil, failure(variant, err)
	}
	return models, nil
}

// failure says what could not be trained.
func failure(what string, err error) error {
	if errors.Is(err, ssl.ErrOutOfMemory) {
		return fmt.Errorf("train %s: %w [%w]", what, err, ErrOutOfMemory)
	}
	return fmt.Errorf("train %s: %w", what, err)
}

// trainVariant trains one variant to the end, starting from its checkpoint if there is one.
func trainVariant(ctx context.Context, cfg Config, variant string, refs []shards.Ref, threads *kernels.Pool) (models []Model, err error) {
	r, err := cfg.recipe()
	if err != nil {
		return nil, err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return nil, err
	}
	defer images.Close()
	t, err := openTrainer(ctx, cfg, r, variant, images, threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.student.Close(), t.curve.Close()) }()
	if err := t.restore(ctx); err != nil {
		return nil, err
	}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	return t.models, nil
}
