package train

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// trainer trains one variant, or a bin's part of it.
type trainer struct {
	cfg     Config
	recipe  *recipe.Recipe
	variant string
	images  *shards.Images
	spans   []span   // of the images, one per record batch
	number  int      // of images in these
	leaves  []string // codes of the finest subsets, sorted; none in phase 0
	phase   int      // current phase
	end     int      // one past the last phase

	init     *nn.Model // the backbone to begin with; nil for random weights
	pool     *kernels.Pool
	step     int            // steps since the start of phase 0
	stride   int            // what a step adds to that: the number of bins
	nets     *sdrnet.Net    // stale until student.Sync
	teachers *sdrnet.Net    // for distillation, see split; nil in phase 0
	random   *rng.Generator // for choose

	streams map[string]*learn.Stream // by subset code; "" is all images
	held    map[string][]int32       // the images that are held out of them
	student *learn.Student
	begun   []measure // of the steps that were not waited for, without their results
	curve   *curves.Curve
	models  []Model
	judged  []Judgment
	last    map[string]measure // last measurement of each sub-net
	saved   time.Time

	// Of a training in bins: the trainer's own, what its steps in this round have measured, the images that the bins had
	// drawn before it, and the velocities of the outer optimizer.
	bin        int
	measured   []measure
	takenByBin []map[string]int64
	velocity   map[string][]float32

	// What the progress line shows: the numbers, and the slog keys and values around them.
	loss, std, wait progress.Figure
	details         []any
}

// measure holds the measurements of one step.
type measure struct {
	curves.Point
	Own     int    `json:"own"` // steps that the sub-net has taken so far
	Variant string `json:"variant"`
	Subnet  string `json:"subnet"` // code of the trained sub-net
	Subset  string `json:"subset"` // code of the subset that its images came from
}

// span is a range of images of one subset.
type span struct {
	subset     string
	begin, end int
}

// newTrainer returns a trainer at the start of phase 0, which cannot train before open is called.
func newTrainer(ctx context.Context, cfg Config, r *recipe.Recipe, variant string) (*trainer, error) {
	t := &trainer{
		cfg: cfg, recipe: r, variant: variant, stride: 1,
		streams: map[string]*learn.Stream{}, held: map[string][]int32{},
		last: map[string]measure{}, velocity: map[string][]float32{},
		curve:  curves.New(cfg.Dir, variant, r.Steps()),
		random: rng.NewGenerator(),
		loss:   progress.Figure{Format: "%.3f"}, std: progress.Figure{Format: "%.3f"}, wait: progress.Figure{Format: "%.0f%%"},
	}
	t.details = []any{"loss", &t.loss, "std", &t.std, "data_wait", &t.wait}
	stages, _ := r.Levels()
	t.phase, t.end = 1, len(stages)+1
	switch variant {
	case Phase0:
		t.phase, t.end = 0, 1
	case recipe.Random: // ends before phase 0
		t.phase, t.end = -1, 0
	}
	var err error
	if cfg.Init != "" {
		if t.init, err = readInit(ctx, cfg.Init, r.Backbone); err != nil {
			return nil, err
		}
	}
	t.nets, err = newNets(r, t.init)
	return t, err
}

// newNets returns the nets of a recipe with their initial weights, before they split: random ones, with a backbone in
// their place unless that is nil.
func newNets(r *recipe.Recipe, backbone *nn.Model) (*sdrnet.Net, error) {
	layout := nn.NewLayout(r.Backbone, r.Heads())
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(r.Seed, rng.Weights))
	if backbone != nil {
		copy(params, backbone.Params)
	}
	steps := learn.Config(r, layout)
	stages, branching := r.Levels()
	return sdrnet.New(layout, sdrnet.Config{
		Stages: stages, Branching: branching, Shared: r.Split.Shared,
		IndividualHeads: r.Split.Heads == "individual",
	}, params, steps.State(params), steps.Memory(rng.New(r.Seed, rng.Queue)))
}

// spansOf returns all images.
func spansOf(images *shards.Images) (all []span) {
	for b, ref := range images.Refs {
		begin, end := images.Range(b)
		all = append(all, span{ref.Subset, begin, end})
	}
	return all
}

