package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/forecast"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// PipelineOptions are the arguments of Pipeline.
type PipelineOptions struct {
	// Data are the images, and Tasks a folder of downstream tasks; empty for none.
	Data  []string
	Tasks string
	// Recipe says what to train.
	Recipe *recipe.Recipe
	// Rounds is the number of measurements of each training; their medians are compared.
	Rounds int
	// Device computes the training steps.
	Device ssl.Device
}

// Share says where the time of a stage of the main job goes, in seconds.
type Share struct {
	// Stage is the stage's name.
	Stage string `json:"stage"`
	// Seconds is the time of its job, and Engine for how long of that the tensor engine computed; of ingest, how long it
	// takes to decode and store the images without Beam.
	Seconds float64 `json:"seconds"`
	Engine  float64 `json:"engine_seconds"`
	// Work is the time of the same work without Beam: of a training, and of the forward passes of features. Of other
	// stages, whose work is not called, it is Engine.
	Work   float64 `json:"work_seconds"`
	Called bool    `json:"work_called"`
}

// Costs is what Beam on prism costs in the main job and in its trainings.
type Costs struct {
	// Stages are those of the main job.
	Stages []Share `json:"stages"`
	// Seconds, Engine and Work are the sums of theirs. Rest is the part of the main job in which the engine did not
	// compute, which is Beam's and everything else's. Beam is the part that is more than Work, which was measured at
	// another time, when other programs may have taken more or less of the machine.
	Seconds float64 `json:"seconds"`
	Engine  float64 `json:"engine_seconds"`
	Rest    float64 `json:"rest_share"`
	Work    float64 `json:"work_seconds"`
	Beam    float64 `json:"beam_share"`
	// Through and Called are the times of all trainings, as jobs of their own and without Beam, in turns, and Training is
	// the part of Through that is more than Called.
	Through  float64 `json:"training_seconds"`
	Called   float64 `json:"training_called_seconds"`
	Training float64 `json:"training_beam_share"`
	// ThroughCPU, CalledCPU and TrainingCPU are the same of processor time, which other programs disturb less; 0 if
	// unknown.
	ThroughCPU  float64 `json:"training_cpu_seconds,omitempty"`
	CalledCPU   float64 `json:"training_called_cpu_seconds,omitempty"`
	TrainingCPU float64 `json:"training_beam_cpu_share,omitempty"`
	// Neighbours is the processor load from other programs in the pauses between measurements.
	Neighbours float64 `json:"neighbours,omitempty"`
}

