// Package pipelines holds the jobs of the sdr program, one file per job. A job chains stages into Beam pipelines, and
// does around them what needs only one machine, such as checking arguments and reading back small results.
package pipelines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

// step is one stage of a chain.
type step struct {
	name   string
	needs  []string                                    // the steps whose outputs are its inputs, in order
	inputs string                                      // digest of everything that determines its output
	of     string                                      // what it is part of, for the log
	state  string                                      // file of the training's state, which steps that continue the training need; empty for none
	notes  func(ctx context.Context) ([]string, error) // those of its manifest; nil for none
	memory func() (int64, error)                       // that its workers need, in bytes; nil if it is little
	build  func(s beam.Scope, in []beam.PCollection) beam.PCollection
	files  func(ctx context.Context) ([]string, error) // that it has left besides its outputs; nil for none
	helper bool                                        // it is run only if a step that is not done needs it
	parts  []part                                      // that a step of several jobs begins with; build is its last one

	variants []string      // that it trains, if it does
	rounds   []train.Steps // of their training in bins
}

// part is a job at the beginning of a step: it is done if what it leaves is there.
type part struct {
	done  func(ctx context.Context) (bool, error)
	build func(s beam.Scope, in []beam.PCollection)
}

// chain runs steps and keeps their outputs in a run folder. It skips steps whose manifest shows that they ran with the
// same inputs; that is how a run resumes, on every runner.
type chain struct {
	folder    *run.Folder
	runner    string
	device    ssl.Device // that steps compute on
	singleJob bool       // all steps are run in one job
	steps     []step
	results   []string // steps whose outputs are read when the chain has run

	begun, todo int // steps of the last run, for the log
}

// outDir returns the folder for the output batches of a step with these inputs. The batches are named by digests of
// their content, so a later attempt can use what an interrupted one left there.
func outDir(folder *run.Folder, step, inputs string) string {
	return files.Join(folder.StageDir(step), "out-"+inputs)
}

// out returns the folder for the output batches of one of the chain's steps.
func (c *chain) out(name string) string {
	at := slices.IndexFunc(c.steps, func(st step) bool { return st.name == name })
	return outDir(c.folder, name, c.steps[at].inputs)
}

// run runs every step that is not done, each as a Beam job of its own or all in a single job.
func (c *chain) run(ctx context.Context) error {
	defer shareTuning(ctx, c.folder.TuningDir())()
	todo, err := c.left(ctx)
	if err != nil {
		return err
	}
	if done := len(c.steps) - len(todo); done > 0 {
		slog.Info("some stages are already done", "done", done, "of", len(c.steps))
	}
	if !DryRun() {
		if err := c.folder.WriteStages(ctx, c.sure()); err != nil {
			return err
		}
	}
	c.begun, c.todo = 0, len(todo)
	if c.singleJob {
		return c.job(ctx, todo)
	}
	return c.jobs(ctx, todo)
}

// shareTuning makes jobs use the choices of algorithms in a folder, usually a run's. At their end, it says if machines of
// several types have computed by them.
func shareTuning(ctx context.Context, dir string) (end func()) {
	compute.ShareTuning(dir)
	return func() {
		machines, err := compute.Machines(context.WithoutCancel(ctx), dir)
		if err != nil {
			slog.Warn("it is not known which machines have computed this", "error", err)
		}
		for kind, names := range machines {
			if len(names) > 1 {
				slog.Info("several types of "+kind+" have computed this, so last bits may differ from those of one type", "types", strings.Join(names, "; "))
			}
		}
	}
}

// jobs runs steps, each as a Beam job of its own.
func (c *chain) jobs(ctx context.Context, steps []step) error {
	for _, st := range steps {
		if err := c.job(ctx, []step{st}); err != nil {
			return err
		}
	}
	return nil
}

// begin runs the parts that a step begins with, each as a job, if they are not done.
func (c *chain) begin(ctx context.Context, st step) error {
	for i, part := range st.parts {
		done, err := part.done(ctx)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		slog.Info("part of a stage starts", "stage", st.name, "number", fmt.Sprintf("%d of %d", i+1, len(st.parts)))
		p, s := beam.NewPipelineWithRoot()
		s = s.Scope(st.name)
		var in []beam.PCollection
		for _, need := range st.needs {
			in = append(in, c.read(s, need))
		}
		part.build(s, in)
		if err := runPipeline(ctx, c.runner, p); err != nil {
			return err
		}
	}
	return nil
}