// openTrainer returns a trainer of all images; close its student after use.
func openTrainer(ctx context.Context, cfg Config, r *recipe.Recipe, variant string, images *shards.Images, threads *kernels.Pool) (*trainer, error) {
	t, err := newTrainer(ctx, cfg, r, variant)
	if err != nil {
		return nil, err
	}
	if err := t.use(images, spansOf(images), threads); err != nil {
		return nil, err
	}
	return t, t.open()
}

// use gives the trainer images, of which it uses some.
func (t *trainer) use(images *shards.Images, spans []span, threads *kernels.Pool) error {
	if size := images.Size(); size != t.recipe.Input.Size {
		return fmt.Errorf("the images are %d px, but the recipe's input.size is %d", size, t.recipe.Input.Size)
	}
	t.images, t.spans, t.pool = images, spans, threads
	t.subsets()
	return nil
}

// open makes the trainer able to train; close its student afterwards.
func (t *trainer) open() (err error) {
	config := learn.Config(t.recipe, t.nets.Layout())
	t.student, err = learn.NewStudent(t.cfg.Device, config, t.recipe, t.pictures(), t.pool)
	return err
}

// pictures gives access to the images.
func (t *trainer) pictures() learn.Images {
	return learn.Images{Size: t.images.Size(), At: t.images.At}
}

// subsets creates the stream of every subset that the variant draws from.
func (t *trainer) subsets() {
	rows := map[string][]int32{}
	for _, s := range t.spans {
		t.number += s.end - s.begin
		for i := s.begin; i < s.end; i++ {
			for level := range sdrnet.Level(s.subset) + 1 {
				code := sdrnet.Prefix(s.subset, level)
				rows[code] = append(rows[code], int32(i))
			}
		}
		if s.subset != "" && !slices.Contains(t.leaves, s.subset) {
			t.leaves = append(t.leaves, s.subset)
		}
	}
	slices.SortFunc(t.leaves, sdrnet.Compare)
	held := t.holdOut(rows)
	for code, list := range rows {
		list = slices.DeleteFunc(list, func(i int32) bool {
			if held[i] {
				t.held[code] = append(t.held[code], i)
			}
			return held[i]
		})
		t.streams[code] = learn.NewStream(t.recipe.Seed, streamKey(code), list)
	}
}

// streamKey maps codes, distinctly up to 9 characters, to numbers: a leading 1, then the characters in base 128.
func streamKey(code string) uint64 {
	key := uint64(1)
	for _, c := range []byte(code) {
		key = key*128 + uint64(c)
	}
	return key
}

