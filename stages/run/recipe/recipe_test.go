package recipe_test

import (
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestValidate breaks every rule for recipes, one at a time.
func TestValidate(t *testing.T) {
	nan := math.NaN()
	for _, c := range []struct {
		want string
		do   func(*recipe.Recipe)
	}{
		{`name: ""; want letters`, func(r *recipe.Recipe) { r.Name = "" }},
		{`name: "a\nb"; want letters`, func(r *recipe.Recipe) { r.Name = "a\nb" }},
		{`ssl.method: "bayol" is not known; want one of ` + strings.Join(ssl.Methods(), ", "), func(r *recipe.Recipe) { r.SSL.Method = "bayol" }},
		{"backbone.arch", func(r *recipe.Recipe) { r.Backbone.Arch = "vgg" }},
		{"backbone.stem", func(r *recipe.Recipe) { r.Backbone.Stem = "" }},
		{"backbone.width: 0 is out of range; want 1 to 256", func(r *recipe.Recipe) { r.Backbone.Width = 0 }},
		{"split.heads", func(r *recipe.Recipe) { r.Split.Heads = "none" }},
		{"input.size: 7 is out of range; want 8 to 512", func(r *recipe.Recipe) { r.Input.Size = 7 }},
		{"input.crop", func(r *recipe.Recipe) { r.Input.Crop = 513 }},
		{"views.grayscale.p: 2 is out of range; want 0 to 1", func(r *recipe.Recipe) { r.Views = both(augment.Grayscale{P: 2}) }},
		{"views.second.gaussian_blur.sigma: [3, 2] is out of range", func(r *recipe.Recipe) {
			r.Views.Second = []augment.Operation{augment.GaussianBlur{P: 1, Sigma: [2]float64{3, 2}}}
		}},
		{"views: no operation makes views of 20 px (input.crop) from images of 32 px (input.size); add random_resized_crop", func(r *recipe.Recipe) {
			r.Input.Crop, r.Views = 20, both(augment.Grayscale{})
		}},
		{"views.first: no operation makes views of 20 px", func(r *recipe.Recipe) { r.Input.Crop, r.Views.First = 20, nil }},
		{"input.mean: green is NaN", func(r *recipe.Recipe) { r.Input.Mean[1] = float32(nan) }},
		{"input.mean: blue is 124; want 0 to 1", func(r *recipe.Recipe) { r.Input.Mean[2] = 124 }},
		{"input.std: red is 0; want a number above 0", func(r *recipe.Recipe) { r.Input.Std[0] = 0 }},
		{"input.std: red is 58", func(r *recipe.Recipe) { r.Input.Std[0] = 58 }},
		{`paths "4x4x4": want the number of choices of each of the 4 stages of resnet18, such as 1x1x1x4`, func(r *recipe.Recipe) { r.Paths = "4x4x4" }},
		{`paths "1x1x1x65537": stage 4 has "65537" choices, want 1 to 65536`, func(r *recipe.Recipe) { r.Paths = "1x1x1x65537" }},
		{`paths "1x0x1x4": stage 2 has "0" choices`, func(r *recipe.Recipe) { r.Paths = "1x0x1x4" }},
		{`paths "1x1x x4": stage 3 has " " choices`, func(r *recipe.Recipe) { r.Paths = "1x1x x4" }},
		{"split.order: [[4] [4]]; want each of the stages 1 to 4 once", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{4}, {4}} }},
		{"train.norm: empty", func(r *recipe.Recipe) { r.Train.Norm = nil }},
		{`train.norm: "task" is not known; want one of subset, all`, func(r *recipe.Recipe) { r.Train.Norm = []string{"task"} }},
		{"train.norm: all is listed twice", func(r *recipe.Recipe) { r.Train.Norm = []string{"all", "all"} }},
		{"split.order: [[0 4]]", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{0, 4}} }},
		{"split.order: [[5]]", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{5}} }},
		{"split.order: [[1] [2] [3]] leaves out stage 4, which has 4 choices", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{1}, {2}, {3}} }},
		{"split.order: the stages [3 4] split together, but paths 1x1x1x4 has 1 choices for stage 3 and 4 for stage 4", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{3, 4}} }},
		{"split.order: [[]] has an empty list", func(r *recipe.Recipe) { r.Split.Order = []recipe.Together{{}} }},
		{"split.shared", func(r *recipe.Recipe) { r.Split.Shared = 1.1 }},
		{"split.lr: 0 is out of range; want 0.01 to 100", func(r *recipe.Recipe) { r.Split.LR = 0 }},
		{"split.held_out: 0.6 is out of range; want 0 to 0.5", func(r *recipe.Recipe) { r.Split.HeldOut = .6 }},
		{"split.lr: 60 times train.lr, 0.002, is too high for adamw", func(r *recipe.Recipe) {
			r.Train.Optimizer, r.Train.LR, r.Split.LR = "adamw", .002, 60
		}},
		{"partition.iterations", func(r *recipe.Recipe) { r.Partition.Iterations = 0 }},
		{"partition.balance: 0.5 is out of range; want 1 to 1e+06, or 0 for no bound", func(r *recipe.Recipe) { r.Partition.Balance = .5 }},
		{"partition.balance", func(r *recipe.Recipe) { r.Partition.Balance = nan }},
		{"ssl.temperature", func(r *recipe.Recipe) { r.SSL.Settings = ssl.Values{"temperature": 0} }},
		{"ssl.queue: 4096.5; want a whole number", func(r *recipe.Recipe) {
			r.SSL.Method = "moco"
			r.SSL.Settings = ssl.Values{"temperature": .2, "momentum": .999, "queue": 4096.5}
		}},
		{"ssl.hidden", func(r *recipe.Recipe) { r.SSL.Hidden = 0 }},
		{"ssl.dim", func(r *recipe.Recipe) { r.SSL.Dim = 1 }},
		{"ssl.predictor", func(r *recipe.Recipe) { r.SSL.Predictor = -1 }},
		{"ssl.distill", func(r *recipe.Recipe) { r.SSL.Distill = -1 }},
		{`ssl.teacher: "root" is not known; want one of parent, ema`, func(r *recipe.Recipe) { r.SSL.Teacher = "root" }},
		{"ssl.teacher_momentum: 1.1 is out of range; want 0 to 1", func(r *recipe.Recipe) { r.SSL.TeacherMomentum = 1.1 }},
		{"ssl.teacher: ema follows the root, which train.root: 0 never trains", func(r *recipe.Recipe) {
			r.SSL.Distill, r.SSL.Teacher, r.Train.Root = 1, "ema", 0
		}},
		{"train.batch", func(r *recipe.Recipe) { r.Train.Batch = 1 }},
		{"train.lr", func(r *recipe.Recipe) { r.Train.LR = math.Inf(1) }},
		{"train.momentum", func(r *recipe.Recipe) { r.Train.Momentum = 2 }},
		{"train.weight_decay", func(r *recipe.Recipe) { r.Train.WeightDecay = -1 }},
		{`train.precision: "fp16" is not known; want one of fp32, tf32, bf16`, func(r *recipe.Recipe) { r.Train.Precision = "fp16" }},
		{`train.optimizer: "adam" is not known; want one of sgd, lars, adamw`, func(r *recipe.Recipe) { r.Train.Optimizer = "adam" }},
		{"train.betas: 1 is out of range; want two numbers from 0 to below 1", func(r *recipe.Recipe) { r.Train.Betas[1] = 1 }},
		{"train.betas: NaN", func(r *recipe.Recipe) { r.Train.Betas[0] = nan }},
		{"train.epsilon: 0 is out of range", func(r *recipe.Recipe) { r.Train.Epsilon = 0 }},
		{"train.trust: 2 is out of range", func(r *recipe.Recipe) { r.Train.Trust = 2 }},
		{"train.nesterov: sgd with train.momentum 0 cannot use Nesterov momentum", func(r *recipe.Recipe) { r.Train.Nesterov, r.Train.Momentum = true, 0 }},
		{"train.nesterov: adamw", func(r *recipe.Recipe) { r.Train.Nesterov, r.Train.Optimizer, r.Train.LR = true, "adamw", .001 }},
		{"train.lr: 0.12 is too high for adamw", func(r *recipe.Recipe) { r.Train.Optimizer = "adamw" }},
		{"train.accumulate: 0 is out of range; want 1 to 1000", func(r *recipe.Recipe) { r.Train.Accumulate = 0 }},
		{"train.warmup", func(r *recipe.Recipe) { r.Train.Warmup = 2 }},
		{"train.root", func(r *recipe.Recipe) { r.Train.Root = -.1 }},
		{"train.norm_images", func(r *recipe.Recipe) { r.Train.NormImages = 1 }},
		{"train.checkpoint_seconds", func(r *recipe.Recipe) { r.Train.CheckpointSeconds = nan }},
		{"train.images: 127 is less than one batch of 128", func(r *recipe.Recipe) { r.Train.Images = 127 }},
		{"train.images: -1 is less", func(r *recipe.Recipe) { r.Train.Images = -1 }},
		{"train.images: 128 leaves no step of 128 images for phase 0", func(r *recipe.Recipe) { r.Train.Images = 128 }},
		{"train.images: 1280 leaves no step of 128 images for phase 0", func(r *recipe.Recipe) { r.Train.Images, r.Train.Phases = 1280, []float64{.01} }},
		{"train.phases: 2 values, but 1 levels of splits (paths 1x1x1x4)", func(r *recipe.Recipe) { r.Train.Phases = []float64{.3, .6} }},
		{"train.phases: [0]; want increasing fractions of the budget between 0 and 1", func(r *recipe.Recipe) { r.Train.Phases = []float64{0} }},
		{"train.phases: [1]", func(r *recipe.Recipe) { r.Train.Phases = []float64{1} }},
		{"train.phases: [NaN]", func(r *recipe.Recipe) { r.Train.Phases = []float64{nan} }},
		{"train.phases: [0.5 0.5]", func(r *recipe.Recipe) { r.Paths, r.Train.Phases = "1x1x2x4", []float64{.5, .5} }},
		{`train.baselines: "best" is not known; want one of random, unified, unified_subset_batches`, func(r *recipe.Recipe) { r.Train.Baselines = []string{"best"} }},
		{"train.baselines: unified is listed twice", func(r *recipe.Recipe) { r.Train.Baselines = []string{"unified", "unified"} }},
	} {
		r := load(t)
		c.do(r)
		require.ErrorContains(t, r.Validate(), c.want)
	}
}

