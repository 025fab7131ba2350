package learn

import (
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// mostAhead is the most steps that may be submitted before the first of them is waited for.
const mostAhead = 8

// Config configures the training steps of a recipe, for sub-nets with the given layout.
func Config(r *recipe.Recipe, layout *nn.Layout) ssl.Config {
	c := ssl.Config{
		Backbone: r.Backbone, Heads: r.Heads(), Size: r.Input.Crop, Batch: r.Train.Batch,
		Loss: r.Loss(), Distill: r.SSL.Distill, Precision: r.Train.Precision,
		Optimizer: newOptimizer(&r.Train, layout), GroupLR: r.Split.LR, Defers: r.Train.Accumulate > 1,
	}
	if r.SSL.Teacher == recipe.EMATeacher {
		c.Teacher = &ssl.EMA{Base: r.SSL.TeacherMomentum, Final: r.SSL.TeacherMomentum}
	}
	// A GPU goes on at once with the next step.
	c.Ahead = 2
	if c.Loss.Target == nil && c.Teacher == nil { // with these, each step depends on the last one
		c.Ahead = max(c.Ahead, min(r.Train.Accumulate, mostAhead))
	}
	return c
}

// newOptimizer returns the recipe's optimizer, for sub-nets with the given layout.
func newOptimizer(r *recipe.Train, layout *nn.Layout) optim.Optimizer {
	sgd := optim.SGD{Momentum: float32(r.Momentum), WeightDecay: float32(r.WeightDecay), Nesterov: r.Nesterov}
	switch r.Optimizer {
	case recipe.AdamW:
		return optim.AdamW{Beta1: r.Betas[0], Beta2: r.Betas[1], Epsilon: r.Epsilon, WeightDecay: r.WeightDecay}
	case recipe.LARS:
		var tensors []optim.Tensor
		for _, p := range layout.Params {
			weight := p.Kind == nn.ConvWeight || p.Kind == nn.LinearWeight
			tensors = append(tensors, optim.Tensor{Size: p.Size, Adapt: weight})
		}
		return optim.NewLARS(sgd, r.Trust, tensors)
	}
	return sgd
}