// read reads the output of a step.
func (c *chain) read(s beam.Scope, name string) beam.PCollection {
	return arrowio.ReadIPC(s, files.Join(files.Quote(c.out(name)), "*.arrow"))
}

// ofTasks are the stages of a run that are done again, without loss, when the tasks have changed.
var ofTasks = []string{"route", "evaluate", "deliver", "report"}

// left returns the steps that are not done, and those that are but have lost something that is needed.
func (c *chain) left(ctx context.Context) (todo []step, err error) {
	needed := map[string]bool{} // by a step that is not done, or at the end
	for _, name := range c.results {
		needed[name] = true
	}
	for _, st := range slices.Backward(c.steps) {
		m, err := c.folder.ReadManifest(ctx, st.name)
		if err != nil {
			return nil, err
		}
		done := m != nil && m.Inputs == st.inputs
		if m != nil && !done && !slices.Contains(ofTasks, st.name) {
			return nil, run.Usagef("%s %w: its stage %s, of sdr %s, had other inputs, as %s says", c.folder.Dir, run.ErrOtherVersion, st.name, c.folder.Info.Version, c.folder.ManifestPath(st.name))
		}
		if done && needed[st.name] {
			lost, err := c.lost(ctx, st, m.Outputs)
			if err != nil {
				return nil, err
			}
			if done = lost == ""; !done {
				slog.Warn("a file that a stage left is gone or damaged, so it runs again", "stage", st.name, "file", lost)
			}
		}
		if done || st.helper && !needed[st.name] {
			continue
		}
		todo = append(todo, st)
		for _, need := range st.needs {
			needed[need] = true
		}
	}
	slices.Reverse(todo)
	return todo, nil
}

// lost returns a file that a step has left and that is gone or damaged: the state of a training, one of its outputs, or what
// these list; "" if there is none.
func (c *chain) lost(ctx context.Context, st step, outputs []string) (string, error) {
	var left []string
	if st.state != "" {
		left = append(left, st.state)
	}
	for _, name := range outputs {
		left = append(left, files.Join(c.out(st.name), name))
	}
	if path, err := firstLost(ctx, left); path != "" || err != nil || st.files == nil {
		return path, err
	}
	left, err := st.files(ctx)
	if err != nil {
		return "", err
	}
	return firstLost(ctx, left)
}

// firstLost returns the first of files that is gone or damaged, "" if there is none.
func firstLost(ctx context.Context, paths []string) (string, error) {
	for _, path := range paths {
		if whole, err := isWhole(ctx, path); err != nil || !whole {
			return path, err
		}
	}
	return "", nil
}

// isWhole reports whether a file is there and, as far as its format tells, undamaged.
func isWhole(ctx context.Context, path string) (bool, error) {
	if found, err := files.Exists(ctx, path); err != nil || !found {
		return false, err
	}
	var err error
	switch {
	case strings.HasSuffix(path, ".arrow"):
		err = arrowio.Each(ctx, path, func(*record.Batch) error { return nil })
	case strings.HasSuffix(path, ".parquet"):
		_, err = arrowio.LoadParquet(ctx, path)
	case strings.HasSuffix(path, ".safetensors"):
		var data []byte
		if data, err = files.Read(ctx, path); err == nil {
			_, err = safetensors.Read(bytes.NewReader(data))
		}
	}
	return err == nil, ctx.Err()
}