func TestLevels(t *testing.T) {
	for _, c := range []struct {
		grid      string
		order     []recipe.Together
		stages    [][]int
		branching []int
	}{
		{"1x1x1x4", []recipe.Together{{4}, {3}, {2}, {1}}, [][]int{{4}}, []int{4}},
		{"2x3x4x5", []recipe.Together{{4}, {3}, {2}, {1}}, [][]int{{4}, {3}, {2}, {1}}, []int{5, 4, 3, 2}},
		{"2x1x4x1", []recipe.Together{{1}, {3}}, [][]int{{1}, {3}}, []int{2, 4}},
		{"1x3x3x3", []recipe.Together{{4}, {3, 2}}, [][]int{{4}, {3, 2}}, []int{3, 3}},
		{"1x1x1x1", nil, nil, nil},
		{"nonsense", []recipe.Together{{1}}, nil, nil},
	} {
		stages, branching := (&recipe.Recipe{
			Backbone: nn.Backbone{Arch: "resnet18"}, Paths: c.grid, Split: recipe.Split{Order: c.order},
		}).Levels()
		require.Equal(t, c.stages, stages, c.grid)
		require.Equal(t, c.branching, branching, c.grid)
	}
}

func TestPhaseStep(t *testing.T) {
	r := load(t, "paths=1x1x2x2", "train.phases=[0.25,0.6]", "train.batch=10", "train.images=1009")
	require.Equal(t, 100, r.Steps())
	for phase, want := range map[int]int{-1: 0, 0: 0, 1: 25, 2: 60, 3: 100, 9: 100} {
		require.Equal(t, want, r.PhaseStep(phase), phase)
	}
	unsplit := load(t, "paths=1x1x1x1", "train.phases=[]")
	require.Equal(t, unsplit.Steps(), unsplit.PhaseStep(1))
}

