// Package train is the stage that trains: phase 0, one net on all images; then
// an SDRnet whose sub-nets each see one subset of them, split phase by phase
// and distilled from their parents; and the unified baselines that it is
// compared with.
//
// What one trainer trains is a variant: phase 0, the SDRnet or a baseline. Those
// after phase 0 begin with its state and are independent of each other, so a
// cluster trains them side by side and one machine one after the other.
package train

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/fault"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Variants besides the baselines of package recipe.
const (
	// Phase0 trains one net on all images until the first split.
	Phase0 = "phase0"
	// SDR splits it into sub-nets.
	SDR = "sdr"
)

// Root is the name of the sub-net that goes on training on all images.
const Root = "root"

// ErrOutOfMemory is the error of a training for which the device has too
// little memory.
var ErrOutOfMemory = fault.New("out-of-device-memory")

// Config says what to train and where to keep it.
type Config struct {
	// Dir is the run folder: checkpoints, metrics and models are kept there.
	Dir string
	// Recipe is the recipe in YAML, every key set.
	Recipe string
	// Variants are what to train.
	Variants []string
	// Inputs is a digest of the images and the recipe. A checkpoint of other
	// inputs is not resumed.
	Inputs string
	// Device takes the steps. A run may go on on another one.
	Device ssl.Device
}

// Model is a row of what Train emits: one finished net.
type Model struct {
	// Subnet is the net's name: phase0, root, the code of a sub-net or the name
	// of a baseline.
	Subnet string `arrow:"subnet"`
	// Variant is what trained it.
	Variant string `arrow:"variant" json:"Arm"` // the key in model files since the first version
	// Level is the number of digits of the code; 0 for nets that see all images.
	Level int64 `arrow:"level"`
	// Path is its file.
	Path string `arrow:"path"`
	// Images is how many images its variant had seen when it was finished, and
	// SubsetImages how many are in its subset.
	Images       int64 `arrow:"images"`
	SubsetImages int64 `arrow:"subset_images"`
	// Loss is the self-supervised loss of its last steps.
	Loss float64 `arrow:"loss"`
	// Std is the mean standard deviation of its l2-normalised embedding, about
	// 1/sqrt(d) when healthy and 0 when collapsed.
	Std float64 `arrow:"std"`
}

// Candidate reports whether a router may choose the net: every node of the tree
// of sub-nets, the root and the parents included, or the unified net of a
// recipe that never splits. A baseline is not one, since it was trained with a
// budget of its own.
func (m Model) Candidate() bool { return m.Variant == SDR || m.Variant == Phase0 && m.Subnet != Phase0 }

func init() {
	beam.RegisterDoFn(reflect.TypeFor[variantsFn]())
	beam.RegisterDoFn(reflect.TypeFor[trainFn]())
}

// Train trains the variants of the configuration on the images that refs name.
//
// in: *record.Batch of shards.Ref. out: *record.Batch of Model, one batch a variant.
func Train(s beam.Scope, refs beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("train.Train")
	variants := beam.ParDo(s, &variantsFn{Variants: cfg.Variants}, beam.Impulse(s), beam.SideInput{Input: refs})
	return compute.ParDo(s, &trainFn{Config: cfg}, variants)
}

// variantsFn gives every variant all references.
type variantsFn struct{ Variants []string }

func (fn *variantsFn) ProcessElement(_ []byte, refs func(**record.Batch) bool, emit func(string, *record.Batch)) error {
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
	var models []Model
	err = compute.Run(func(threads *kernels.Pool) (err error) {
		models, err = trainVariant(ctx, fn.Config, variant, rows, threads)
		return err
	})
	switch {
	case errors.Is(err, ssl.ErrOutOfMemory):
		return nil, fmt.Errorf("train %s: %w [%w]", variant, err, ErrOutOfMemory)
	case err != nil:
		return nil, fmt.Errorf("train %s: %w", variant, err)
	}
	return record.Of(models), nil
}

// trainVariant trains one variant to its end, from its checkpoint where there is one.
func trainVariant(ctx context.Context, cfg Config, variant string, refs []shards.Ref, threads *kernels.Pool) (models []Model, err error) {
	r, err := recipe.Parse([]byte(cfg.Recipe))
	if err != nil {
		return nil, err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return nil, err
	}
	defer images.Close()
	t, err := newTrainer(cfg, r, variant, images, threads)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, t.student.Close()) }()
	if err := t.restore(ctx); err != nil {
		return nil, err
	}
	if err := t.run(ctx); err != nil {
		return nil, err
	}
	return t.models, nil
}
