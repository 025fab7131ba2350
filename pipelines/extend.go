package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/dustin/go-humanize"
	"github.com/google/uuid"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sdr-ml/sdr/stages/extend"
	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// ExtendOptions are the arguments of Extend.
type ExtendOptions struct {
	// Run is the run folder to extend, and Out the folder of the new run.
	Run, Out string
	// Data are folders and files of new images; labels are ignored.
	Data []string
	// Columns are those of Parquet files among them.
	Columns imageio.Columns
	// Far is as in extend.Config.
	Far float64
	// Images is the number of images that each new sub-net sees, and Rate the peak learning rate.
	Images int64
	Rate   float64
	// Mode says what to do if Out already exists.
	Mode run.Mode
	// MaxBad is the fraction of unreadable images above which the job fails.
	MaxBad float64
	// Device computes the training steps; features and BatchNorm statistics are computed on compute.Device.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
	// Version and Command are saved with the run.
	Version string
	Command []string
	// Started is called after the arguments are checked and the run folder is created.
	Started func(*run.Folder)
}

// Extended is the result of Extend.
type Extended struct {
	// Folder is the new run's folder.
	Folder *run.Folder
	// Dead is the number of images that could not be read.
	Dead int64
	// Images is the number of new images, and Far that of those which are far from all old subsets.
	Images, Far int64
	// Subsets are the leaves, old and new.
	Subsets []ExtendedSubset
	// Models is the number of finished nets.
	Models int
}

// ExtendedSubset is a row of subsets.parquet: a leaf of an extended run.
type ExtendedSubset struct {
	Subset string `arrow:"subset"`
	// Parent is the leaf that a new subset's sub-net started from; empty for old subsets.
	Parent string `arrow:"parent"`
	// Old and New are the numbers of its images.
	Old int64 `arrow:"old"`
	New int64 `arrow:"new"`
}

// AssignedImage is a row of assigned.parquet: a new image.
type AssignedImage struct {
	// Source and Row say where the image comes from.
	Source string `arrow:"source"`
	Row    int64  `arrow:"row"`
	// Code is its subset. Distance is that from the nearest old one, and Far true if it is far from all of these.
	Code     string  `arrow:"code"`
	Distance float32 `arrow:"distance"`
	Far      bool    `arrow:"far"`
}

// base is the run to extend.
type base struct {
	folder *run.Folder
	text   []byte // of the recipe
	recipe *recipe.Recipe
	leaves []string // the codes of the finest subsets with sub-nets, of those that have one
	// What the stages left: the shards of all images, and these sorted by subset, and the files of the features.
	ingested, divided []shards.Ref
	features          []string
}