// TestPhasesAreNotEmpty checks that every phase of a valid recipe has steps.
func TestPhasesAreNotEmpty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := load(t, "paths=1x1x2x2", "train.phases=[0.3,0.6]")
		r.Train.Images = rapid.Int64Range(0, 5000).Draw(t, "images")
		second := rapid.Float64Range(0, 1).Draw(t, "second")
		r.Train.Phases = []float64{second * rapid.Float64Range(0, 1).Draw(t, "first"), second}
		if r.Validate() != nil {
			return
		}
		for phase := range 3 {
			require.Less(t, r.PhaseStep(phase), r.PhaseStep(phase+1))
		}
	})
}

func TestHeads(t *testing.T) {
	r := load(t, "ssl={hidden: 7, dim: 5, predictor: 3}")
	require.Equal(t, nn.Heads{ProjectorHidden: 7, ProjectorDim: 5, ProjectorLayers: 2}, r.Heads())
	r.SSL.Distill = .5
	require.Equal(t, nn.Heads{ProjectorHidden: 7, ProjectorDim: 5, ProjectorLayers: 2, PredictorHidden: 3}, r.Heads())
	r.SSL.Method, r.SSL.Distill = "simsiam", 0
	require.Equal(t, nn.Heads{ProjectorHidden: 7, ProjectorDim: 5, ProjectorLayers: 3, ProjectorBN: true, PredictorHidden: 3}, r.Heads())
	require.NoError(t, r.Heads().Validate())
}

