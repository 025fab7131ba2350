package train

import (
	"cmp"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[pendingFn]())
	beam.RegisterDoFn(reflect.TypeFor[binFn]())
	beam.RegisterDoFn(reflect.TypeFor[keepFn]())
	beam.RegisterDoFn(reflect.TypeFor[commitFn]())
	beam.RegisterDoFn(reflect.TypeFor[finishFn]())
	beam.RegisterDoFn(reflect.TypeFor[committedFn]())
	beam.RegisterDoFn(reflect.TypeFor[collectFn]())
}

// Steps are the steps of a round: from From on, up to To. Bin b of n takes every n-th of them, beginning with the b-th.
type Steps struct {
	From, To int
	// First says that the training starts with them, and Last that it ends.
	First, Last bool
	// Phase is their phase, and EndsPhase says that the next step is of another one, or that there is none.
	Phase     int
	EndsPhase bool
}

// Schedule returns the rounds of a training of variants, which are either phase 0 alone or any others: each as long as the
// recipe says, or shorter before a split and at the end of a phase.
func Schedule(r *recipe.Recipe, variants []string) (rounds []Steps) {
	stages, _ := r.Levels()
	first, last, phase := r.PhaseStep(1), r.Steps(), 1
	if slices.Contains(variants, Phase0) {
		first, last, phase = 0, first, 0
	}
	ends := func(step int) bool {
		return step == last || phase < len(stages) && step == r.PhaseStep(phase+1)
	}
	for from := first; from < last; {
		to := min(from+r.Train.Rounds.Bins*r.Train.Rounds.Steps, last)
		for p := range stages {
			for _, mark := range []int{r.PhaseStep(p + 1), r.SplitStep(p + 1)} {
				if from < mark && mark < to {
					to = mark
				}
			}
		}
		rounds = append(rounds, Steps{From: from, To: to, First: from == first, Last: to == last, Phase: phase, EndsPhase: ends(to)})
		if ends(to) {
			phase++
		}
		from = to
	}
	return rounds
}

// Checkpoint is the schema of Round's output: the checkpoint that a variant's round leaves.
type Checkpoint struct {
	Variant string `arrow:"variant"`
	Step    int64  `arrow:"step"`
	Path    string `arrow:"path"`
}

// Round takes a round's steps: every bin trains on its images, from the checkpoint of the round before, and the mean of
// their results is the next checkpoint. At the end of a phase, the finished nets are saved. A round whose checkpoint
// exists is not repeated, and one that runs twice leaves the same.
//
// in: bins, *record.Batch of Share, as Bins returns them; refs, *record.Batch of shards.Ref, of all images; and before,
// the output of the round before or, of the first one, of the training that it continues. out: *record.Batch of
// Checkpoint, a row per variant.
func Round(s beam.Scope, bins, refs, before beam.PCollection, cfg Config, steps Steps) beam.PCollection {
	s = s.Scope("train.Round")
	at := work{cfg, steps}
	pending := beam.Reshuffle(s, beam.ParDo(s, &pendingFn{at}, bins, beam.SideInput{Input: before}))
	parts, reports := beam.ParDo2(s, &binFn{at}, pending)
	means := beam.ParDo(s, &keepFn{Work: at}, beam.CombinePerKey(s, &meanFn{}, beam.Reshuffle(s, parts)))
	done := beam.ParDo(s, &commitFn{at}, beam.CoGroupByKey(s, means, beam.Reshuffle(s, reports)))
	if steps.EndsPhase {
		variants := beam.ParDo(s, &variantsFn{Variants: cfg.Variants}, beam.Impulse(s), beam.SideInput{Input: refs}, beam.SideInput{Input: done})
		done = compute.ParDo(s, &finishFn{at}, variants)
	}
	return beam.ParDo(s, &committedFn{at}, beam.Impulse(s), beam.SideInput{Input: done}, beam.SideInput{Input: before})
}