// Extend makes a new run of a finished one and of new images. The nets of the old run stay as they are; images that are
// far from all its subsets become new subsets with sub-nets of their own.
func Extend(ctx context.Context, o ExtendOptions) (*Extended, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	old, err := openBase(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	if err := run.Check(ctx, o.Out, o.Mode); err != nil {
		return nil, err
	}
	splits, sources, err := imageio.Survey(ctx, o.Data, ingest.ShardRows(old.recipe.Input.Size), o.Columns)
	if err != nil {
		return nil, run.Usage(err)
	}
	warnTwice(o.Data)
	known, err := loadData(ctx, old.folder)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(known, identify(ctx, o.Data, nil))
	if o.Mode == run.Resume {
		all, err = checkData(ctx, o.Out, known, o.Data)
	}
	if err != nil {
		return nil, err
	}
	unlock, err := run.Lock(ctx, o.Out)
	if err != nil {
		return nil, err
	}
	defer unlock()
	folder, err := run.Create(ctx, o.Out, o.Mode, run.Info{
		ID: uuid.Must(uuid.NewV7()), Version: o.Version, Created: time.Now(), Command: o.Command,
		Data: slices.Concat(old.folder.Info.Data, o.Data), Init: old.folder.Info.Init,
	}, old.text)
	if err != nil {
		return nil, err
	}
	if err := saveData(ctx, folder, all); err != nil {
		return nil, err
	}
	if o.Started != nil {
		o.Started(folder)
	}
	e := &extension{ExtendOptions: o, old: old, folder: folder, first: first(old.ingested)}
	for i := range splits {
		splits[i].Index += e.first
	}
	for i := range sources {
		sources[i].Begin, sources[i].End = sources[i].Begin+e.first, sources[i].End+e.first
	}
	if err := e.inherit(ctx); err != nil {
		return nil, err
	}
	return e.run(ctx, splits, sources, data(all[len(known):]).digest())
}

// check validates the arguments that need no look at the run.
func (o *ExtendOptions) check() error {
	switch {
	case !(o.Far > .5 && o.Far < 1):
		return run.Usagef("--far %v: want a fraction above 0.5 and below 1", o.Far)
	case o.Images < 1:
		return run.Usagef("--images %d: want at least 1", o.Images)
	case !(o.Rate > 0):
		return run.Usagef("--lr %v: want a learning rate above 0", o.Rate)
	}
	a, errA := os.Stat(o.Run)
	b, errB := os.Stat(o.Out)
	if o.Run == o.Out || errA == nil && errB == nil && os.SameFile(a, b) {
		return run.Usagef("%s is the run to extend; give another folder for the new run", o.Out)
	}
	return nil
}

// first returns the number after that of the last shard.
func first(refs []shards.Ref) (next int64) {
	for _, ref := range refs {
		if n, err := shards.Number(ref.Path); err == nil {
			next = max(next, n+1)
		}
	}
	return next
}

// openBase opens a run and checks that it has what extending it needs.
func openBase(ctx context.Context, dir string) (*base, error) {
	folder, models, err := openTrained(ctx, dir)
	if err != nil {
		return nil, err
	}
	b := &base{folder: folder}
	if b.text, err = files.Read(ctx, folder.RecipePath()); err != nil {
		return nil, err
	}
	if b.recipe, err = recipe.Parse(b.text); err != nil {
		return nil, fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	stages, _ := b.recipe.Levels()
	switch method := b.recipe.Partition.Method; {
	case len(stages) == 0:
		return nil, run.Usagef("%s has no sub-nets (paths: %s), so there is nothing to extend", dir, b.recipe.Paths)
	case !b.recipe.Splits():
		return nil, run.Usagef("%s has no sub-nets, since its budget of %d steps is below split.least_steps, %d; there is nothing to extend",
			dir, b.recipe.Steps(), b.recipe.Split.LeastSteps)
	case method != partition.KMeans:
		return nil, run.Usagef("%s has partition.method %s; only subsets by k-means have a place for new images", dir, method)
	}
	for _, m := range models {
		if m.Variant == train.SDR && int(m.Level) == len(stages) && !strings.Contains(m.Subnet, "-") {
			b.leaves = append(b.leaves, m.Subnet)
		}
	}
	if len(b.leaves) == 0 {
		return nil, run.Usagef("%s has no finished sub-net of level %d to start from", dir, len(stages))
	}
	outs := map[string]string{} // of the stages
	for _, stage := range []string{"ingest", "features", "partition"} {
		m, err := folder.ReadManifest(ctx, stage)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, run.Usagef("%s does not have its stage %s any more, which says what the old images look like; without it, a run can be used but not extended", dir, stage)
		}
		outs[stage] = outDir(folder, stage, m.Inputs)
	}
	needed := []string{
		outs["ingest"], outs["features"], outs["partition"], partition.CentroidsDir(folder.StageDir("partition")),
		files.Join(folder.StageDir("ingest"), "shards"), files.Join(folder.StageDir("partition"), "shards"),
	}
	if b.recipe.Partition.Whiten {
		needed = append(needed, partition.WhiteningDir(folder.StageDir("partition")))
	}
	for _, of := range needed {
		found, err := files.List(ctx, files.Join(files.Quote(of), "*.arrow"))
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, run.Usagef("%s has nothing in %s: it was removed, or the run is of an older version of sdr; without it, a run can be used but not extended", dir, of)
		}
		if of == outs["features"] {
			b.features = found
		}
	}
	if b.ingested, err = readOut[shards.Ref](ctx, outs["ingest"]); err == nil {
		b.divided, err = readOut[shards.Ref](ctx, outs["partition"])
	}
	return b, err
}

// extension makes a new run.
type extension struct {
	ExtendOptions
	old    *base
	folder *run.Folder
	first  int64 // number of the first shard with new images
	plan   *plan
}

// inherit links what the old run has into the new one, which then does not need it: the nets and what is known of their
// training, the images, the centroids and the whitening. Centroids that an earlier attempt added are removed: images are
// assigned to old subsets only.
func (e *extension) inherit(ctx context.Context) error {
	if err := files.Discard(ctx, e.centroidsPath()); err != nil {
		return err
	}
	patterns := []string{"models/*", "metrics/*", "tuning/*", "ingest/shards/*", "partition/shards/*", "partition/centroids/*", "partition/whitening/*"}
	for _, stage := range []string{train.Phase0, "train", recipe.Unified, recipe.Random} {
		patterns = append(patterns, stage+"/manifest.json", stage+"/out-*/*")
	}
	for _, pattern := range patterns {
		found, err := files.List(ctx, files.Join(files.Quote(e.old.folder.Dir), pattern))
		if err != nil {
			return err
		}
		for _, file := range found {
			elements := strings.Split(filepath.ToSlash(file), "/")
			inside := elements[len(elements)-1-strings.Count(pattern, "/"):]
			if err := files.Link(ctx, file, files.Join(e.folder.Dir, inside...)); err != nil {
				return err
			}
		}
	}
	return nil
}

