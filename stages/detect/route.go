package detect

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Scorer is the name of Route's scorer: the average precision of a linear detector on held-out images, in percent.
const Scorer = "linear-detector"

// RouteConfig says how to choose a backbone.
type RouteConfig struct {
	// Data are the images to score with, of which at most Images are used, and Name is what the task is called.
	Data   annotations.Config
	Name   string
	Images int
	// Limit says what becomes of images that cannot be used.
	Limit Limit
	// Size is the length in pixels to which the longer side of an image is scaled.
	Size int
	// Norms are those of route.Norms to try.
	Norms []string
	// SubnetsOnly leaves the unified net out.
	SubnetsOnly bool
	// Dir is the folder for the chosen backbone.
	Dir string
}

// Validate returns an error for a value out of range.
func (c RouteConfig) Validate() error {
	switch {
	case c.Size < 32 || c.Size > 2048 || c.Size%32 != 0:
		return fmt.Errorf("a size of %d px; want a multiple of 32 up to 2048", c.Size)
	case c.Images < folds:
		return fmt.Errorf("%d images; want at least %d", c.Images, folds)
	case len(c.Norms) == 0:
		return fmt.Errorf("no norm; want one or more of %v", route.Norms)
	}
	for _, n := range c.Norms {
		if !slices.Contains(route.Norms, n) {
			return fmt.Errorf("there is no norm %q; want one or more of %v", n, route.Norms)
		}
	}
	return nil
}

// Route chooses the net of a run that a detector can read most from; all nodes of the tree are candidates, and so is the
// unified net. It scores them by detectors that are linear in their maps (detect.Linear of tensorops), fitted to three
// quarters of the images and measured on the last, in turn. Of those whose average precision is less than the best one's by
// no more than the standard error of the difference, it takes one nearest the root, and of these the best. It writes all
// scores, best first, to scores.parquet, the backbone alone to model.safetensors, and its route.Card to model.json.
//
// in: *record.Batch of train.Model, the nets of one run in one batch. out: one *record.Batch of route.Score.
func Route(s beam.Scope, models beam.PCollection, cfg RouteConfig) beam.PCollection {
	s = s.Scope("detect.Route")
	return compute.ParDo(s, &routeFn{cfg}, models)
}

type routeFn struct{ Config RouteConfig }

func (fn *routeFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	models, err := record.Rows[train.Model](b)
	if err != nil {
		return nil, err
	}
	scores, err := fn.Config.route(ctx, models)
	if err != nil {
		return nil, fmt.Errorf("detect: %w", err)
	}
	return record.Of(scores), nil
}

// candidate is a net with statistics.
type candidate struct {
	route.Score
	net     *inference.Model
	without []float64 // the scores without each part of the images
}

// route scores the nets and delivers the best.
func (c RouteConfig) route(ctx context.Context, models []train.Model) (scores []route.Score, err error) {
	slices.SortFunc(models, route.InOrder)
	models = slices.DeleteFunc(models, func(m train.Model) bool {
		return !m.Candidate() && (c.SubnetsOnly || m.Variant != recipe.Unified)
	})
	set, err := annotations.Open(ctx, c.Data)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, set.Close()) }()
	var all []candidate
	err = compute.Run(func(pool *kernels.Pool) error {
		all, err = c.candidates(ctx, models, set, pool)
		return err
	})
	if err != nil {
		return nil, err
	}
	best := choose(all)
	for _, one := range all {
		scores = append(scores, one.Score)
	}
	route.Rank(scores, []string{Scorer}, map[string]route.Score{Scorer: best.Score})
	return scores, c.deliver(ctx, best, scores)
}