// Collect returns the nets that a training of several rounds has finished.
//
// in: *record.Batch of Checkpoint, the output of the last round. out: *record.Batch of Model, one batch per variant.
func Collect(s beam.Scope, last beam.PCollection, cfg Config) beam.PCollection {
	return beam.ParDo(s.Scope("train.Collect"), &collectFn{cfg}, beam.Impulse(s), beam.SideInput{Input: last})
}

// work is what the DoFns of a round have to know.
type work struct {
	Config Config
	Steps  Steps
}

// path returns the path of a variant's checkpoint after so many steps.
func (w work) path(variant string, step int) string {
	return files.Join(w.Config.Dir, "checkpoints", variant, fmt.Sprintf("%s-%09d.safetensors", w.Config.Inputs, step))
}

// latest returns the number of steps after which the latest checkpoint of a variant was made; 0 if there is none.
func (w work) latest(ctx context.Context, variant string) (step int, err error) {
	dir := files.Join(w.Config.Dir, "checkpoints", variant)
	found, err := files.List(ctx, files.Join(files.Quote(dir), w.Config.Inputs+"-*.safetensors"))
	for _, path := range found {
		name := strings.TrimSuffix(path[strings.LastIndexByte(path, '-')+1:], ".safetensors")
		if n, err := strconv.Atoi(name); err == nil {
			step = max(step, n)
		}
	}
	return step, err
}

// Done reports whether all variants have a checkpoint of a round or, where its finished nets are saved after that, of a
// later one.
func Done(ctx context.Context, cfg Config, steps Steps) (bool, error) {
	for _, variant := range cfg.Variants {
		step, err := work{Config: cfg}.latest(ctx, variant)
		if err != nil || step < steps.To || step == steps.To && steps.EndsPhase {
			return false, err
		}
	}
	return true, nil
}

// restore loads the state in which a round begins, after the split that is due then.
func (w work) restore(ctx context.Context, t *trainer) (err error) {
	var file *safetensors.File
	var state *progressState
	switch {
	case !w.Steps.First:
		file, state, err = readCheckpoint(ctx, w.path(t.variant, w.Steps.From))
	case w.Config.Start != Start{}:
		file, state, err = readStart(ctx, w.Config.Start)
	}
	if err == nil && file != nil {
		err = t.resume(ctx, file, state, !w.Steps.First)
	}
	if err == nil && t.due() {
		t.splitNets()
	}
	return err
}

// apart reports whether the bins of a round's steps have whole subsets.
func (w work) apart(r *recipe.Recipe, variant string) bool {
	return divides(r, variant) && w.Steps.From >= r.SplitStep(1)
}

// pendingFn passes on the bins of variants that have the round before them.
type pendingFn struct{ Work work }

func (fn *pendingFn) ProcessElement(ctx context.Context, shares *record.Batch, _ func(**record.Batch) bool, emit func(*record.Batch)) error {
	rows, err := record.Rows[Share](shares)
	if err != nil {
		return err
	}
	r, err := fn.Work.Config.recipe()
	if err != nil || rows[0].Apart != fn.Work.apart(r, rows[0].Variant) {
		return err
	}
	step, err := fn.Work.latest(ctx, rows[0].Variant)
	if err == nil && step < fn.Work.Steps.To {
		emit(shares)
	}
	return err
}

// report is what a bin tells besides the weights that others train, too.
type report struct {
	Bin      int              `json:"bin"`
	Own      string           `json:"own"`   // the file of those that it trains alone; empty if there are none
	Taken    map[string]int64 `json:"taken"` // images drawn, by subset
	Measures []measure        `json:"measures"`
}

// reportRow is a row of a report's batch.
type reportRow struct {
	JSON []byte `arrow:"json"`
}

// binFn takes a bin's steps.
type binFn struct{ Work work }