// moved returns references to the old run's shards of a stage as references to the new run's.
func (e *extension) moved(refs []shards.Ref, stage string) []shards.Ref {
	refs = slices.Clone(refs)
	for i, ref := range refs {
		refs[i].Path = files.Join(e.folder.StageDir(stage), "shards", path.Base(ref.Path))
	}
	return refs
}

// config configures the stage extend for so many new subsets.
func (e *extension) config(clusters int) extend.Config {
	r := e.old.recipe
	stages, _ := r.Levels()
	return extend.Config{
		Shards: files.Join(e.folder.StageDir("ingest"), "shards"), First: e.first, Partition: e.folder.StageDir("partition"),
		Whiten: r.Partition.Whiten, Level: len(stages), Far: e.Far, Clusters: clusters, Nets: e.old.leaves,
		Iterations: r.Partition.Iterations, Balance: r.Partition.Balance, Seed: r.Seed,
		Local: InProcess(e.Runner), Gather: e.plan.gather("partition"),
	}
}

// do runs the stages that are added and not done, of as many as there will be.
func (e *extension) do(ctx context.Context, of int) error {
	todo, err := e.plan.left(ctx)
	if err != nil {
		return err
	}
	e.plan.begun, e.plan.todo = len(e.plan.steps)-len(todo), of
	return e.plan.jobs(ctx, todo)
}

// run runs the stages, each when what it depends on is known: how many subsets there are to make only when the images are
// assigned.
func (e *extension) run(ctx context.Context, splits []imageio.Split, sources []imageio.Source, digest string) (*Extended, error) {
	r := e.old.recipe
	e.plan = &plan{chain: chain{folder: e.folder, runner: e.Runner, device: e.Device}}
	p := e.plan
	defer shareTuning(ctx, e.folder.TuningDir())()
	ingested := p.add("ingest", nil, []any{e.old.folder.Info.ID, splits, digest}, func(s beam.Scope, _ []beam.PCollection) beam.PCollection {
		more := ingest.Ingest(s, beam.CreateList(s, splits), ingest.Config{
			Size: r.Input.Size, Dir: e.folder.StageDir("ingest"), DeadLetter: e.folder.DeadLetterPath(), MaxBad: e.MaxBad, Least: 1, Sources: sources,
		})
		return beam.Flatten(s, beam.Create(s, record.Of(e.moved(e.old.ingested, "ingest"))), more)
	})
	p.listsDead(ingested, e.folder.DeadLetterPath())
	extracted := p.add("features", []string{ingested}, nil, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		phase0 := train.Model{Subnet: train.Phase0, Path: run.ModelPath(e.folder.Dir, train.Phase0)}
		return features.Extract(s, extend.New(s, in[0], e.first), createModels(s, []train.Model{phase0}), train.Phase0)
	})
	for _, file := range e.old.features {
		if err := files.Link(ctx, file, files.Join(p.out(extracted), path.Base(file))); err != nil {
			return nil, err
		}
	}
	assigned := p.add("assign", []string{extracted}, e.Far, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		return extend.Assign(s, in[0], e.config(0))
	})
	p.results = append(p.results, assigned)
	if err := e.do(ctx, 4); err != nil {
		return nil, err
	}
	images, err := readOut[extend.Image](ctx, p.out(assigned))
	if err != nil {
		return nil, err
	}
	before := e.old.sizes()
	total := int64(0)
	for _, n := range before {
		total += n
	}
	clusters := extend.Clusters(images, e.Far, r.Train.Batch, float64(total)/float64(len(before)))

	dir := e.folder.StageDir("assign")
	divided := p.add("partition", []string{extracted, assigned}, clusters, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
		d := extend.Divide(s, in[0], in[1], e.config(clusters))
		arrowio.WriteDir(s, files.Join(dir, "subsets"), d.Subsets)
		arrowio.WriteDir(s, files.Join(dir, "images"), d.Images)
		return beam.Flatten(s, beam.Create(s, record.Of(e.moved(e.old.divided, "partition"))), d.Refs)
	})
	stages := len(p.steps)
	if clusters > 0 {
		stages++
	}
	if err := e.do(ctx, stages); err != nil {
		return nil, err
	}
	subsets, err := readOut[extend.Subset](ctx, files.Join(dir, "subsets"))
	if err != nil {
		return nil, err
	}
	if images, err = readOut[extend.Image](ctx, files.Join(dir, "images")); err != nil {
		return nil, err
	}
	if len(subsets) > 0 {
		if err := e.addCentroids(ctx, subsets); err != nil {
			return nil, err
		}
		trained := p.add("extend", []string{divided}, []any{e.Images, e.Rate}, func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			return extend.Train(s, in[0], extend.TrainConfig{
				Dir: e.folder.Dir, Recipe: string(e.old.text), Subsets: subsets, Images: e.Images, Rate: e.Rate, Device: e.Device,
			})
		})
		p.find(trained).memory = func() (int64, error) { return train.Memory(r, train.SDR, total) }
		if err := e.do(ctx, stages); err != nil {
			return nil, err
		}
	}
	return e.finish(ctx, images, subsets, before)
}