// Pipeline runs the main job on prism and its work without Beam.
func Pipeline(ctx context.Context, o PipelineOptions) (c *Costs, err error) {
	dir, err := os.MkdirTemp("", "sdr-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	p := &pipeline{PipelineOptions: o, dir: dir}
	if err := p.warmUp(ctx); err != nil {
		return nil, err
	}
	c = new(Costs)
	if err := p.main(ctx, c); err != nil {
		return nil, err
	}
	for i := range c.Stages {
		if err := p.call(ctx, &c.Stages[i], c); err != nil {
			return nil, fmt.Errorf("stage %s without Beam: %w", c.Stages[i].Stage, err)
		}
		c.Seconds += c.Stages[i].Seconds
		c.Engine += c.Stages[i].Engine
		c.Work += c.Stages[i].Work
	}
	c.Rest, c.Beam = over(c.Seconds, c.Engine), over(c.Seconds, c.Work)
	c.Training, c.TrainingCPU = over(c.Through, c.Called), over(c.ThroughCPU, c.CalledCPU)
	c.Neighbours = p.rests.neighbours()
	return c, nil
}

// over returns the part of some time that is more than its work.
func over(seconds, work float64) float64 {
	if seconds == 0 {
		return 0
	}
	return 1 - work/seconds
}

type pipeline struct {
	PipelineOptions
	dir    string
	folder *run.Folder
	rests  rests
	dirs   int // of trainings so far
}

// warmUp chooses the algorithms of the convolutions, which is done once per machine.
func (p *pipeline) warmUp(ctx context.Context) error {
	r, err := p.Recipe.With(map[string]any{"train": map[string]any{"images": 32 * p.Recipe.Train.Batch, "norm_images": 512}})
	if err != nil {
		return run.Usage(err)
	}
	_, err = pipelines.Pretrain(ctx, pipelines.PretrainOptions{
		Data: p.Data, Out: filepath.Join(p.dir, "warm-up"), Recipe: r, Runner: "prism", Device: p.Device, MaxBad: 1,
	})
	return err
}

// main runs the main job.
func (p *pipeline) main(ctx context.Context, c *Costs) error {
	made, err := pipelines.Pretrain(ctx, pipelines.PretrainOptions{
		Data: p.Data, Tasks: p.Tasks, Protocols: []string{"knn"}, Out: filepath.Join(p.dir, "run"), Recipe: p.Recipe,
		Runner: "prism", Device: p.Device, MaxBad: 1,
	})
	if err != nil {
		return err
	}
	p.folder = made.Folder
	for _, name := range slices.Insert(slices.Clone(pipelines.Stages), slices.Index(pipelines.Stages, "train"), train.Joint) {
		m, err := p.folder.ReadManifest(ctx, name)
		if err != nil {
			return err
		}
		if m != nil {
			c.Stages = append(c.Stages, Share{Stage: name, Seconds: m.Seconds, Engine: m.Engine})
		}
	}
	return nil
}

// call does a stage's work without Beam.
func (p *pipeline) call(ctx context.Context, s *Share, c *Costs) (err error) {
	s.Work = s.Engine
	switch s.Stage {
	case "ingest":
		s.Called = true
		s.Work, err = timed(func() error { return p.ingest(ctx) })
		s.Engine = s.Work
		return err
	case "features":
		s.Called = true
		s.Work, err = timed(func() error { return p.features(ctx) })
		return err
	}
	all := pipelines.StagesOf(p.Recipe)
	at := slices.IndexFunc(all, func(st forecast.Stage) bool { return st.Name == s.Stage })
	if at < 0 || len(all[at].Variants) == 0 || len(all[at].Rounds) > 0 {
		return nil
	}
	s.Called = true
	return p.train(ctx, all[at], s, c)
}

// ingest decodes the images and writes them.
func (p *pipeline) ingest(ctx context.Context) error {
	size := p.Recipe.Input.Size
	splits, err := imageio.Plan(ctx, p.Data, ingest.ShardRows(size))
	if err != nil {
		return err
	}
	for _, split := range splits {
		var pixels []byte
		err := imageio.Squares(ctx, split, size, func(_ imageio.Image, square imageio.RGB, damage error) error {
			if damage == nil {
				pixels = append(pixels, square.Pix...)
			}
			return nil
		})
		if err != nil {
			return err
		}
		if err := files.WriteBytes(ctx, filepath.Join(p.dir, "pixels"), pixels); err != nil {
			return err
		}
	}
	return nil
}

// features computes the features of the run's images.
func (p *pipeline) features(ctx context.Context) (err error) {
	refs, err := p.refs(ctx, "ingest")
	if err != nil {
		return err
	}
	images, err := shards.Open(ctx, refs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, images.Close()) }()
	model, err := inference.Open(ctx, run.ModelPath(p.folder.Dir, train.Phase0))
	if err != nil {
		return err
	}
	_, err = inference.Features(ctx, model, images.Len(), images.At)
	return err
}

// refs reads the references that a stage of the run has made.
func (p *pipeline) refs(ctx context.Context, stage string) (refs []shards.Ref, err error) {
	refs, err = arrowio.LoadIPC[shards.Ref](ctx, files.Join(files.Quote(p.folder.StageDir(stage)), "out-*", "*.arrow"))
	shards.Sort(refs)
	return refs, err
}

