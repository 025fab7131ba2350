// Package recipe describes what to train: the size of the images, the backbone, the paths of the SDRnet, the
// self-supervised loss and its optimizer. A recipe is a small YAML file; several are built in. Every key has a default.
// An unknown key is an error that suggests the nearest known one. Settings given as key=value pairs go through the same
// checks.
package recipe

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Recipe is everything besides the data that determines the weights.
type Recipe struct {
	// Name is printed and saved with the run: letters, digits, spaces and _.+-
	Name string `yaml:"name"`
	// Seed is the seed of every random stream of the run.
	Seed uint64 `yaml:"seed"`
	// Input says how images are stored and presented to the network.
	Input Input `yaml:"input"`
	// Views lists the operations that make the two views of an image.
	Views Views `yaml:"views"`
	// Backbone is the architecture of every sub-net.
	Backbone nn.Backbone `yaml:"backbone"`
	// Paths is the number of choices per stage of the backbone, such as "4x4x4x4" for 256 sub-nets (or 4, if all stages
	// split together, see Split.Order), or "1x1x1x4" for 4 that differ only in the last stage.
	Paths string `yaml:"paths"`
	// Split says how the stages split into these choices.
	Split Split `yaml:"split"`
	// Partition says how images are clustered into subsets.
	Partition Partition `yaml:"partition"`
	// SSL is the self-supervised method and its heads.
	SSL SSL `yaml:"ssl"`
	// Train is the optimizer, the training budget and its phases.
	Train Train `yaml:"train"`
}

// Input says how images are stored and presented to the network.
type Input struct {
	// Size is the height and width in pixels at which images are stored and evaluated.
	Size int `yaml:"size"`
	// Crop is the height and width in pixels of a training view.
	Crop int `yaml:"crop"`
	// Mean is subtracted from the red, green and blue channels, scaled to 0..1.
	Mean [3]float32 `yaml:"mean"`
	// Std divides the channels after that.
	Std [3]float32 `yaml:"std"`
}

// Split says how the stages of the SDRnet's backbone split into sub-nets.
type Split struct {
	// Order lists the stages, counted from 1, in the order in which they split. Stages with one choice are skipped.
	// Stages in a nested list split together, by one choice of the code: [4, [3, 2]] or [[4, 3, 2, 1]].
	Order []Together `yaml:"order"`
	// Shared is the fraction of a split stage's output filters that all sub-nets share; the rest is one group of
	// individual filters per choice.
	Shared float64 `yaml:"shared"`
	// Delay is the fraction of each phase after the first for which the sub-nets stay together before they split, while
	// their mini-batches come from one subset already.
	Delay float64 `yaml:"delay"`
	// Heads says whether each sub-net of the first split has its own projector, prototypes and predictor ("individual")
	// or all share them ("shared").
	Heads string `yaml:"heads"`
	// LR multiplies the learning rate of a sub-net's individual weights, which get fewer updates than the shared ones.
	// The root's own weights get the plain rate.
	LR float64 `yaml:"lr"`
	// HeldOut is the fraction of every subset's images that no sub-net, nor the root, is trained on after phase 0. At the
	// end of a phase, the router is offered only the sub-nets whose loss on those of their subset is below the root's by
	// more than the standard error of the difference over mini-batches. Phase 0 and the baselines see all images.
	HeldOut float64 `yaml:"held_out"`
	// LeastSteps is the number of steps in the budget from which on it is divided among sub-nets. With fewer, all images
	// train the root: sub-nets would be worse.
	LeastSteps int `yaml:"least_steps"`
}

// Together lists stages that split together and so have the same number of choices. In YAML, one stage is a number.
type Together []int

// MarshalYAML returns a single stage as a number.
func (t Together) MarshalYAML() (any, error) {
	if len(t) == 1 {
		return t[0], nil
	}
	return []int(t), nil
}

