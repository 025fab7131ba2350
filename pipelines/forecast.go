package pipelines

import (
	"github.com/sdr-ml/sdr/stages/forecast"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// ForecastOptions are the arguments of Forecast.
type ForecastOptions struct {
	// Recipe says what to train. If it has one bin, there are as many as workers.
	Recipe *recipe.Recipe
	// Profile is how fast the workers are.
	Profile *forecast.Profile
	// Images are the sizes of the pools, and Workers the numbers of workers, to plan for.
	Images  []int64
	Workers []int
	// Epochs is how often a training sees each image; 0 means the budget of the recipe.
	Epochs float64
	// Seed is that of the workers' speeds.
	Seed uint64
}

// Forecast plans what Pretrain will take, without tasks, for each number of images and workers.
func Forecast(o ForecastOptions) (plans []*forecast.Plan, err error) {
	if err := o.Profile.Check(o.Recipe); err != nil {
		return nil, err
	}
	for _, images := range o.Images {
		for _, workers := range o.Workers {
			made, err := o.plan(images, workers)
			if err != nil {
				return nil, err
			}
			plans = append(plans, made)
		}
	}
	return plans, nil
}

// plan plans one run.
func (o *ForecastOptions) plan(images int64, workers int) (*forecast.Plan, error) {
	training := map[string]any{}
	if o.Epochs > 0 {
		training["images"] = int64(o.Epochs * float64(images))
	}
	bins := o.Recipe.Train.Rounds.Bins
	if bins == 1 && workers > 1 {
		bins = workers
		training["rounds"] = map[string]any{"bins": bins}
	}
	r, err := o.Recipe.With(map[string]any{"train": training})
	switch {
	case err != nil:
		return nil, run.Usagef("%d images and %d workers: %w", images, workers, err)
	case images < int64(max(bins, r.Train.Batch)):
		return nil, run.Usagef("%d images are less than a mini-batch of %d, or than the %d bins", images, r.Train.Batch, bins)
	}
	return forecast.Simulate(o.Profile, forecast.Config{Recipe: r, Stages: StagesOf(r), Images: images, Workers: workers, Seed: o.Seed})
}

// StagesOf lists the stages with which Pretrain trains a recipe.
func StagesOf(r *recipe.Recipe) (stages []forecast.Stage) {
	p := &plan{chain: chain{folder: new(run.Folder)}}
	p.trains(r)
	for _, st := range p.steps {
		stages = append(stages, forecast.Stage{
			Name: st.name, Needs: st.needs, Jobs: 1 + len(st.parts), Variants: st.variants, Rounds: st.rounds,
		})
	}
	return stages
}