// train trains a stage's variants from the run's checkpoints, as a job and without Beam, in turns.
func (p *pipeline) train(ctx context.Context, st forecast.Stage, s *Share, c *Costs) error {
	refs, err := p.refs(ctx, st.Needs[0])
	if err != nil {
		return err
	}
	cfg := train.Config{Recipe: string(p.Recipe.Marshal()), Variants: st.Variants, Inputs: "bench", Device: p.Device}
	if len(st.Needs) > 1 {
		m, err := p.folder.ReadManifest(ctx, st.Needs[1])
		if err != nil {
			return err
		}
		cfg.Start = train.Start{Variant: st.Needs[1], Dir: p.folder.Dir, Inputs: m.Inputs}
	}
	through := func() error {
		return job(ctx, func(s beam.Scope) {
			started := beam.CreateList(s, []*record.Batch{})
			beam.ParDo0(s, &countFn{}, train.Continue(s, beam.CreateList(s, []*record.Batch{record.Of(refs)}), started, cfg))
		})
	}
	called := func() error {
		for _, v := range st.Variants {
			if _, err := train.Variant(ctx, cfg, v, refs); err != nil {
				return err
			}
		}
		return nil
	}
	var seconds, cpu [2][]float64
	for range p.Rounds {
		for side, work := range []func() error{through, called} {
			p.dirs++
			cfg.Dir = filepath.Join(p.dir, fmt.Sprint("training-", p.dirs))
			p.rests.take()
			before := ownTime()
			took, err := timed(work)
			if err != nil {
				return err
			}
			seconds[side], cpu[side] = append(seconds[side], took), append(cpu[side], ownTime()-before)
			slog.Info("measured", "stage", st.Name, "beam", side == 0, "seconds", fmt.Sprintf("%.2f", took))
		}
	}
	for side := range 2 {
		slices.Sort(seconds[side])
		slices.Sort(cpu[side])
	}
	s.Work = middle(seconds[1])
	c.Through, c.Called = c.Through+middle(seconds[0]), c.Called+s.Work
	c.ThroughCPU, c.CalledCPU = c.ThroughCPU+middle(cpu[0]), c.CalledCPU+middle(cpu[1])
	return nil
}

// WriteTable writes a row per stage, and what Beam costs.
func (c *Costs) WriteTable(w io.Writer) error {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"stage", "seconds", "engine", "rest", "", "without Beam"})
	var columns []table.ColumnConfig
	for number := range 5 {
		columns = append(columns, table.ColumnConfig{Number: number + 2, Align: text.AlignRight, AlignFooter: text.AlignRight})
	}
	t.SetColumnConfigs(columns)
	seconds := func(v float64) string { return fmt.Sprintf("%.2f", v) }
	share := func(v float64) string { return fmt.Sprintf("%.1f%%", 100*v) }
	for _, s := range c.Stages {
		without := ""
		if s.Called {
			without = seconds(s.Work)
		}
		t.AppendRow(table.Row{s.Stage, seconds(s.Seconds), seconds(s.Engine), seconds(s.Seconds - s.Engine), share(over(s.Seconds, s.Engine)), without})
	}
	t.AppendFooter(table.Row{"main job", seconds(c.Seconds), seconds(c.Engine), seconds(c.Seconds - c.Engine), share(c.Rest), seconds(c.Work)})
	var b strings.Builder
	b.WriteString(t.Render() + "\n")
	fmt.Fprintf(&b, "main job: the rest, Beam's and all else, is %s; without Beam, it takes %s less\n", share(c.Rest), share(c.Beam))
	fmt.Fprintf(&b, "trainings: %.2f s as jobs, %.2f s without Beam, which costs %s", c.Through, c.Called, share(c.Training))
	if c.CalledCPU > 0 {
		fmt.Fprintf(&b, "; processor time %.2f s and %.2f s, %s", c.ThroughCPU, c.CalledCPU, share(c.TrainingCPU))
	}
	fmt.Fprintf(&b, "\nother programs' load in between: %s\n", share(c.Neighbours))
	_, err := io.WriteString(w, b.String())
	return err
}