// Partition says how images are clustered into subsets.
type Partition struct {
	// Method is "kmeans", a tree of clusters. With "residual" and "product", a choice of a level means the same below every
	// choice of the levels above: it is a cluster of what these leave over of the features, or of a part of their dimensions.
	// For comparison, "random" for random subsets, or "source" for one subset of each file or folder
	// that the images come from.
	Method string `yaml:"method"`
	// Whiten centers and PCA-whitens the features before clustering.
	Whiten bool `yaml:"whiten"`
	// Iterations is the maximum number of Lloyd iterations per level.
	Iterations int `yaml:"iterations"`
	// Balance bounds the size of a subset between the mean size of its siblings divided by Balance and Balance times
	// that mean. 0 means no bound.
	Balance float64 `yaml:"balance"`
	// Finer is the number of parts that each subset of the last level is clustered into once more. A mini-batch comes
	// from one of them: more similar images are harder negatives for a contrastive loss. 1 means the subset itself.
	Finer int `yaml:"finer"`
}

// Train is the optimizer, the training budget and its phases.
type Train struct {
	// Batch is the number of images per step, each in two views.
	Batch int `yaml:"batch"`
	// Images is the training budget: the number of images seen over all phases, where the two views of an image count
	// once. A baseline sees as many.
	Images int64 `yaml:"images"`
	// Phases are the fractions of the budget at which the phases after the first start, one per split. If empty, they
	// are spread evenly over the second half.
	Phases []float64 `yaml:"phases"`
	// Precision is that of the operands of matrix products; weights and sums are always float32. "tf32" lets a GPU round
	// those of convolutions to 11 bits, as PyTorch does by default, and is float32 on a CPU; "fp32" is float32 everywhere;
	// "bf16" is bfloat16 on a GPU, and on a CPU where that is faster: with AVX512_BF16, rarely without.
	Precision ssl.Precision `yaml:"precision"`
	// Optimizer is "sgd", "lars" (arXiv 1708.03888) for large batches, or
	// "adamw" (arXiv 1711.05101).
	Optimizer string `yaml:"optimizer"`
	// LR is the peak learning rate. Rates for SGD are too high for AdamW, whose steps move every weight by about the
	// learning rate: use about 0.001. For LARS, SimCLR uses 0.3 per 256 images of a batch.
	LR float64 `yaml:"lr"`
	// Momentum is the momentum of SGD and LARS.
	Momentum float64 `yaml:"momentum"`
	// Nesterov uses Nesterov momentum in SGD and LARS.
	Nesterov bool `yaml:"nesterov"`
	// WeightDecay applies to every parameter, except that LARS leaves out biases and BatchNorm parameters. For AdamW it
	// is decoupled from the gradient: a step subtracts the learning rate times WeightDecay times the weight.
	WeightDecay float64 `yaml:"weight_decay"`
	// Betas are AdamW's decay rates for the averages of the gradient and of its square.
	Betas [2]float64 `yaml:"betas"`
	// Epsilon keeps AdamW from dividing by zero.
	Epsilon float64 `yaml:"epsilon"`
	// Trust is LARS's trust coefficient: the norm of a tensor's step at a learning rate of 1, as a fraction of the
	// tensor's norm.
	Trust float64 `yaml:"trust"`
	// Accumulate is the number of consecutive steps, of any sub-nets, whose gradients of the shared weights are averaged
	// for one update of these, at the rate of the last step. Individual weights are updated in every step. The last steps
	// before a split or the end of a phase may be fewer. Until the first split, and in baselines, nothing is shared. A GPU
	// computes those of these steps at the same time whose sub-nets have no individual weights in common.
	Accumulate int `yaml:"accumulate"`
	// Warmup is the fraction of the budget over which the learning rate rises linearly from zero; then one cosine over
	// all phases brings it back to zero.
	Warmup float64 `yaml:"warmup"`
	// Root is the fraction of the steps after phase 0 that train the root sub-net on all images.
	Root float64 `yaml:"root"`
	// RootBatches says which images a mini-batch of the root has: "mixed", or those of one "subset".
	RootBatches string `yaml:"root_batches"`
	// Baselines are unified nets for comparison: "unified" is trained with the same budget on mixed mini-batches,
	// "unified_subset_batches" on mini-batches that each come from one subset; "random" is not trained. A recipe without
	// splits has only the last.
	Baselines []string `yaml:"baselines"`
	// Norm lists the images on which the BatchNorm statistics of a sub-net are estimated: "subset" for its own subset,
	// "all" for all images, "prefix" for the statistics of each stage on all subsets whose sub-nets have the same filters up
	// to there, so that these compute the same up to there. With several, there are as many versions of the sub-net for the router to choose from.
	Norm []string `yaml:"norm"`
	// NormImages is the number of images from which BatchNorm's running statistics are estimated when a sub-net is
	// finished.
	NormImages int `yaml:"norm_images"`
	// CheckpointSeconds is the number of seconds between checkpoints.
	CheckpointSeconds float64 `yaml:"checkpoint_seconds"`
	// Rounds divides the training among workers.
	Rounds Rounds `yaml:"rounds,omitempty"`
}