func (fn *binFn) ProcessElement(ctx context.Context, shares *record.Batch, emitPart, emitReport func(string, *record.Batch)) error {
	rows, err := record.Rows[Share](shares)
	if err != nil {
		return err
	}
	r, err := fn.Work.Config.recipe()
	if err != nil {
		return err
	}
	variant := rows[0].Variant
	own := slices.IndexFunc(rows, func(s Share) bool { return s.Bin != rows[0].Bin })
	if own < 0 {
		own = len(rows)
	}
	var parts []part
	var told *report
	err = compute.Run(func(threads *kernels.Pool) (err error) {
		parts, told, err = fn.Work.train(ctx, r, rows[:own], rows[own:], threads)
		return err
	})
	if err != nil {
		return failure(fmt.Sprintf("%s, bin %d of %d", variant, rows[0].Bin+1, r.Train.Rounds.Bins), err)
	}
	text, err := json.Marshal(told)
	if err != nil {
		return err
	}
	for _, p := range parts {
		emitPart(fmt.Sprintf("%s/%s/%d", variant, p.Name, p.Part), record.Of([]part{p}))
	}
	emitReport(variant, record.Of([]reportRow{{text}}))
	return nil
}

// train takes a bin's steps and returns what they have changed. others are the subsets of other bins.
func (w work) train(ctx context.Context, r *recipe.Recipe, shares, others []Share, threads *kernels.Pool) (parts []part, told *report, err error) {
	images, err := shards.Open(ctx, refsOfShares(shares))
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	t, err := newTrainer(ctx, w.Config, r, shares[0].Variant)
	if err != nil {
		return nil, nil, err
	}
	t.stride, t.bin, t.measured = r.Train.Rounds.Bins, int(shares[0].Bin), []measure{}
	if err := t.use(images, spansOfShares(images, shares), threads); err != nil {
		return nil, nil, err
	}
	if err := w.restore(ctx, t); err != nil {
		return nil, nil, err
	}
	if err := t.open(); err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, t.student.Close()) }()
	if err := t.student.Load(t.nets, t.teachers); err != nil {
		return nil, nil, err
	}
	bar := progress.Start(fmt.Sprintf("train %s, bin %d of %d", t.variant, t.bin+1, t.stride), "images",
		0, int64(max(0, w.Steps.To-w.Steps.From-t.bin+t.stride-1)/t.stride*r.Train.Batch))
	defer bar.End()
	for t.step += t.bin; t.step < w.Steps.To; {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		if err := t.advance(r.Steps(), t.step+t.stride < w.Steps.To); err != nil {
			return nil, nil, err
		}
		bar.Add(int64(r.Train.Batch), t.details...)
	}
	if err := t.student.Sync(); err != nil {
		return nil, nil, err
	}
	parts, own, err := t.parts(others)
	if err != nil {
		return nil, nil, err
	}
	told = &report{Bin: t.bin, Taken: t.taken(), Measures: t.measured}
	if len(own) > 0 {
		told.Own, err = arrowio.WriteBatch(ctx, w.means(t.variant), record.Of(own))
	}
	return parts, told, err
}

// parts returns what the steps of a bin have changed: what other bins, which have the subsets in others, may have changed,
// too, and what they cannot have.
func (t *trainer) parts(others []Share) (shared []part, own []kept, err error) {
	level := t.nets.Level()
	alone := func(v sdrnet.Vector) bool {
		return !slices.ContainsFunc(others, func(s Share) bool { return t.changes("", v) || t.changes(sdrnet.Prefix(s.Subset, level), v) })
	}
	add := func(prefix string, v sdrnet.Vector, steps int64, alone bool) {
		number := int64(0)
		for values := range slices.Chunk(v.Values, maxPart) {
			p := part{prefix + v.Name, number, v.Kind == sdrnet.Memory, int64(t.bin), steps, values}
			if number++; !alone {
				shared = append(shared, p)
				continue
			}
			var k kept
			if k, err = keep(p); err != nil {
				return
			}
			own = append(own, k)
		}
	}
	steps := map[string]int64{} // of each sub-net
	for _, m := range t.measured {
		steps[m.Subnet]++
	}
	for _, v := range t.nets.State() {
		sum := int64(0)
		for code, n := range steps {
			if t.changes(code, v) {
				sum += n
			}
		}
		if sum > 0 {
			add("", v, sum, alone(v))
		}
	}
	if t.teachers != nil && t.recipe.SSL.Teacher == recipe.EMATeacher && steps[""] > 0 {
		for _, v := range t.teachers.State() {
			add(teacherPrefix, v, steps[""], false)
		}
	}
	return shared, own, err
}

