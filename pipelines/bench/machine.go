package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"
	"gonum.org/v1/gonum/stat"

	feature "github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/forecast"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[keepFn]())
	beam.RegisterFunction(rowsOf)
}

// MachineOptions are the arguments of Machine.
type MachineOptions struct {
	// Recipe says which nets and views to measure.
	Recipe *recipe.Recipe
	// Data is a collection like the pool; if empty, images are synthetic photos.
	Data string
	// Device computes the training steps.
	Device ssl.Device
	// Time is the duration of a measurement.
	Time time.Duration
}

// Of the sample of the pool.
const (
	sampleSplits = 4
	sampleRows   = 256 // per split
	fewRows      = 8   // of the job that shows what a job takes without work
)

// Machine measures how fast this machine does the work of a run's stages.
func Machine(ctx context.Context, o MachineOptions) (p *forecast.Profile, err error) {
	dir, err := os.MkdirTemp("", "sdr-machine-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	m := machine{MachineOptions: o, dir: dir, p: &forecast.Profile{
		Machine: fmt.Sprintf("%s, %d threads, training on %s", kernels.ISA(), runtime.GOMAXPROCS(0), o.Device.Name),
		Recipe:  string(o.Recipe.Marshal()),
	}}
	for _, measure := range []func(context.Context) error{m.ingest, m.shuffle, m.disk, m.features, m.kmeans, m.partition, m.training, m.round} {
		if err := measure(ctx); err != nil {
			return nil, fmt.Errorf("measuring this machine: %w", err)
		}
	}
	return m.p, nil
}

// machine measures one part of the profile after the other.
type machine struct {
	MachineOptions
	p    *forecast.Profile
	dir  string
	refs []shards.Ref // of the sample

	images int64 // in it
}

// timed returns how long work takes.
func timed(work func() error) (seconds float64, err error) {
	start := time.Now()
	err = work()
	return time.Since(start).Seconds(), err
}

// job runs a pipeline.
func job(ctx context.Context, build func(s beam.Scope)) error {
	p, s := beam.NewPipelineWithRoot()
	build(s)
	_, err := beam.Run(ctx, "prism", p)
	return err
}

// shuffle measures a job that moves bytes.
func (m *machine) shuffle(ctx context.Context) error {
	const number, values = 16, 1 << 18
	moved := make([]*record.Batch, number)
	for i := range moved {
		moved[i] = record.Of([]block{{normal(values)}})
	}
	key := uuid.NewString()
	readable.Store(key, moved)
	defer readable.Delete(key)
	seconds, err := timed(func() error {
		return job(ctx, func(s beam.Scope) {
			compute.ParDo(s, rowsOf, beam.ParDo(s, &readFn{key}, beam.Impulse(s)))
		})
	})
	m.p.Shuffle = 4 * number * values / max(seconds-m.p.Job, least)
	return err
}

// rowsOf returns the number of rows of a batch.
func rowsOf(b *record.Batch) int64 { return b.NumRows() }

// least is the shortest time that can be told apart from a job's.
const least = 1e-3

// block is a row of values.
type block struct {
	Values []float32 `arrow:"values"`
}

// disk measures the disk of the folder for temporary files.
func (m *machine) disk(context.Context) error {
	path, part := filepath.Join(m.dir, "disk"), make([]byte, 1<<20)
	random := rng.New(1, rng.Sample)
	for i := range part {
		part[i] = byte(random.Uint32()) // which no disk compresses
	}
	data := bytes.Repeat(part, 64)
	defer os.Remove(path)
	written, err := timed(func() error {
		f, err := os.Create(path)
		if err != nil {
			return err
		}
		_, err = f.Write(data)
		return errors.Join(err, f.Sync(), f.Close())
	})
	if err != nil {
		return err
	}
	if err := forget(path); err != nil {
		return err
	}
	read, err := timed(func() error {
		_, err := os.ReadFile(path)
		return err
	})
	m.p.Write, m.p.Read = float64(len(data))/written, float64(len(data))/read
	return err
}

// ingest measures the stage on the sample, and leaves its shards.
func (m *machine) ingest(ctx context.Context) error {
	data := m.Data
	if data == "" {
		data = filepath.Join(m.dir, "photos")
		if err := writePhotos(data); err != nil {
			return err
		}
	}
	all, err := imageio.Plan(ctx, []string{data}, sampleRows)
	if err != nil {
		return run.Usage(err)
	}
	var splits []imageio.Split
	for i := range min(sampleSplits, len(all)) {
		splits = append(splits, all[i*len(all)/min(sampleSplits, len(all))])
	}
	few := slices.Clone(splits[:1])
	few[0].End = min(few[0].End, few[0].Begin+fewRows)
	var fewer int64
	for range 2 { // the first job loads the program
		if m.p.Job, err = m.read(ctx, few); err != nil {
			return err
		}
		fewer = m.images
	}
	seconds, err := m.read(ctx, splits)
	if err == nil && m.images < int64(m.Recipe.Train.Batch) {
		err = run.Usagef("%s: %d images are less than a mini-batch of %d", data, m.images, m.Recipe.Train.Batch)
	}
	m.p.Ingest = max(seconds-m.p.Job, least) / float64(max(m.images-fewer, 1))
	return err
}