// Rounds divides a training into bins, which workers train at the same time: each takes a share of the images and of the
// steps. In a round, every bin takes some steps from the same checkpoint; then the weighted mean of their weights becomes
// the next one. A group of weights that only one bin has trained, as its subsets are all there, is taken from it as it is.
type Rounds struct {
	// Bins is the number of bins. With one, the training is a single one, without rounds.
	Bins int `yaml:"bins"`
	// Steps is the number of steps of each bin in a round.
	Steps int `yaml:"steps"`
	// LR and Momentum are those of an outer optimizer with Nesterov momentum, which takes the difference between the mean
	// and the last checkpoint as its step (DiLoCo, arXiv 2311.08105, which has 0.7 and 0.9). 1 and 0 are the mean itself.
	LR       float64 `yaml:"lr"`
	Momentum float64 `yaml:"momentum"`
}

// Names of the optimizers, the images for BatchNorm statistics and the baselines.
const (
	SGD                  = "sgd"
	LARS                 = "lars"
	AdamW                = "adamw"
	NormSubset           = "subset"
	NormAll              = "all"
	NormPrefix           = "prefix"
	Mixed                = "mixed"
	Random               = "random"
	Unified              = "unified"
	UnifiedSubsetBatches = "unified_subset_batches"
)

// choices returns the number of choices per stage of the backbone.
func (r *Recipe) choices() ([]int, error) {
	parts := strings.Split(r.Paths, "x")
	if stages := r.Backbone.Stages(); len(parts) != stages {
		return nil, fmt.Errorf("paths %q: want the number of choices of each of the %d stages of %s, such as %s4",
			r.Paths, stages, r.Backbone.Arch, strings.Repeat("1x", max(stages, 1)-1))
	}
	choices := make([]int, len(parts))
	for i, s := range parts {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > sdrnet.MaxChoices {
			return nil, fmt.Errorf("paths %q: stage %d has %q choices, want 1 to %d", r.Paths, i+1, s, sdrnet.MaxChoices)
		}
		choices[i] = n
	}
	return choices, nil
}

// Levels returns, per level, the stages of the backbone (counted from 1) that split and the number of choices they split
// into. Level l is the l-th choice of a subset's code.
func (r *Recipe) Levels() (stages [][]int, branching []int) {
	m, err := r.choices()
	if err != nil {
		return nil, nil
	}
	for _, together := range r.Split.Order {
		if n := m[together[0]-1]; n > 1 {
			stages = append(stages, together)
			branching = append(branching, n)
		}
	}
	return stages, branching
}

// Branching returns the number of subsets that each subset splits into, per level: those of Levels, and finer ones for
// mini-batches.
func (r *Recipe) Branching() []int {
	_, branching := r.Levels()
	if r.Partition.Finer > 1 {
		branching = append(branching, r.Partition.Finer)
	}
	return branching
}

// Summary describes the recipe on one line.
func (r *Recipe) Summary() string {
	return fmt.Sprintf("%s: %s width %d, %s stem, paths %s, %s, %s images",
		r.Name, r.Backbone.Arch, r.Backbone.Width, r.Backbone.Stem, r.Paths, r.SSL.Method, humanize.Comma(r.Train.Images))
}

// Steps returns the number of optimizer steps in the budget.
func (r *Recipe) Steps() int { return int(r.Train.Images / int64(r.Train.Batch)) }

// phases returns the fractions of the budget at which the phases after the first start.
func (r *Recipe) phases() []float64 {
	if len(r.Train.Phases) > 0 {
		return r.Train.Phases
	}
	stages, _ := r.Levels()
	shares := make([]float64, len(stages))
	for i := range shares {
		shares[i] = .5 + .5*float64(i)/float64(len(stages))
	}
	return shares
}

// Splits reports whether the budget has enough steps for the sub-nets to split.
func (r *Recipe) Splits() bool { return r.Steps() >= r.Split.LeastSteps }