// changes reports whether the steps of a sub-net change a vector of the state.
func (t *trainer) changes(code string, v sdrnet.Vector) bool {
	choices := sdrnet.Choices(code)
	switch {
	case v.Kind == sdrnet.Memory:
		return len(choices) == v.Level && t.nets.Index(code) == v.Choice
	case v.Level < 0:
		return true
	}
	return len(choices) > v.Level && choices[v.Level] == v.Choice
}

// keepFn writes means to files, and emits the variants, which their keys begin with, and the paths: together, the means of
// a large net are more than a record of some runners may be.
type keepFn struct {
	Work work

	held map[string][]kept
	size int // elements held
}

// kept is a row of a file of means: a part's, little endian, since parts are of several lengths.
type kept struct {
	Name   string `arrow:"name"`
	Part   int64  `arrow:"part"`
	Values []byte `arrow:"values"`
}

// keep returns the row of a part.
func keep(p part) (kept, error) {
	values, err := binary.Append(nil, binary.LittleEndian, p.Values)
	return kept{p.Name, p.Part, values}, err
}

// maxHeld is the number of elements of means from which they are written to a file.
const maxHeld = 1 << 24

func (fn *keepFn) ProcessElement(ctx context.Context, key string, b *record.Batch, emit func(variant, path string)) error {
	rows, err := record.Rows[part](b)
	if err != nil {
		return err
	}
	if fn.held == nil {
		fn.held = map[string][]kept{}
	}
	variant, _, _ := strings.Cut(key, "/")
	for _, p := range rows {
		k, err := keep(p)
		if err != nil {
			return err
		}
		fn.held[variant] = append(fn.held[variant], k)
		fn.size += len(p.Values)
	}
	if fn.size < maxHeld {
		return nil
	}
	return fn.FinishBundle(ctx, emit)
}

// FinishBundle writes what is held.
func (fn *keepFn) FinishBundle(ctx context.Context, emit func(variant, path string)) error {
	for variant, parts := range fn.held {
		path, err := arrowio.WriteBatch(ctx, fn.Work.means(variant), record.Of(parts))
		if err != nil {
			return err
		}
		emit(variant, path)
	}
	fn.held, fn.size = nil, 0
	return nil
}

// means returns the folder of the means of a variant's round, until its checkpoint is made.
func (w work) means(variant string) string {
	return strings.TrimSuffix(w.path(variant, w.Steps.To), ".safetensors")
}

// commitFn makes the checkpoint of a variant's round from what the bins have done.
type commitFn struct{ Work work }

func (fn *commitFn) ProcessElement(ctx context.Context, variant string, means func(*string) bool, reports func(**record.Batch) bool, emit func(*record.Batch)) error {
	w := fn.Work
	step, err := w.latest(ctx, variant)
	if err != nil || step >= w.Steps.To { // by an earlier attempt
		return err
	}
	if err := w.commit(ctx, variant, means, reports); err != nil {
		return fmt.Errorf("train %s: %w", variant, err)
	}
	emit(record.Of([]Checkpoint{{variant, int64(w.Steps.To), w.path(variant, w.Steps.To)}}))
	return nil
}