// read runs the stage on splits, keeps what it made, and returns how long it took.
func (m *machine) read(ctx context.Context, splits []imageio.Split) (seconds float64, err error) {
	key := uuid.NewString()
	seconds, err = timed(func() error {
		return job(ctx, func(s beam.Scope) {
			refs := ingest.Ingest(s, beam.CreateList(s, splits), ingest.Config{
				Size: m.Recipe.Input.Size, Dir: m.dir, DeadLetter: filepath.Join(m.dir, "dead-letter.parquet"), MaxBad: 1,
			})
			beam.ParDo0(s, &keepFn{key}, refs)
		})
	})
	if err != nil {
		return 0, err
	}
	m.refs, m.images = nil, 0
	for _, b := range kept(key) {
		rows, err := record.Rows[shards.Ref](b)
		if err != nil {
			return 0, err
		}
		m.refs = append(m.refs, rows...)
	}
	for _, ref := range m.refs {
		m.images += ref.Rows
	}
	shards.Sort(m.refs)
	return seconds, nil
}

// writePhotos writes as many photos as the sample has.
func writePhotos(dir string) error {
	const different = 16
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for i := range different {
		data, err := encode(scene(rng.New(1, rng.Sample, uint64(i)), 500, 375), "jpeg")
		if err != nil {
			return err
		}
		for copied := range sampleSplits * sampleRows / different {
			if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d-%02d.jpg", copied, i)), data, 0o600); err != nil {
				return err
			}
		}
	}
	return nil
}

// features measures a forward pass on the sample's images.
func (m *machine) features(ctx context.Context) (err error) {
	images, err := shards.Open(ctx, m.refs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	r := m.Recipe
	layout := nn.NewLayout(r.Backbone, nn.Heads{})
	model := &inference.Model{
		Model: nn.Model{Backbone: r.Backbone, Params: make([]float32, layout.NumParams), Stats: make([]float32, layout.NumStats)},
		Input: inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std},
	}
	layout.Init(model.Params, rng.New(1, rng.Weights))
	layout.InitStats(model.Stats)
	n := images.Len()
	for begun, passes := time.Now(), 0; passes < 2 || time.Since(begun) < m.Time; passes++ {
		seconds, err := timed(func() error {
			_, err := inference.Features(ctx, model, n, images.At)
			return err
		})
		if err != nil {
			return err
		}
		if passes == 1 || passes > 1 && seconds/float64(n) < m.p.Feature {
			m.p.Feature = seconds / float64(n)
		}
	}
	return nil
}

// kmeans measures iterations with the most choices that a level has.
func (m *machine) kmeans(context.Context) error {
	branching := m.Recipe.Branching()
	if len(branching) == 0 {
		return nil
	}
	const rows = 8192
	width := m.Recipe.Backbone.FeatureDim()
	vectors := normal(rows * width)
	var start [][]float32
	for i := range slices.Max(branching) {
		start = append(start, vectors[i%rows*width:][:width])
	}
	l, err := kmeans.NewLloyd(vectors, width, start)
	if err != nil {
		return err
	}
	if err := l.Iterate(); err != nil {
		return err
	}
	iterations, begun := 0, time.Now()
	for ; iterations < 2 || time.Since(begun) < m.Time/4; iterations++ {
		if err := l.Iterate(); err != nil {
			return err
		}
	}
	m.p.KMeans = time.Since(begun).Seconds() / float64(iterations*rows)
	return l.Close()
}

// partition measures the stage on random features, and keeps what the other times do not explain.
func (m *machine) partition(ctx context.Context) error {
	branching := m.Recipe.Branching()
	if len(branching) == 0 {
		return nil
	}
	var batches []*record.Batch
	width := m.Recipe.Backbone.FeatureDim()
	vectors := normal(int(m.images) * width)
	for _, ref := range m.refs {
		found := make([]feature.Row, ref.Rows)
		for i := range found {
			found[i] = feature.Row{Shard: filepath.Base(ref.Path), Row: int64(i), Feature: vectors[:width]}
			vectors = vectors[width:]
		}
		batches = append(batches, record.Of(found))
	}
	of := m.Recipe.Partition
	seconds, err := timed(func() error {
		return job(ctx, func(s beam.Scope) {
			sorted := partition.Partition(s, beam.CreateList(s, batches), partition.Config{
				Shards: filepath.Join(m.dir, "shards"), Dir: filepath.Join(m.dir, "partition"), Branching: branching,
				Whiten: of.Whiten, Iterations: of.Iterations, Balance: of.Balance, Seed: 1, Local: true,
			})
			beam.ParDo0(s, &countFn{}, sorted)
		})
	})
	if err != nil {
		return err
	}
	explained, err := m.plan(m.Recipe, forecast.Stage{Name: "partition", Jobs: 1})
	if err != nil {
		return err
	}
	m.p.Partition = max(0, seconds-explained.Seconds)
	return nil
}