// run trains from the current step to the end of the last phase.
func (t *trainer) run(ctx context.Context) error {
	total, last, first := t.recipe.Steps(), t.recipe.PhaseStep(t.end), 0
	if t.variant == Joint {
		last = t.recipe.Joint()
	}
	if !t.onAll() {
		first = t.recipe.PhaseStep(1)
	}
	if t.variant == SDR && !t.divides() {
		slog.Warn("the budget is too small for sub-nets, so there is one net for all; raise train.images, or set split.least_steps to 0",
			"steps", total, "split.least_steps", t.recipe.Split.LeastSteps)
	}
	batch := int64(t.recipe.Train.Batch)
	bar := progress.Start("train "+t.variant, "images", int64(t.step-first)*batch, int64(last-first)*batch)
	defer bar.End()
	t.saved = time.Now()
	if err := t.student.Load(t.nets, t.teachers); err != nil {
		return err
	}
	for {
		if t.variant == Joint && t.step == last {
			return t.checkpoint(ctx)
		}
		if t.step == t.recipe.PhaseStep(t.phase+1) {
			if err := t.student.Sync(); err != nil {
				return err
			}
			if err := t.finishPhase(ctx, t.step == last); err != nil {
				return err
			}
			if t.step == last {
				return t.checkpoint(ctx)
			}
			t.phase++
		}
		if t.due() {
			if err := t.split(); err != nil {
				return err
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		save := time.Since(t.saved).Seconds() >= t.recipe.Train.CheckpointSeconds && !t.defers(t.step)
		// A checkpoint must not count the next step's images as drawn, and their sub-net depends on the phase.
		pause := save || t.step+1 == t.recipe.PhaseStep(t.phase+1) || t.step+1 == t.recipe.SplitStep(t.phase)
		if err := t.advance(total, !pause); err != nil {
			return err
		}
		bar.Add(batch, t.details...)
		if t.curve.Due() {
			if err := t.curve.Write(ctx); err != nil {
				return err
			}
		}
		if save {
			if err := t.checkpoint(ctx); err != nil {
				return err
			}
			t.saved = time.Now()
		}
	}
}

// due reports whether every sub-net is to become the parent of several before the next step.
func (t *trainer) due() bool {
	return t.divides() && t.nets.Level() < t.phase && t.step >= t.recipe.SplitStep(t.phase)
}

// split turns every sub-net into the parent of several.
func (t *trainer) split() error {
	if err := t.student.Sync(); err != nil {
		return err
	}
	t.splitNets()
	return t.student.Load(t.nets, t.teachers)
}

// splitNets is split without the device.
func (t *trainer) splitNets() {
	if t.recipe.SSL.Distill > 0 && (t.teachers == nil || t.recipe.SSL.Teacher == recipe.ParentTeacher) {
		t.teachers = t.nets.Clone() // frozen, or the first value of the root's average
	}
	t.nets.Split()
}

// divides reports whether the trainer's variant is to split into sub-nets.
func (t *trainer) divides() bool { return divides(t.recipe, t.variant) }

// divides reports whether a variant is to split into sub-nets.
func divides(r *recipe.Recipe, variant string) bool { return variant == SDR && r.Splits() }

// onAll reports whether the variant draws all its images from one stream.
func (t *trainer) onAll() bool {
	return t.variant == Phase0 || t.variant == recipe.Unified || t.variant == recipe.Random || t.variant == SDR && !t.divides()
}

// choose returns the sub-net that a step of the current phase trains and the subset that its images come from.
func (t *trainer) choose(step int) (net, subset string) {
	t.random.Seek(t.recipe.Seed, rng.Subset, uint64(step))
	root, at := t.random.Float64(), t.random.IntN(t.number)
	apart := t.variant == SDR && t.nets.Level() == t.phase
	if t.onAll() || apart && root < t.recipe.Train.Root && t.recipe.Train.RootBatches == recipe.Mixed {
		return "", ""
	}
	code := t.subsetOf(at)
	if subset = code; t.phase < t.end-1 {
		subset = sdrnet.Prefix(code, t.phase) // the last phase has the finest
	}
	if t.variant == SDR && (!apart || root >= t.recipe.Train.Root) {
		net = sdrnet.Prefix(code, t.nets.Level())
	}
	return net, subset
}

// subsetOf returns the subset of an image. A uniformly random image thus chooses subsets in proportion to their sizes.
func (t *trainer) subsetOf(image int) string {
	for _, s := range t.spans {
		if image < s.end-s.begin {
			return s.subset
		}
		image -= s.end - s.begin
	}
	panic("train: image out of range")
}

// prepare makes the views for a step of the current phase.
func (t *trainer) prepare(step int) {
	_, subset := t.choose(step)
	t.student.Prepare(step, t.streams[subset])
}

// advance takes one of total steps. If goOn is true, it prepares the next step's views meanwhile, and only waits for as many
// steps as the student cannot keep ahead. It allocates nothing.
func (t *trainer) advance(total int, goOn bool) error {
	net, subset := t.choose(t.step)
	lr := optim.Cosine(t.step, total, int(t.recipe.Train.Warmup*float64(total)), t.recipe.Train.LR)
	t.prepare(t.step)
	// AdamW's step count is the run's, since a group that has split off keeps its parent's averages.
	step := ssl.Step{Code: net, LR: float32(lr), Defer: t.defers(t.step), Number: t.step + 1, Of: total}
	if err := t.student.Start(step); err != nil {
		return fmt.Errorf("step %d, sub-net %q: %w", t.step, name(net), err)
	}
	t.begun = append(t.begun, measure{Point: curves.Point{Step: t.step, LR: lr}, Variant: t.variant, Subnet: net, Subset: subset})
	if goOn {
		t.prepare(t.step + t.stride)
	}
	t.step += t.stride
	ahead := 0
	if goOn {
		ahead = t.student.Ahead() - 1
	}
	for len(t.begun) > ahead {
		if err := t.finish(); err != nil {
			return err
		}
	}
	return nil
}

// finish waits for the first step that has begun.
func (t *trainer) finish() error {
	m := t.begun[0]
	t.begun = slices.Delete(t.begun, 0, 1)
	found, err := t.student.Finish()
	if err != nil {
		return fmt.Errorf("step %d, sub-net %q: %w", m.Step, name(m.Subnet), err)
	}
	m.Loss, m.SSL, m.Distill, m.Std = found.Loss, found.SSL, found.Distill, found.Std
	m.Time, m.Wait = float64(time.Now().UnixMilli())/1000, t.student.Idle()
	if err := t.watch(m); err != nil {
		return err
	}
	t.loss.Value, t.std.Value, t.wait.Value = m.Loss, m.Std, 100*m.Wait
	return nil
}

// defers reports whether a step of the current phase leaves the shared weights to a later one, which is before the next
// split and in the same phase.
func (t *trainer) defers(step int) bool {
	if t.nets.Level() == 0 {
		return false
	}
	from, split, done := t.recipe.PhaseStep(t.phase), t.recipe.SplitStep(t.phase), step+1
	if step >= split {
		from = split
	}
	return (done-from)%t.recipe.Train.Accumulate != 0 && done != split && done != t.recipe.PhaseStep(t.phase+1)
}

// watch records a measurement and checks for divergence and collapse.
func (t *trainer) watch(m measure) error {
	if math.IsNaN(m.Loss) || math.IsInf(m.Loss, 0) {
		return fmt.Errorf("the loss of sub-net %q is %v at step %d: the training diverged; lower train.lr (now %v) or raise train.warmup", name(m.Subnet), m.Loss, m.Step, t.recipe.Train.LR)
	}
	m.Own = t.last[m.Subnet].Own + 1
	t.last[m.Subnet] = m
	t.curve.Add(m.Point)
	if t.measured != nil {
		t.measured = append(t.measured, m)
	}
	healthy := 1 / math.Sqrt(float64(t.recipe.SSL.Dim))
	if t.curve.Full() && m.Std < healthy/10 {
		slog.Warn("the embedding is collapsing", "subnet", name(m.Subnet), "step", m.Step, "std", m.Std, "healthy", healthy)
	}
	return nil
}

// name returns the name under which a sub-net is shown and saved.
func name(code string) string {
	if code == "" {
		return Root
	}
	return code
}

// finishPhase saves the nets that are finished at the end of the current phase, unless they are withheld.
func (t *trainer) finishPhase(ctx context.Context, last bool) error {
	type net struct{ name, code, norm string } // norm says where the BatchNorm statistics come from
	var nets []net
	var codes []string
	switch {
	case t.variant == SDR:
		seen := map[string]bool{}
		for _, leaf := range t.leaves {
			code := sdrnet.Prefix(leaf, t.phase)
			if !t.divides() || seen[code] {
				continue
			}
			seen[code] = true
			codes = append(codes, code)
			for i, of := range t.recipe.Train.Norm {
				n := net{code, code, of}
				if i > 0 {
					n.name += "-" + of
				}
				nets = append(nets, n)
			}
		}
		if last {
			nets = append(nets, net{name: Root})
		}
	case last:
		nets = []net{{name: t.variant}}
		if _, branching := t.recipe.Levels(); t.variant == Phase0 && len(branching) == 0 {
			nets = []net{{name: recipe.Unified}} // a recipe without splits trains the unified net
		}
	}
	if len(nets) == 0 {
		return nil
	}
	if t.recipe.Split.HeldOut > 0 && len(codes) > 0 {
		if err := t.judge(codes); err != nil {
			return err
		}
		nets = slices.DeleteFunc(nets, func(n net) bool { return t.withheld(n.code) })
	}
	t.models = slices.DeleteFunc(t.models, func(m Model) bool { // a resumed run may finish a phase twice
		return slices.ContainsFunc(nets, func(n net) bool { return n.name == m.Subnet })
	})
	known := map[string][]float32{}
	for _, n := range nets {
		model := Model{
			Subnet: n.name, Variant: t.variant, Level: int64(sdrnet.Level(n.code)),
			Images: int64(t.step) * int64(t.recipe.Train.Batch), SubsetImages: int64(len(t.streams[n.code].Rows)),
			Steps: int64(t.last[n.code].Own), Loss: t.last[n.code].Loss, Std: t.last[n.code].Std,
		}
		made, err := t.model(n.code, n.norm, known)
		if err == nil {
			err = Save(ctx, t.cfg.Dir, &model, made)
		}
		if err != nil {
			return fmt.Errorf("sub-net %s: %w", n.name, err)
		}
		t.models = append(t.models, model)
	}
	slices.SortFunc(t.models, func(a, b Model) int { return strings.Compare(a.Subnet, b.Subnet) })
	return inference.Release() // the next phase may need the memory
}