// job runs steps in a single Beam pipeline and marks them as done.
func (c *chain) job(ctx context.Context, steps []step) error {
	if len(steps) == 0 {
		return nil
	}
	start, busy := time.Now(), compute.Busy()
	undo, err := c.request(steps)
	if err != nil {
		return err
	}
	defer undo()
	p, s := beam.NewPipelineWithRoot()
	made := map[string]beam.PCollection{}
	for _, st := range steps {
		c.begun++
		about := []any{"stage", st.name, "number", fmt.Sprintf("%d of %d", c.begun, c.todo)}
		if st.of != "" {
			about = append(about, "for", st.of)
		}
		if !DryRun() {
			slog.Info("stage starts", about...)
		}
		if err := c.begin(ctx, st); err != nil {
			return err
		}
		of := s.Scope(st.name)
		var in []beam.PCollection
		for _, need := range st.needs {
			if _, ok := made[need]; !ok {
				made[need] = c.read(of, need)
			}
			in = append(in, made[need])
		}
		made[st.name] = st.build(of, in)
		arrowio.WriteDir(of, c.out(st.name), made[st.name])
	}
	switch err := runPipeline(ctx, c.runner, p); {
	case errors.Is(err, ErrNotRun), errors.Is(err, ErrSubmitted):
		return fmt.Errorf("%s: %w", names(steps), err)
	case err != nil:
		return err
	}
	for _, st := range steps {
		if err := files.RemoveAll(ctx, c.temporary(st.name)); err != nil {
			return err
		}
		out, err := files.List(ctx, files.Join(files.Quote(c.out(st.name)), "*.arrow"))
		if err != nil {
			return err
		}
		if len(out) == 0 {
			return fmt.Errorf("stage %s ended without output: the job was canceled or lost its workers; resume the run", st.name)
		}
		for i := range out {
			out[i] = path.Base(out[i])
		}
		m := &run.Manifest{Stage: st.name, Inputs: st.inputs, Outputs: out, Finished: time.Now()}
		m.Seconds, m.Engine = time.Since(start).Seconds(), (compute.Busy() - busy).Seconds()
		if st.notes != nil {
			if m.Notes, err = st.notes(ctx); err != nil {
				return err
			}
		}
		if err := c.folder.WriteManifest(ctx, m); err != nil {
			return err
		}
	}
	return nil
}

// temporary returns the folder of files that a step needs until it is done.
func (c *chain) temporary(step string) string {
	return files.Join(c.folder.StageDir(step), "temporary")
}

// gather returns the folder in which a step gathers rows, "" on runners that do without; see kmeans.Config.
func (c *chain) gather(step string) string {
	if InProcess(c.runner) {
		return ""
	}
	return c.temporary(step)
}

// sure lists the stages of the chain that are run in any case.
func (c *chain) sure() (all []string) {
	for _, st := range c.steps {
		if !st.helper {
			all = append(all, st.name)
		}
	}
	return all
}

// names lists the names of steps.
func names(steps []step) string {
	var all []string
	for _, st := range steps {
		all = append(all, st.name)
	}
	return strings.Join(all, ", ")
}

// Errors of jobs whose output is not there when the runner returns, as Beam's
// options asked.
var (
	ErrNotRun    = errors.New("the job was described, and not run")
	ErrSubmitted = errors.New("the job was submitted, and goes on without this program")
)

// runPipeline runs a Beam pipeline and waits for its end. The temporary files that Beam's runners leave are removed.
func runPipeline(ctx context.Context, runner string, p *beam.Pipeline) error {
	dir, err := os.MkdirTemp("", "sdr-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if before, set := os.LookupEnv("TMPDIR"); set {
		defer os.Setenv("TMPDIR", before)
	} else {
		defer os.Unsetenv("TMPDIR")
	}
	if err := os.Setenv("TMPDIR", dir); err != nil {
		return err
	}
	if DryRun() {
		return dryRun(ctx, runner, p)
	}
	if runner == flink {
		defer setJobName()()
		defer setOptions()()
	}
	result, err := beam.Run(ctx, runner, p)
	switch {
	case ctx.Err() != nil:
		if runner == flink {
			cancelJob(context.WithoutCancel(ctx))
		}
		return ctx.Err()
	case err != nil:
		slog.Debug("the pipeline failed", "error", err)
		return fault.Parse(err)
	case *jobopts.Async:
		return ErrSubmitted
	case isNil(result):
		return ErrNotRun
	}
	jobs.add(result)
	return nil
}

// isNil reports whether a runner returned no result.
func isNil(r beam.PipelineResult) bool {
	v := reflect.ValueOf(r)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// readOut reads the rows in a step's output folder.
func readOut[T any](ctx context.Context, dir string) ([]T, error) {
	return arrowio.LoadIPC[T](ctx, files.Join(files.Quote(dir), "*.arrow"))
}

// readOuts reads the rows of several of a chain's steps.
func readOuts[T any](ctx context.Context, c *chain, steps []string) (rows []T, err error) {
	for _, step := range steps {
		more, err := readOut[T](ctx, c.out(step))
		if err != nil {
			return nil, err
		}
		rows = append(rows, more...)
	}
	return rows, nil
}