// plan plans a stage on the sample without what is still to be measured.
func (m *machine) plan(r *recipe.Recipe, st forecast.Stage) (*forecast.Plan, error) {
	certain := *m.p
	certain.Spread = 0
	return forecast.Simulate(&certain, forecast.Config{Recipe: r, Images: m.images, Workers: 1, Stages: []forecast.Stage{st}})
}

// training measures steps of a single net and, if there are sub-nets, of the SDRnet.
func (m *machine) training(ctx context.Context) error {
	debug.FreeOSMemory()
	before := startMemory()
	m.p.Resident = before.bytes()
	single, err := train.Measure(ctx, m.config(), train.Phase0, m.refs, m.Time)
	if err != nil {
		return err
	}
	last, variant, steps := single, train.Phase0, single.Steps
	m.p.Step = stat.Mean(single.Steps, nil)
	branching := m.Recipe.Branching()
	if len(branching) > 0 {
		variant = train.SDR
		if last, err = train.Measure(ctx, m.config(), train.SDR, m.divided(branching), m.Time); err != nil {
			return err
		}
		m.p.SubnetStep = stat.Mean(last.Steps, nil)
		steps = last.Steps
	}
	m.p.Memory = before.peak()
	m.p.Spread = spread(steps)
	m.p.Open, m.p.Norm = last.Open, last.Norm
	m.p.CheckpointSave, m.p.CheckpointLoad = last.Save, last.Load
	info, err := os.Stat(train.CheckpointPath(m.dir, variant))
	if err != nil {
		return err
	}
	m.p.CheckpointBytes = info.Size()
	return nil
}

// config is that of a training on the sample.
func (m *machine) config() train.Config {
	return train.Config{Dir: m.dir, Recipe: m.p.Recipe, Inputs: "machine", Device: m.Device}
}

// divided returns the sample's record batches as subsets, far apart in the tree.
func (m *machine) divided(branching []int) []shards.Ref {
	leaves := kmeans.Leaves(branching)
	refs := slices.Clone(m.refs)
	for i := range refs {
		refs[i].Subset = kmeans.Code(i*leaves/len(refs), branching)
	}
	return refs
}

// round measures rounds of one step for each of two bins, and keeps what the other times do not explain.
func (m *machine) round(ctx context.Context) error {
	const bins, rounds = 2, 4
	r, err := m.Recipe.With(map[string]any{
		"split": map[string]any{"held_out": 0},
		"train": map[string]any{"accumulate": 1, "rounds": map[string]any{"bins": bins, "steps": 1}},
	})
	if err != nil {
		return err
	}
	cfg := m.config()
	cfg.Recipe, cfg.Variants, cfg.Inputs = string(r.Marshal()), []string{train.Phase0}, "rounds"
	var steps []train.Steps
	for i := range rounds {
		steps = append(steps, train.Steps{From: bins * i, To: bins * (i + 1), First: i == 0})
	}
	var refs []*record.Batch
	for _, ref := range m.refs {
		refs = append(refs, record.Of([]shards.Ref{ref}))
	}
	seconds, err := timed(func() error {
		return job(ctx, func(s beam.Scope) {
			beam.ParDo0(s, &countFn{}, train.Rounds(s, beam.CreateList(s, refs), beam.CreateList(s, []*record.Batch{}), cfg, steps))
		})
	})
	if err != nil {
		return err
	}
	explained, err := m.plan(r, forecast.Stage{Name: "rounds", Variants: cfg.Variants, Rounds: steps})
	if err != nil {
		return err
	}
	m.p.Round = max(0, (seconds-m.p.Job)/rounds-explained.RoundSeconds)
	return nil
}

// stretches is the number of parts of a measurement whose speeds are compared.
const stretches = 8

// spread returns the standard deviation of the logarithm of the speed, between stretches of steps.
func spread(steps []float64) float64 {
	var logs []float64
	for part := range slices.Chunk(steps, max(1, len(steps)/stretches)) {
		logs = append(logs, math.Log(stat.Mean(part, nil)))
	}
	if len(logs) < 2 {
		return 0
	}
	return stat.StdDev(logs, nil)
}

// keepers holds the batches that jobs keep.
var keepers sync.Map

// keepFn keeps the batches of a job.
type keepFn struct{ Key string }

func (fn *keepFn) ProcessElement(b *record.Batch) {
	all, _ := keepers.LoadOrStore(fn.Key, &keeper{})
	k := all.(*keeper)
	k.Lock()
	defer k.Unlock()
	k.batches = append(k.batches, b)
}

type keeper struct {
	sync.Mutex
	batches []*record.Batch
}

// kept returns what a job kept, and forgets it.
func kept(key string) []*record.Batch {
	all, ok := keepers.LoadAndDelete(key)
	if !ok {
		return nil
	}
	return all.(*keeper).batches
}