// sizes returns the number of images of each leaf.
func (b *base) sizes() map[string]int64 {
	stages, _ := b.recipe.Levels()
	sizes := map[string]int64{}
	for _, ref := range b.divided {
		sizes[sdrnet.Prefix(ref.Subset, len(stages))] += ref.Rows
	}
	return sizes
}

// centroidsPath returns the path of the centroids of new subsets, beside those of the old ones.
func (e *extension) centroidsPath() string {
	return files.Join(partition.CentroidsDir(e.folder.StageDir("partition")), e.folder.Info.ID.String()+".arrow")
}

// addCentroids adds the centroids of new subsets to those of the run.
func (e *extension) addCentroids(ctx context.Context, subsets []extend.Subset) error {
	var rows []kmeans.Centroid
	for _, s := range subsets {
		rows = append(rows, kmeans.Centroid{Code: s.Code, Size: s.Images, Centroid: s.Centroid})
	}
	b := record.Of(rows)
	return arrowio.WriteFile(ctx, e.centroidsPath(), b.Schema(), []arrow.Record{b.Record}...)
}

// finish writes what became of the images, and sums it up.
func (e *extension) finish(ctx context.Context, images []extend.Image, subsets []extend.Subset, before map[string]int64) (*Extended, error) {
	made := &Extended{Folder: e.folder, Images: int64(len(images))}
	slices.SortFunc(images, func(a, b extend.Image) int {
		if c := strings.Compare(a.Shard, b.Shard); c != 0 {
			return c
		}
		return int(a.Place - b.Place)
	})
	fresh := map[string]int64{}
	var rows []AssignedImage
	for _, im := range images {
		fresh[im.Code]++
		if im.Far {
			made.Far++
		}
		rows = append(rows, AssignedImage{im.Source, im.Row, im.Code, im.Distance, im.Far})
	}
	for code, n := range before {
		made.Subsets = append(made.Subsets, ExtendedSubset{Subset: code, Old: n, New: fresh[code]})
	}
	for _, s := range subsets {
		made.Subsets = append(made.Subsets, ExtendedSubset{Subset: s.Code, Parent: s.Parent, New: fresh[s.Code]})
	}
	slices.SortFunc(made.Subsets, func(a, b ExtendedSubset) int { return sdrnet.Compare(a.Subset, b.Subset) })
	dead, err := ingest.ReadDead(ctx, e.folder.DeadLetterPath())
	made.Dead = int64(len(dead))
	models, errModels := train.ReadModels(ctx, e.folder.Dir)
	made.Models = len(models)
	return made, errors.Join(err, errModels,
		arrowio.SaveParquet(ctx, files.Join(e.folder.Dir, "assigned.parquet"), record.Of(rows).Record),
		arrowio.SaveParquet(ctx, files.Join(e.folder.Dir, "subsets.parquet"), record.Of(made.Subsets).Record))
}

// WriteTable writes the subsets with their numbers of images, the new ones with where their sub-nets started.
func (m *Extended) WriteTable(w io.Writer) error {
	t := newTable("subset", "old images", "new images", "sub-net")
	grown := 0
	for _, s := range m.Subsets {
		net := ""
		if s.Parent != "" {
			net = "new, from " + s.Parent
			grown++
		}
		t.AppendRow(table.Row{s.Subset, humanize.Comma(s.Old), humanize.Comma(s.New), net})
	}
	_, err := fmt.Fprintf(w, "%s\n%s new images, %s of them far from all old subsets; %d new subsets\n",
		t.Render(), humanize.Comma(m.Images), humanize.Comma(m.Far), grown)
	return err
}