// PhaseStep returns the step at which a phase starts: 0 for phase 0, and Steps for the phase after the last.
func (r *Recipe) PhaseStep(phase int) int {
	shares := r.phases()
	switch {
	case phase <= 0:
		return 0
	case phase > len(shares):
		return r.Steps()
	}
	return int(shares[phase-1] * float64(r.Steps()))
}

// SplitStep returns the step at which the sub-nets of a phase split from each other.
func (r *Recipe) SplitStep(phase int) int {
	from := r.PhaseStep(phase)
	return from + int(r.Split.Delay*float64(r.PhaseStep(phase+1)-from))
}

// Joint returns the step until which the SDRnet and the baseline UnifiedSubsetBatches are one training, the same step by
// step; PhaseStep(1) if they part there.
func (r *Recipe) Joint() int {
	if r.Splits() && r.Train.RootBatches == NormSubset && r.Split.HeldOut == 0 && r.Train.Rounds.Bins == 1 {
		return r.SplitStep(1)
	}
	return r.PhaseStep(1)
}

// For returns the recipe without the keys that make no difference to the weights of a variant: SDR, phase 0 (for which
// variant is Unified; besides, it depends on the step at which it ends) or a baseline. Trainings for which it is the
// same, on the same images, have the same result.
func (r *Recipe) For(variant string) *Recipe {
	k := *r
	k.Name, k.Train.Baselines, k.Train.CheckpointSeconds = "", nil, 0
	if k.SSL.Distill == 0 {
		k.SSL.Teacher = ""
	}
	if k.Train.Rounds.Bins == 1 {
		k.Train.Rounds = Rounds{}
	}
	if k.SSL.Teacher != EMATeacher {
		k.SSL.TeacherMomentum = 0
	}
	if r.Splits() {
		k.Split.LeastSteps = 0
	}
	switch variant {
	case UnifiedSubsetBatches:
		k.Train.Phases = r.phases() // where the subsets become finer
	case Unified:
		k.Train.Phases = nil
	case Random:
		k = Recipe{Seed: r.Seed, Input: r.Input, Backbone: r.Backbone, SSL: r.SSL, Train: Train{NormImages: r.Train.NormImages}}
		k.Input.Crop, k.SSL.Settings = 0, nil
	default:
		return &k
	}
	k.Paths, k.Split, k.Partition, k.Train.Root, k.Train.RootBatches, k.Train.Norm = "", Split{}, Partition{}, 0, "", nil
	k.Train.Accumulate = 0
	if k.Train.Rounds.Bins > 1 { // rounds end with phases and at splits
		k.Train.Phases, k.Split.Delay = r.phases(), r.Split.Delay
	}
	k.SSL.Distill = math.Ceil(min(r.SSL.Distill, 1)) // only whether there is a predictor
	k.SSL.Teacher, k.SSL.TeacherMomentum = "", 0
	return &k
}

// maxAdamWRate is a learning rate far above any that AdamW can train with.
const maxAdamWRate = 0.1