func (w work) commit(ctx context.Context, variant string, means func(*string) bool, reports func(**record.Batch) bool) error {
	r, err := w.Config.recipe()
	if err != nil {
		return err
	}
	t, err := newTrainer(ctx, w.Config, r, variant)
	if err != nil {
		return err
	}
	if err := w.restore(ctx, t); err != nil {
		return err
	}
	told, err := readReports(reports, r.Train.Rounds.Bins)
	if err != nil {
		return err
	}
	var paths []string
	for path := ""; means(&path); {
		paths = append(paths, path)
	}
	for _, of := range told {
		if of.Own != "" {
			paths = append(paths, of.Own)
		}
	}
	if err := t.adopt(ctx, paths); err != nil {
		return err
	}
	t.takenByBin = nil
	var measured []measure
	for _, of := range told {
		t.takenByBin = append(t.takenByBin, of.Taken)
		measured = append(measured, of.Measures...)
	}
	slices.SortFunc(measured, func(a, b measure) int { return cmp.Compare(a.Step, b.Step) })
	for _, m := range measured {
		if err := t.watch(m); err != nil {
			return err
		}
	}
	if t.step = w.Steps.To; w.Steps.EndsPhase && !w.Steps.Last {
		t.phase++
	}
	if err := errors.Join(t.curve.Write(ctx), t.curve.Close()); err != nil {
		return err
	}
	if err := t.save(ctx, w.path(variant, t.step)); err != nil {
		return err
	}
	return errors.Join(files.RemoveAll(ctx, w.means(variant)), w.removeBefore(ctx, variant))
}

// removeBefore removes the checkpoints of rounds that no attempt can need.
func (w work) removeBefore(ctx context.Context, variant string) error {
	dir := files.Join(w.Config.Dir, "checkpoints", variant)
	found, err := files.List(ctx, files.Join(files.Quote(dir), "*.safetensors"))
	for _, path := range found {
		if path < w.path(variant, w.Steps.From) {
			err = errors.Join(err, files.Remove(ctx, path))
		}
	}
	return err
}

