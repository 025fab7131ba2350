package pipelines

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// plan builds the chain of one training or, for a study, of many. The digest of a step covers everything that determines
// its output, including the digests of the steps that it needs.
type plan struct {
	chain
	splits  map[int][]imageio.Split  // the images, by the number of images per shard
	sources map[int][]imageio.Source // what these splits come from
	data    string                   // digest of the files with the images
	maxBad  float64
	init    *run.Init // of the backbone that trainings begin with; nil for random weights
	// shared means that the folder holds many trainings: a step's name ends with its digest, it keeps everything in its
	// own folder, and trainings share the steps that they have in common.
	shared bool
	of     string // what the steps that are added next are part of, for the log
}

// add adds a step, unless it is there, and returns its name. settings are what determines its output besides the
// outputs of the steps that it needs.
func (p *plan) add(stage string, needs []string, settings any, build build) string {
	return p.addAfter(stage, needs, nil, settings, build)
}

// build builds the pipeline of a step from the outputs of the steps that it needs.
type build = func(s beam.Scope, in []beam.PCollection) beam.PCollection

// addAfter is like add, but the step also gets the outputs of others, which make no difference to its own.
func (p *plan) addAfter(stage string, needs, after []string, settings any, build build) string {
	var inputs []string
	for _, need := range needs {
		inputs = append(inputs, p.find(need).inputs)
	}
	digest := run.Digest("v2", stage, inputs, settings)
	name := stage
	if p.shared {
		name = files.Join(stage, digest)
	}
	if p.find(name) == nil {
		p.steps = append(p.steps, step{name: name, needs: slices.Concat(needs, after), inputs: digest, of: p.of, build: build})
	}
	return name
}

// find returns a step, or nil if there is none of that name.
func (p *plan) find(name string) *step {
	if at := slices.IndexFunc(p.steps, func(st step) bool { return st.name == name }); at >= 0 {
		return &p.steps[at]
	}
	return nil
}

// config configures the training of variants in a step.
func (p *plan) config(step string, r *recipe.Recipe, variants ...string) train.Config {
	cfg := train.Config{Dir: p.dir(step), Recipe: string(r.Marshal()), Variants: variants, Inputs: p.find(step).inputs, Device: p.device}
	if p.init != nil {
		cfg.Init = train.InitPath(p.folder.Dir)
	}
	return cfg
}

// dir returns the folder of a step's checkpoints, metrics and models.
func (p *plan) dir(step string) string {
	if p.shared {
		return p.folder.StageDir(step)
	}
	return p.folder.Dir
}

// deadLetter returns the path of the file that lists unreadable images.
func (p *plan) deadLetter(t training) string {
	return (&run.Folder{Dir: p.dir(t.ingest)}).DeadLetterPath()
}

// training names the steps that train a recipe.
type training struct {
	recipe                    *recipe.Recipe
	ingest, phase0, partition string
}

// trains adds the steps that train a recipe, and returns the one that says which images there are, with their subsets if
// there are any, and those that have the nets.
func (p *plan) trains(r *recipe.Recipe) (images string, nets []string) {
	t := p.phase0(r, "")
	if _, branching := r.Levels(); len(branching) == 0 {
		nets = []string{t.phase0}
		if slices.Contains(r.Train.Baselines, recipe.Random) {
			nets = append(nets, p.variants(t, recipe.Random)...)
		}
		return t.ingest, nets
	}
	p.subsets(&t)
	return t.partition, p.variants(t, append([]string{train.SDR}, r.Train.Baselines...)...)
}

// phase0 adds the steps up to the end of phase 0. If shorter is not "", it continues that shorter one.
func (p *plan) phase0(r *recipe.Recipe, shorter string) training {
	t := training{recipe: r}
	splits := p.splits[ingest.ShardRows(r.Input.Size)]
	_, branching := r.Levels()
	t.ingest = p.add("ingest", nil, []any{r.Input.Size, splits, p.data}, func(s beam.Scope, _ []beam.PCollection) beam.PCollection {
		return ingest.Ingest(s, beam.CreateList(s, splits), ingest.Config{
			Size: r.Input.Size, Dir: p.folder.StageDir(t.ingest), DeadLetter: p.deadLetter(t), MaxBad: p.maxBad, Least: r.Train.Batch,
			Subsets: kmeans.Leaves(branching), Sources: p.sources[ingest.ShardRows(r.Input.Size)],
		})
	})
	p.listsDead(t.ingest, p.deadLetter(t))
	t.phase0 = p.train(train.Phase0, []string{t.ingest}, shorter, []any{string(r.For(recipe.Unified).Marshal()), r.PhaseStep(1)}, r, train.Phase0)
	return t
}

// listsDead notes the file in which a step lists unreadable images, which are counted at the end.
func (p *plan) listsDead(step, path string) {
	p.find(step).files = func(context.Context) ([]string, error) { return []string{path}, nil }
	p.results = append(p.results, step)
}

// roundsPerJob is the number of rounds in one Beam job: many would make a graph that runners are slow with, and each job
// takes a while to start.
const roundsPerJob = 8