var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9 _.+-]*$`)

// Validate returns an error for the first invalid setting, saying what is valid.
func (r *Recipe) Validate() error {
	if !validName.MatchString(r.Name) {
		return fmt.Errorf("name: %q; want letters, digits, spaces and _.+- after a letter or digit", r.Name)
	}
	oneOf := func(key, value string, allowed ...string) error {
		if !slices.Contains(allowed, value) {
			return fmt.Errorf("%s: %q is not known; want one of %s", key, value, strings.Join(allowed, ", "))
		}
		return nil
	}
	within := func(key string, value, low, high float64) error {
		if !(value >= low && value <= high) {
			return fmt.Errorf("%s: %v is out of range; want %v to %v", key, value, low, high)
		}
		return nil
	}
	for _, err := range []error{
		oneOf("ssl.method", r.SSL.Method, ssl.Methods()...),
		oneOf("backbone.arch", r.Backbone.Arch, nn.Architectures()...),
		oneOf("backbone.stem", r.Backbone.Stem, nn.Stems()...),
		oneOf("split.heads", r.Split.Heads, "shared", "individual"),
		within("backbone.width", float64(r.Backbone.Width), 1, 256),
		within("input.size", float64(r.Input.Size), 8, 512),
		within("input.crop", float64(r.Input.Crop), 8, 512),
		r.Views.validate(r.Input),
		within("split.shared", r.Split.Shared, 0, 1),
		within("split.lr", r.Split.LR, .01, 100),
		within("split.held_out", r.Split.HeldOut, 0, .5),
		within("split.least_steps", float64(r.Split.LeastSteps), 0, 1<<30),
		oneOf("partition.method", r.Partition.Method, "kmeans", "residual", "product", "random", "source"),
		within("partition.iterations", float64(r.Partition.Iterations), 1, 1000),
		within("ssl.hidden", float64(r.SSL.Hidden), 1, 1<<16),
		within("ssl.dim", float64(r.SSL.Dim), 2, 1<<16),
		within("ssl.predictor", float64(r.SSL.Predictor), 1, 1<<16),
		within("ssl.distill", r.SSL.Distill, 0, 100),
		oneOf("ssl.teacher", r.SSL.Teacher, ParentTeacher, EMATeacher),
		within("ssl.teacher_momentum", r.SSL.TeacherMomentum, 0, 1),
		oneOf("train.precision", string(r.Train.Precision), string(ssl.FP32), string(ssl.TF32), string(ssl.BF16)),
		oneOf("train.optimizer", r.Train.Optimizer, SGD, LARS, AdamW),
		within("train.batch", float64(r.Train.Batch), 2, 1<<16),
		within("train.lr", r.Train.LR, 0, 100),
		within("train.momentum", r.Train.Momentum, 0, 1),
		within("train.weight_decay", r.Train.WeightDecay, 0, 1),
		within("train.epsilon", r.Train.Epsilon, 1e-16, 1),
		within("train.trust", r.Train.Trust, 1e-6, 1),
		within("train.accumulate", float64(r.Train.Accumulate), 1, 1000),
		within("train.warmup", r.Train.Warmup, 0, 1),
		within("train.root", r.Train.Root, 0, 1),
		within("split.delay", r.Split.Delay, 0, .99),
		oneOf("train.root_batches", r.Train.RootBatches, Mixed, NormSubset),
		within("partition.finer", float64(r.Partition.Finer), 1, sdrnet.MaxChoices),
		within("train.norm_images", float64(r.Train.NormImages), 2, 1<<30),
		within("train.checkpoint_seconds", r.Train.CheckpointSeconds, 0, 1e9),
		within("train.rounds.bins", float64(r.Train.Rounds.Bins), 1, 1<<12),
		within("train.rounds.steps", float64(r.Train.Rounds.Steps), 1, 1<<20),
		within("train.rounds.lr", r.Train.Rounds.LR, .01, 100),
		within("train.rounds.momentum", r.Train.Rounds.Momentum, 0, .999),
	} {
		if err != nil {
			return err
		}
	}
	for _, s := range ssl.Lookup(r.SSL.Method).Settings() {
		v := r.SSL.Settings[s.Name]
		if err := within("ssl."+s.Name, v, s.Min, s.Max); err != nil {
			return err
		}
		if s.Whole && v != math.Trunc(v) {
			return fmt.Errorf("ssl.%s: %v; want a whole number", s.Name, v)
		}
	}
	if r.SSL.Distill > 0 && r.SSL.Teacher == EMATeacher && r.Train.Root == 0 {
		return fmt.Errorf("ssl.teacher: %s follows the root, which train.root: 0 never trains; raise that, or use %s",
			EMATeacher, ParentTeacher)
	}
	if r.Train.Rounds.Bins > 1 && (r.Train.Accumulate > 1 || r.Split.HeldOut > 0) {
		return fmt.Errorf("train.rounds.bins: %d; with several bins, train.accumulate has to be 1 and split.held_out 0", r.Train.Rounds.Bins)
	}
	for _, b := range r.Train.Betas {
		if !(b >= 0 && b < 1) {
			return fmt.Errorf("train.betas: %v is out of range; want two numbers from 0 to below 1, "+
				"such as [0.9, 0.999]", b)
		}
	}
	if adamW := r.Train.Optimizer == AdamW; r.Train.Nesterov && (adamW || r.Train.Momentum == 0) {
		return fmt.Errorf("train.nesterov: %s with train.momentum %v cannot use Nesterov momentum; "+
			"want sgd or lars with a momentum above 0, or false", r.Train.Optimizer, r.Train.Momentum)
	} else if adamW && r.Train.LR > maxAdamWRate {
		return fmt.Errorf("train.lr: %v is too high for adamw, whose steps move every weight by about that much; "+
			"want about 0.001, at most %v", r.Train.LR, maxAdamWRate)
	} else if adamW && r.Train.LR*r.Split.LR > maxAdamWRate {
		return fmt.Errorf("split.lr: %v times train.lr, %v, is too high for adamw; want at most %v for the product",
			r.Split.LR, r.Train.LR, maxAdamWRate)
	}
	for i, color := range []string{"red", "green", "blue"} {
		if m := r.Input.Mean[i]; !(m >= 0 && m <= 1) {
			return fmt.Errorf("input.mean: %s is %v; want 0 to 1, on a scale where white is 1", color, m)
		}
		if s := r.Input.Std[i]; !(s > 0 && s <= 1) {
			return fmt.Errorf("input.std: %s is %v; want a number above 0 and at most 1, on a scale where white is 1", color, s)
		}
	}
	if r.Partition.Balance != 0 {
		if err := within("partition.balance", r.Partition.Balance, 1, 1e6); err != nil {
			return fmt.Errorf("%w, or 0 for no bound", err)
		}
	}
	choices, err := r.choices()
	if err != nil {
		return err
	}
	seen := map[int]bool{}
	for _, together := range r.Split.Order {
		for _, s := range together {
			if s < 1 || s > len(choices) || seen[s] {
				return fmt.Errorf("split.order: %v; want each of the stages 1 to %d once", r.Split.Order, len(choices))
			}
			seen[s] = true
			if first := together[0]; choices[s-1] != choices[first-1] {
				return fmt.Errorf("split.order: the stages %v split together, but paths %s has %d choices for stage %d and %d for stage %d",
					together, r.Paths, choices[first-1], first, choices[s-1], s)
			}
		}
		if len(together) == 0 {
			return fmt.Errorf("split.order: %v has an empty list of stages", r.Split.Order)
		}
	}
	stages, _ := r.Levels()
	if r.Partition.Finer > 1 && (len(stages) == 0 || r.Partition.Method == "source") {
		return fmt.Errorf("partition.finer: %d; it needs sub-nets (paths %s) and subsets that can be divided (method %s)", r.Partition.Finer, r.Paths, r.Partition.Method)
	}
	for s, m := range choices {
		if m > 1 && !seen[s+1] {
			return fmt.Errorf("split.order: %v leaves out stage %d, which has %d choices", r.Split.Order, s+1, m)
		}
	}
	if n := len(r.Train.Phases); n > 0 && n != len(stages) {
		return fmt.Errorf("train.phases: %d values, but %d levels of splits (paths %s); want one value per level", len(r.Train.Phases), len(stages), r.Paths)
	}
	last := 0.
	for _, p := range r.Train.Phases {
		if !(p > last && p < 1) {
			return fmt.Errorf("train.phases: %v; want increasing fractions of the budget between 0 and 1", r.Train.Phases)
		}
		last = p
	}
	if r.Steps() < 1 {
		return fmt.Errorf("train.images: %d is less than one batch of %d", r.Train.Images, r.Train.Batch)
	}
	for phase := range len(stages) + 1 {
		if r.PhaseStep(phase) >= r.PhaseStep(phase+1) {
			return fmt.Errorf("train.images: %d leaves no step of %d images for phase %d; raise it", r.Train.Images, r.Train.Batch, phase)
		}
	}
	if len(r.Train.Norm) == 0 {
		return fmt.Errorf("train.norm: empty; want one or more of %s, %s, %s", NormSubset, NormAll, NormPrefix)
	}
	for i, n := range r.Train.Norm {
		if err := oneOf("train.norm", n, NormSubset, NormAll, NormPrefix); err != nil {
			return err
		}
		if slices.Contains(r.Train.Norm[:i], n) {
			return fmt.Errorf("train.norm: %s is listed twice", n)
		}
	}
	for i, b := range r.Train.Baselines {
		if err := oneOf("train.baselines", b, Random, Unified, UnifiedSubsetBatches); err != nil {
			return err
		}
		if slices.Contains(r.Train.Baselines[:i], b) {
			return fmt.Errorf("train.baselines: %s is listed twice", b)
		}
	}
	return nil
}