// readReports reads the reports of all bins, in their order.
func readReports(reports func(**record.Batch) bool, bins int) ([]report, error) {
	rows, err := record.All[reportRow](reports)
	if err != nil {
		return nil, err
	}
	told := make([]report, len(rows))
	for i, row := range rows {
		if err := json.Unmarshal(row.JSON, &told[i]); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(told, func(a, b report) int { return cmp.Compare(a.Bin, b.Bin) })
	for i, of := range told {
		if of.Bin != i {
			return nil, fmt.Errorf("the results of bin %d are missing or there twice; resume the run", i+1)
		}
	}
	if len(told) != bins {
		return nil, fmt.Errorf("the results of %d of %d bins are missing; resume the run", bins-len(told), bins)
	}
	return told, nil
}

// adopt makes what the bins have changed, which it reads from files, the trainer's state.
func (t *trainer) adopt(ctx context.Context, paths []string) error {
	vectors := map[string]sdrnet.Vector{}
	for _, v := range t.nets.State() {
		vectors[v.Name] = v
	}
	if t.teachers != nil {
		for _, v := range t.teachers.State() {
			vectors[teacherPrefix+v.Name] = v
		}
	}
	type place struct {
		name string
		part int64
	}
	adopted := map[place]bool{}
	for _, path := range paths {
		err := arrowio.Each(ctx, path, func(b *record.Batch) error {
			rows, err := record.Rows[kept](b)
			for _, p := range rows {
				v, known := vectors[p.Name]
				at, values := int(p.Part)*maxPart, make([]float32, len(p.Values)/4)
				if !known || at+len(values) > len(v.Values) {
					return fmt.Errorf("a bin has trained %q, which this round does not have", p.Name)
				}
				if adopted[place{p.Name, p.Part}] {
					return fmt.Errorf("part %d of %q is there twice", p.Part, p.Name)
				}
				adopted[place{p.Name, p.Part}] = true
				if _, err := binary.Decode(p.Values, binary.LittleEndian, values); err != nil {
					return err
				}
				t.outer(p.Name, v, at, values)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// outer takes the outer optimizer's step on the elements of a vector from at on, of which values is the mean of the bins.
func (t *trainer) outer(name string, v sdrnet.Vector, at int, values []float32) {
	o := t.recipe.Train.Rounds
	into := v.Values[at:][:len(values)]
	if v.Kind != sdrnet.Weights || strings.HasPrefix(name, teacherPrefix) || o.LR == 1 && o.Momentum == 0 {
		copy(into, values)
		return
	}
	if t.velocity[name] == nil {
		t.velocity[name] = make([]float32, len(v.Values))
	}
	velocity := t.velocity[name][at:]
	for i, value := range values {
		change := float64(value - into[i])
		speed := o.Momentum*float64(velocity[i]) + change
		velocity[i] = float32(speed)
		into[i] += float32(o.LR * (change + o.Momentum*speed))
	}
}

// finishFn saves the nets that are finished at the end of a phase.
type finishFn struct{ Work work }

func (fn *finishFn) ProcessElement(ctx context.Context, variant string, refs *record.Batch) (*record.Batch, error) {
	rows, err := record.Rows[shards.Ref](refs)
	if err != nil {
		return nil, err
	}
	w := fn.Work
	err = compute.Run(func(threads *kernels.Pool) error { return w.finish(ctx, variant, rows, threads) })
	if err != nil {
		return nil, fmt.Errorf("train %s: %w", variant, err)
	}
	return record.Of([]Checkpoint{{variant, int64(w.Steps.To), w.path(variant, w.Steps.To)}}), nil
}

func (w work) finish(ctx context.Context, variant string, refs []shards.Ref, threads *kernels.Pool) (err error) {
	step, err := w.latest(ctx, variant)
	if err != nil || step > w.Steps.To { // by an earlier attempt
		return err
	}
	r, err := w.Config.recipe()
	if err != nil {
		return err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	t, err := newTrainer(ctx, w.Config, r, variant)
	if err != nil {
		return err
	}
	if err := t.use(images, spansOf(images), threads); err != nil {
		return err
	}
	file, state, err := readCheckpoint(ctx, w.path(variant, w.Steps.To))
	if err != nil {
		return err
	}
	if err := t.resume(ctx, file, state, true); err != nil {
		return err
	}
	t.phase = w.Steps.Phase
	return t.finishPhase(ctx, w.Steps.Last)
}

// committedFn makes sure that a round's checkpoints are there, and lists them.
type committedFn struct{ Work work }

func (fn *committedFn) ProcessElement(ctx context.Context, _ []byte, _, _ func(**record.Batch) bool) (*record.Batch, error) {
	w := fn.Work
	var rows []Checkpoint
	for _, variant := range w.Config.Variants {
		step, err := w.latest(ctx, variant)
		if err == nil && step < w.Steps.To {
			err = fmt.Errorf("train %s: the round up to step %d ended without a checkpoint; resume the run", variant, w.Steps.To)
		}
		if err == nil && w.Steps.Last {
			err = files.Link(ctx, w.path(variant, w.Steps.To), CheckpointPath(w.Config.Dir, variant))
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, Checkpoint{variant, int64(step), w.path(variant, step)})
	}
	return record.Of(rows), nil
}

// collectFn lists the finished nets.
type collectFn struct{ Config Config }

func (fn *collectFn) ProcessElement(ctx context.Context, _ []byte, _ func(**record.Batch) bool, emit func(*record.Batch)) error {
	all, err := ReadModels(ctx, fn.Config.Dir)
	if err != nil {
		return err
	}
	for _, variant := range fn.Config.Variants {
		w := work{Config: fn.Config}
		step, err := w.latest(ctx, variant)
		if err != nil {
			return err
		}
		_, state, err := readCheckpoint(ctx, w.path(variant, step))
		if err != nil {
			return err
		}
		if gone, err := lost(ctx, fn.Config.Dir, state.Models); err != nil || gone != "" {
			return cmp.Or(err, fmt.Errorf("model %s is gone or damaged; remove the folder %s to train its variant again", gone, files.Dir(w.path(variant, step))))
		}
		models := slices.DeleteFunc(slices.Clone(all), func(m Model) bool { return m.Variant != variant })
		emit(record.Of(models))
	}
	return nil
}