// train adds a step that trains variants on the images of the last step in needs, continuing another training unless start
// is "".
func (p *plan) train(stage string, needs []string, start string, settings any, r *recipe.Recipe, variants ...string) (name string) {
	if p.init != nil {
		settings = []any{settings, p.init.Digest}
	}
	var after []string
	if start != "" {
		after = []string{start}
	}
	config := func() train.Config {
		cfg := p.config(name, r, variants...)
		if variant, _, _ := strings.Cut(start, "/"); start != "" { // the stage is named like it
			cfg.Start = train.Start{Variant: variant, Dir: p.dir(start), Inputs: p.find(start).inputs}
		}
		return cfg
	}
	started := func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		if start == "" {
			return beam.CreateList(s, []*record.Batch{})
		}
		return in[len(needs)]
	}
	var rounds []train.Steps
	if r.Train.Rounds.Bins > 1 && !slices.Contains(variants, recipe.Random) {
		rounds = train.Schedule(r, variants)
	}
	var parts []part
	left := rounds // in the step's last job
	for ; !p.singleJob && len(left) > roundsPerJob; left = left[roundsPerJob:] {
		group := left[:roundsPerJob]
		parts = append(parts, part{
			done: func(ctx context.Context) (bool, error) { return train.Done(ctx, config(), group[len(group)-1]) },
			build: func(s beam.Scope, in []beam.PCollection) {
				train.Rounds(s, in[0], started(s, in), config(), group)
			},
		})
	}
	name = p.addAfter(stage, needs, after, settings, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		if len(rounds) == 0 {
			return train.Continue(s, in[0], started(s, in), config())
		}
		return train.Collect(s, train.Rounds(s, in[0], started(s, in), config(), left), config())
	})
	p.find(name).variants, p.find(name).rounds, p.find(name).parts = variants, rounds, parts
	p.find(name).files = paths(p, name, func(m train.Model) string { return m.Path })
	p.find(name).memory = func() (most int64, err error) {
		for _, v := range variants {
			needed, err := train.Memory(r, v, p.size(r))
			if err != nil {
				return 0, err
			}
			most = max(most, needed)
		}
		return most, nil
	}
	if slices.Contains(variants, train.SDR) {
		p.find(name).notes = func(ctx context.Context) ([]string, error) { return train.Notes(ctx, p.dir(name)) }
	}
	for _, v := range []string{train.Phase0, train.Joint} {
		if slices.Contains(variants, v) {
			p.find(name).state = train.CheckpointPath(p.dir(name), v)
		}
	}
	return name
}

// paths returns a function that lists the files that the rows of a step's output name.
func paths[T any](p *plan, step string, of func(row T) string) func(ctx context.Context) ([]string, error) {
	return func(ctx context.Context) (all []string, err error) {
		rows, err := readOut[T](ctx, p.out(step))
		for _, row := range rows {
			all = append(all, of(row))
		}
		return all, err
	}
}

// size returns the number of images that there are for a recipe.
func (p *plan) size(r *recipe.Recipe) (n int64) {
	for _, split := range p.splits[ingest.ShardRows(r.Input.Size)] {
		n += split.End - split.Begin
	}
	return n
}

// subsets adds the steps that divide the images into subsets.
func (p *plan) subsets(t *training) {
	r := t.recipe
	branching := r.Branching()
	extracted := p.add("features", []string{t.ingest, t.phase0}, nil, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return features.Extract(s, in[0], in[1], train.Phase0)
	})
	var sources []string
	for _, sp := range p.splits[ingest.ShardRows(r.Input.Size)] {
		if sp.Damage == "" && !slices.Contains(sources, sp.Path) {
			sources = append(sources, sp.Path)
		}
	}
	t.partition = p.add("partition", []string{extracted}, []any{branching, r.Partition, r.Seed}, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return partition.Partition(s, in[0], partition.Config{
			Shards: files.Join(p.folder.StageDir(t.ingest), "shards"), Dir: p.folder.StageDir(t.partition),
			Method: r.Partition.Method, Sources: sources, Branching: branching, Whiten: r.Partition.Whiten,
			Iterations: r.Partition.Iterations, Balance: r.Partition.Balance, Seed: r.Seed,
			Local: InProcess(p.runner), Gather: p.gather(t.partition),
		})
	})
}

// joint adds the step that the SDRnet and the baseline on mini-batches of one subset have in common, if there is one, and
// returns the step that they continue.
func (p *plan) joint(t training) string {
	r := t.recipe
	if r.Joint() == r.PhaseStep(1) {
		return t.phase0
	}
	settings := []any{string(r.For(recipe.UnifiedSubsetBatches).Marshal()), r.Joint()}
	name := p.train(train.Joint, []string{t.partition}, t.phase0, settings, r, train.Joint)
	p.find(name).helper = true
	return name
}

// variants adds the steps that train the SDRnet and the baselines on what phase 0 learned, and returns their names. The
// unified net does not need the subsets, and the random net not even phase 0. The others are one step, so that they can
// be trained at the same time, or in a shared folder one step each.
func (p *plan) variants(t training, variants ...string) (names []string) {
	ofAll := func(v string) bool { return v == recipe.Unified || v == recipe.Random }
	subsets := slices.DeleteFunc(slices.Clone(variants), ofAll)
	settings := func(variant string) string { return string(t.recipe.For(variant).Marshal()) }
	if p.shared {
		for _, v := range subsets {
			names = append(names, p.train(v, []string{t.partition}, p.joint(t), settings(v), t.recipe, v))
		}
	} else if len(subsets) > 0 {
		names = append(names, p.train("train", []string{t.partition}, p.joint(t), []any{subsets, settings(train.SDR)}, t.recipe, subsets...))
	}
	for _, v := range variants {
		if !ofAll(v) {
			continue
		}
		start := t.phase0
		if v == recipe.Random {
			start = ""
		}
		names = append(names, p.train(v, []string{t.ingest}, start, settings(v), t.recipe, v))
	}
	return names
}

// InProcess reports whether a runner runs pipelines in this process.
func InProcess(runner string) bool { return runner == "prism" || runner == "direct" }