// TestFor checks which keys a variant's training depends on: none that only later variants use, and every other one.
func TestFor(t *testing.T) {
	base := []string{"paths=1x1x2x2", "train.phases=[0.3,0.6]"}
	same := func(variant, setting string) bool {
		return string(load(t, base...).For(variant).Marshal()) == string(load(t, append(base, setting)...).For(variant).Marshal())
	}
	none, sdrOnly := []string{"name=x", "train.checkpoint_seconds=5", "train.baselines=[unified]"}, []string{"split.shared=0.25", "split.heads=individual", "split.lr=2", "split.held_out=0.1", "train.accumulate=4", "train.root=0.5", "train.norm=[all]"}
	for _, setting := range none {
		for _, v := range []string{"sdr", recipe.Random, recipe.Unified, recipe.UnifiedSubsetBatches} {
			require.True(t, same(v, setting), "%s: %s", v, setting)
		}
	}
	for _, setting := range sdrOnly {
		require.False(t, same("sdr", setting), setting)
		require.True(t, same(recipe.UnifiedSubsetBatches, setting), setting)
		require.True(t, same(recipe.Unified, setting), setting)
	}
	require.False(t, same("sdr", "train.phases=[0.3,0.7]"))
	require.True(t, same("sdr", "split.least_steps=0"))
	require.False(t, same("sdr", "split.least_steps=9000"), "more than there are")
	require.True(t, same(recipe.UnifiedSubsetBatches, "split.least_steps=9000"))
	base = append(base, "ssl.distill=0.5")
	require.False(t, same("sdr", "ssl.teacher=ema"))
	require.True(t, same(recipe.Unified, "ssl.teacher=ema"))
	require.True(t, same(recipe.Random, "ssl.teacher=ema"))
	require.True(t, same("sdr", "ssl.teacher_momentum=0.9"), "the parent has none")
	base = append(base, "ssl.teacher=ema")
	require.False(t, same("sdr", "ssl.teacher_momentum=0.9"))
	require.True(t, same(recipe.UnifiedSubsetBatches, "ssl.teacher_momentum=0.9"))
	base = append(base, "ssl.distill=0")
	require.True(t, same("sdr", "ssl.teacher=parent"), "there is none")
	base = base[:2]
	require.False(t, same(recipe.UnifiedSubsetBatches, "train.phases=[0.3,0.7]"))
	require.True(t, same(recipe.Unified, "train.phases=[0.3,0.7]"))
	for _, setting := range []string{"seed=2", "train.lr=0.1", "train.norm_images=100", "views.grayscale.p=0.1", "ssl.temperature=0.1", "backbone.width=8", "ssl.distill=0.5"} {
		for _, v := range []string{"sdr", recipe.Unified, recipe.UnifiedSubsetBatches} {
			require.False(t, same(v, setting), "%s: %s", v, setting)
		}
	}
	for _, setting := range []string{"train.images=9000", "train.lr=0.1", "train.phases=[0.3,0.7]", "views.grayscale.p=0.1", "input.crop=20", "ssl.temperature=0.1"} {
		require.True(t, same(recipe.Random, setting), setting)
	}
	for _, setting := range []string{"seed=2", "input.size=64", "train.norm_images=100", "backbone.width=8", "ssl.dim=32"} {
		require.False(t, same(recipe.Random, setting), setting)
	}
}
