package extend

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// TrainConfig says which sub-nets to train and how.
type TrainConfig struct {
	// Dir is the run folder, which has the models of the old sub-nets. It also gets the metrics of the trainings.
	Dir string
	// Recipe is the run's recipe as YAML, with every key set.
	Recipe string
	// Subsets are the new subsets.
	Subsets []Subset
	// Images is the number of images that each sub-net sees, and Rate the peak learning rate.
	Images int64
	Rate   float64
	// Device computes the training steps; BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
}

// CurvePrefix begins the names of the metrics of the new sub-nets' trainings; see [curves.Path]. Their codes follow.
const CurvePrefix = "extend-"

func init() {
	beam.RegisterDoFn(reflect.TypeFor[refsFn]())
	beam.RegisterDoFn(reflect.TypeFor[trainFn]())
}

// Train trains the sub-net of each new subset, and saves it with the BatchNorm statistics of each of the recipe's
// train.norm: subset means the images of the new subset, and all those of old and new subsets together; prefix takes
// those of the parent up to the stage where the weights differ, and from there on those of the new subset.
//
// in: *record.Batch of shards.Ref, of all subsets. out: *record.Batch of train.Model, one batch per subset.
func Train(s beam.Scope, refs beam.PCollection, cfg TrainConfig) beam.PCollection {
	s = s.Scope("extend.Train")
	work := beam.ParDo(s, &refsFn{cfg}, beam.Impulse(s), beam.SideInput{Input: refs})
	return compute.ParDo(s, &trainFn{cfg}, work)
}

// refsFn pairs the code of every new subset with the references that its training reads.
type refsFn struct{ Config TrainConfig }

func (fn *refsFn) ProcessElement(_ []byte, refs func(**record.Batch) bool, emit func(string, *record.Batch)) error {
	r, err := recipe.Parse([]byte(fn.Config.Recipe))
	if err != nil {
		return err
	}
	all, err := record.All[shards.Ref](refs)
	if err != nil {
		return err
	}
	shards.Sort(all)
	for _, s := range fn.Config.Subsets {
		read := all
		if !slices.Contains(r.Train.Norm, recipe.NormAll) {
			read = slices.DeleteFunc(slices.Clone(all), func(ref shards.Ref) bool { return ref.Subset != s.Code })
		}
		emit(s.Code, record.Of(read))
	}
	return nil
}

type trainFn struct{ Config TrainConfig }

func (fn *trainFn) ProcessElement(ctx context.Context, code string, refs *record.Batch) (*record.Batch, error) {
	rows, err := record.Rows[shards.Ref](refs)
	if err != nil {
		return nil, err
	}
	var models []train.Model
	err = compute.Run(func(pool *kernels.Pool) (err error) {
		models, err = fn.train(ctx, code, rows, pool)
		return err
	})
	switch {
	case errors.Is(err, ssl.ErrOutOfMemory):
		return nil, fmt.Errorf("extend: sub-net %s: %w [%w]", code, err, train.ErrOutOfMemory)
	case err != nil:
		return nil, fmt.Errorf("extend: sub-net %s: %w", code, err)
	}
	return record.Of(models), nil
}

// train trains the sub-net of a new subset and saves it.
func (fn *trainFn) train(ctx context.Context, code string, refs []shards.Ref, pool *kernels.Pool) (models []train.Model, err error) {
	subset := fn.Config.Subsets[slices.IndexFunc(fn.Config.Subsets, func(s Subset) bool { return s.Code == code })]
	r, err := recipe.Parse([]byte(fn.Config.Recipe))
	if err != nil {
		return nil, err
	}
	parent, err := inference.Load(ctx, run.ModelPath(fn.Config.Dir, subset.Parent))
	if err != nil {
		return nil, err
	}
	was, err := train.ReadModel(ctx, run.ModelPath(fn.Config.Dir, subset.Parent))
	if err != nil {
		return nil, err
	}
	if parent.Backbone != r.Backbone || parent.Heads != r.Heads() {
		return nil, errors.New("the model of its parent is not of the run's recipe")
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	a := &adder{Further: learn.Further{
		Recipe: r, Params: parent.Params, Own: Own(r), Images: learn.Images{Size: images.Size(), At: images.At},
		Name: "extend " + code, Device: fn.Config.Device, Pool: pool,
	}, dir: fn.Config.Dir, subset: subset}
	for b, ref := range images.Refs {
		begin, end := images.Range(b)
		for i := begin; i < end; i++ {
			a.all = append(a.all, int32(i))
			if ref.Subset == code {
				a.Rows = append(a.Rows, int32(i))
			}
		}
	}
	steps := int(max(1, fn.Config.Images/int64(r.Train.Batch)))
	params, last, err := a.Train(ctx, steps, fn.Config.Rate, curves.New(fn.Config.Dir, CurvePrefix+code, steps))
	if err != nil {
		return nil, err
	}
	for i, norm := range r.Train.Norm {
		m := train.Model{
			Subnet: code, Variant: train.SDR, Level: int64(sdrnet.Level(code)),
			Images: was.Images + int64(steps)*int64(r.Train.Batch), SubsetImages: int64(len(a.Rows)),
			Steps: int64(steps), Loss: last.Loss, Std: last.Std,
		}
		version := ""
		if i > 0 {
			version = "-" + norm
			m.Subnet += version
		}
		made, err := a.model(ctx, params, norm, version)
		if err != nil {
			return nil, err
		}
		if err := train.Save(ctx, fn.Config.Dir, &m, made); err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	return models, nil
}

// Own returns the level whose individual weights a new sub-net gets: the last one.
func Own(r *recipe.Recipe) sdrnet.Config {
	stages, branching := r.Levels()
	last := len(stages) - 1
	return sdrnet.Config{
		Stages: stages[last:], Branching: branching[last:], Shared: r.Split.Shared,
		IndividualHeads: last == 0 && r.Split.Heads == "individual",
	}
}

// adder trains a new sub-net.
type adder struct {
	learn.Further
	dir    string
	subset Subset
	all    []int32 // the images of all subsets
}

// model returns the sub-net with BatchNorm statistics of the images that norm says; version is how the name of the
// parent's file with those ends.
func (a *adder) model(ctx context.Context, params []float32, norm, version string) (*inference.Model, error) {
	rows := a.Rows
	if norm == recipe.NormAll {
		rows = a.all
	}
	made, err := learn.Model(a.Recipe, params, a.Images, rows, rng.Name(a.subset.Code), a.Pool)
	if err != nil || norm != recipe.NormPrefix {
		return made, err
	}
	parent, err := inference.Load(ctx, run.ModelPath(a.dir, a.subset.Parent+version))
	if err != nil {
		return nil, err
	}
	own := nn.Part(slices.Min(a.Own.Stages[0]))
	for _, s := range nn.NewLayout(a.Recipe.Backbone, a.Recipe.Heads()).Stats {
		if s.Part < own {
			copy(made.Stats[s.Offset:s.Offset+s.Size], parent.Stats[s.Offset:])
		}
	}
	return made, nil
}