// candidates opens and scores nets. It has the thread pool.
func (c RouteConfig) candidates(ctx context.Context, models []train.Model, set *annotations.Set, pool *kernels.Pool) (all []candidate, err error) {
	var nets []*inference.Model
	for _, m := range models {
		net, err := inference.Open(ctx, m.Path)
		if err != nil {
			return nil, err
		}
		nets = append(nets, net)
	}
	backbone := nn.NewMaps(nets[0].Backbone, firstStage(nets[0].Backbone), c.Size, finderBatch, pool, nn.Inference)
	floats := 0
	for _, m := range backbone.Maps {
		floats += len(m.Values) / finderBatch
	}
	j, err := newJudge(ctx, set, c.Size, min(c.Images, max(folds, room/floats)), c.Limit, pool)
	if err != nil {
		return nil, err
	}
	if len(j.pictures) < folds || len(j.set.Objects()) == 0 {
		return nil, run.Usagef("%s: the split %s has %d images with %d objects, too few to compare nets; give more",
			c.Data.Path, set.Split, len(j.pictures), len(j.set.Objects()))
	}
	stats := make([][]float32, len(nets))
	if slices.Contains(c.Norms, route.NormTask) {
		if stats, err = j.statistics(nets); err != nil {
			return nil, err
		}
	}
	bar := progress.Start("route", "nets", 0, int64(len(models)*len(c.Norms)))
	defer bar.End()
	for _, norm := range c.Norms {
		for i, m := range models {
			net := *nets[i]
			if norm == route.NormTask {
				net.Stats = stats[i]
			}
			all = append(all, candidate{Score: route.Score{
				Task: c.Name, Subnet: m.Subnet, Norm: norm, Candidate: true, Scorer: Scorer,
				Level: m.Level, Cost: route.Cost(net.Backbone, c.Size), Model: m.Path, Train: c.Data.Path,
			}, net: &net})
		}
	}
	for some := range slices.Chunk(all, max(1, room/floats/len(j.pictures))) {
		var together []*inference.Model
		for _, c := range some {
			together = append(together, c.net)
		}
		values, err := j.maps(ctx, backbone, together)
		if err != nil {
			return nil, err
		}
		for i := range some {
			one := &some[i]
			if one.Score.Score, one.without, err = j.score(maps(backbone, c.Size), values[i]); err != nil {
				return nil, err
			}
			one.StdErr = metrics.JackknifeError(one.without)
			bar.Add(1, "subnet", one.Subnet, "norm", one.Norm, "AP", fmt.Sprintf("%.1f", one.Score.Score))
		}
	}
	return all, nil
}

// choose returns the net to take.
func choose(all []candidate) candidate {
	better := func(a, b candidate) int { return route.Compare(a.Score, b.Score) }
	top := slices.MaxFunc(all, better)
	level := top.Level
	near := slices.DeleteFunc(slices.Clone(all), func(c candidate) bool {
		difference := make([]float64, len(c.without))
		for i, v := range c.without {
			difference[i] = top.without[i] - v
		}
		return top.Score.Score-c.Score.Score > metrics.JackknifeError(difference)
	})
	for _, c := range near {
		level = min(level, c.Level)
	}
	return slices.MaxFunc(slices.DeleteFunc(near, func(c candidate) bool { return c.Level > level }), better)
}

// deliver writes the chosen net and all scores.
func (c RouteConfig) deliver(ctx context.Context, best candidate, scores []route.Score) error {
	of, err := run.Open(ctx, best.Run())
	if err != nil {
		return err
	}
	origin, err := route.ReadOrigin(ctx, of)
	if err != nil {
		return err
	}
	card := route.Card{
		Task: best.Task, Subnet: best.Subnet, Scorer: Scorer, Score: best.Score.Score, Norm: best.Norm,
		Backbone: best.net.Backbone, Input: best.net.Input, Features: best.net.Backbone.FeatureDim(),
		Subset: route.Subset(best.Subnet, best.Level), Origin: origin,
	}
	if err := arrowio.SaveParquet(ctx, files.Join(c.Dir, "scores.parquet"), record.Of(scores).Record); err != nil {
		return err
	}
	return route.Write(ctx, c.Dir, best.net, card)
}
