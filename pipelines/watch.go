package pipelines

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sdr-ml/sdr/stages/extend"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Watcher reads how far a run, a study, a fine-tuning, a customizing or detectors are, also while another process trains. It only reads the
// folder.
type Watcher struct {
	dir string

	mu      sync.Mutex
	inputs  string // of the partition that subsets are of
	subsets []report.Subset
}

// NewWatcher returns a watcher of such a folder, which need not exist yet.
func NewWatcher(dir string) *Watcher { return &Watcher{dir: dir} }

// ServeHTTP implements [http.Handler]: the page.
func (w *Watcher) ServeHTTP(to http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/" {
		http.NotFound(to, r)
		return
	}
	page, err := w.Page(r.Context())
	var b bytes.Buffer
	if err == nil {
		err = report.WriteWatch(&b, page)
	}
	if err != nil {
		slog.Warn("the run cannot be read", "run", w.dir, "error", err)
		http.Error(to, err.Error(), http.StatusInternalServerError)
		return
	}
	to.Header().Set("Content-Type", "text/html; charset=utf-8")
	to.Header().Set("Cache-Control", "no-store")
	_, _ = to.Write(b.Bytes()) // a reader that has gone is no error
}

// The lines of the log on the page, and how much of the file they are looked for in.
const (
	logLines = 12
	logBytes = 8 << 10
)

// Page reads the state of what is in the folder. It is an error if nothing that it can show may begin there.
func (w *Watcher) Page(ctx context.Context) (*report.WatchPage, error) {
	p := &report.WatchPage{About: report.About{Title: "Run " + w.dir}, Refresh: 5}
	if !files.IsLocal(w.dir) {
		p.Refresh = 30
	}
	folder, err := run.Open(ctx, w.dir)
	if errors.Is(err, fs.ErrNotExist) {
		for _, show := range []func(context.Context, *report.WatchPage) error{w.study, w.fineTuning, w.detectors, w.customizing} {
			if err := show(ctx, p); !errors.Is(err, fs.ErrNotExist) {
				return p, err
			}
		}
		p.State, p.Detail = "There is no run in "+w.dir+" yet.", "It is shown as soon as sdr pretrain, study, finetune, customize or detect train begins it."
		if running, err := run.InUse(ctx, w.dir); running || err != nil {
			return p, err // it begins in a moment
		}
		if err := run.Check(ctx, w.dir, run.Fresh); err != nil {
			return nil, run.Usagef("there is nothing to watch: %w", err)
		}
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	p.ID, p.Created, p.Command = folder.Info.ID.String(), folder.Info.Created, strings.Join(folder.Info.Command, " ")
	text, err := files.Read(ctx, folder.RecipePath())
	if errors.Is(err, fs.ErrNotExist) { // in a moment
		p.State = "The run begins."
		return p, nil
	}
	if err != nil {
		return nil, err
	}
	r, err := recipe.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	p.Title += ", recipe " + r.Name
	p.HealthyStd = 1 / math.Sqrt(float64(r.SSL.Dim))
	p.Facts = [][2]string{{"data", strings.Join(folder.Info.Data, ", ")}, {"version", folder.Info.Version}}
	running, err := run.InUse(ctx, w.dir)
	if err != nil {
		return nil, err
	}
	done, err := w.stages(ctx, p, folder, running)
	if err != nil {
		return nil, err
	}
	left, err := w.trainings(ctx, p, r, done)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(p.Stages, func(s report.Stage) bool { return s.State == stageRuns || s.State == stageOpen })
	switch {
	case len(p.Stages) == 0 && running:
		p.State = "The run begins."
	case at < 0 && len(p.Stages) > 0:
		p.State, p.Detail = "The run is done.", ""
		if found, err := files.Exists(ctx, files.Join(w.dir, "report.html")); err == nil && found {
			p.Detail = "See " + files.Join(w.dir, "report.html") + "."
		}
	case running:
		p.State = fmt.Sprintf("Stage %s runs, %d of %d.", p.Stages[at].Name, at+1, len(p.Stages))
		p.Detail = left
	default:
		p.State, p.Detail = "No program writes to the run, and it is not done.", "The same command with --resume continues it."
	}
	p.Log, err = lastLines(ctx, folder.LogPath())
	return p, err
}

// What the page says about a stage.
const (
	stageDone = "done"
	stageRuns = "runs"
	stageOpen = "to do"
)

// stages adds the stages and the subsets, and returns the manifests of the stages that are done, by name.
func (w *Watcher) stages(ctx context.Context, p *report.WatchPage, folder *run.Folder, running bool) (map[string]*run.Manifest, error) {
	names, err := folder.ReadStages(ctx)
	if err != nil {
		return nil, err
	}
	done, begun := map[string]*run.Manifest{}, folder.Info.Created
	for _, name := range names {
		m, err := folder.ReadManifest(ctx, name)
		if err != nil {
			return nil, err
		}
		if m == nil {
			continue
		}
		done[name] = m
		if m.Finished.After(begun) {
			begun = m.Finished
		}
	}
	for _, name := range names {
		s := report.Stage{Name: name, State: stageOpen}
		if m := done[name]; m != nil {
			s.State, s.Seconds = stageDone, m.Seconds
		} else if running {
			s.State, s.Seconds = stageRuns, time.Since(begun).Seconds()
			running = false // the others wait
		}
		p.Stages = append(p.Stages, s)
	}
	if m := done["partition"]; m != nil {
		p.Subsets, err = w.readSubsets(ctx, outDir(folder, "partition", m.Inputs), m.Inputs)
	}
	return done, err
}

// mostSubsets is the number of subsets up to which the page shows all of them, and not those of an earlier level.
const mostSubsets = 64

// readSubsets reads the sizes of the finest subsets from partition's output, once.
func (w *Watcher) readSubsets(ctx context.Context, dir, inputs string) ([]report.Subset, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.inputs == inputs {
		return w.subsets, nil
	}
	refs, err := readOut[shards.Ref](ctx, dir)
	if err != nil {
		return nil, err
	}
	w.subsets = nil
	for level := 1; ; level++ {
		sizes, deeper := map[string]int64{}, false
		for _, ref := range refs {
			sizes[sdrnet.Prefix(ref.Subset, min(level, sdrnet.Level(ref.Subset)))] += ref.Rows
			deeper = deeper || sdrnet.Level(ref.Subset) > level
		}
		if len(sizes) <= mostSubsets || level == 1 {
			w.subsets = nil
			for code, images := range sizes {
				w.subsets = append(w.subsets, report.Subset{Code: code, Images: images})
			}
		}
		if !deeper || len(sizes) > mostSubsets {
			break
		}
	}
	slices.SortFunc(w.subsets, func(a, b report.Subset) int { return sdrnet.Compare(a.Code, b.Code) })
	w.inputs = inputs
	return w.subsets, nil
}

// recently is how old the last measurement of a training that goes on may be.
const recently = 2 * time.Minute

// trainings adds the trainings and their curves, and says how long they will take.
func (w *Watcher) trainings(ctx context.Context, p *report.WatchPage, r *recipe.Recipe, done map[string]*run.Manifest) (left string, err error) {
	variants := []string{train.Phase0}
	if _, branching := r.Levels(); len(branching) > 0 {
		if r.Joint() != r.PhaseStep(1) {
			variants = append(variants, train.Joint)
		}
		variants = append(append(variants, train.SDR), r.Train.Baselines...)
	}
	steps, latest, speed := 0, 0., 0.
	for _, variant := range variants {
		if variant == recipe.Random {
			continue
		}
		from, to := train.Range(r, variant)
		points, err := curves.ReadPoints(ctx, w.dir, variant)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		t, at := progressOf(run.Training{Variant: variant, From: from, To: to, Batch: r.Train.Batch}, points)
		if len(points) > 0 {
			p.Curves = append(p.Curves, curveOf(variant, points))
			if last := points[len(points)-1]; last.Time > latest {
				latest, speed = last.Time, stepsPerSecond(points)
			}
		}
		stage := variant
		if variant == train.SDR || variant == recipe.UnifiedSubsetBatches {
			stage = "train"
		}
		if done[stage] != nil || variant == train.Joint && done["train"] != nil {
			at, t.Speed = to, 0
		}
		t.Images = int64(at-from) * int64(r.Train.Batch)
		steps += to - at
		p.Trainings = append(p.Trainings, t)
	}
	added, err := files.List(ctx, curves.Path(files.Quote(w.dir), extend.CurvePrefix+"*"))
	if err != nil {
		return "", err
	}
	for _, file := range added {
		if err := addCurve(ctx, p, "", file, 0, r.Train.Batch, done["extend"] != nil); err != nil {
			return "", err
		}
	}
	if speed > 0 && steps > 0 {
		left = fmt.Sprintf("%s of training left.", (time.Duration(float64(steps)/speed) * time.Second).String())
	}
	return left, nil
}

// progressOf says how far a training is, and at which step.
func progressOf(of run.Training, points []curves.Point) (t report.Training, at int) {
	t, at = report.Training{Name: of.Variant, Of: of.Images()}, of.From
	if len(points) > 0 {
		last := points[len(points)-1]
		at = min(max(at, last.Step+1), of.To)
		t.Measured, t.Loss, t.Std, t.Wait = true, last.Loss, last.Std, last.Wait
		if time.Since(time.UnixMilli(int64(math.Round(1000*last.Time)))) < recently && at < of.To {
			t.Speed = stepsPerSecond(points) * float64(of.Batch)
		}
	}
	t.Images = int64(at-of.From) * int64(of.Batch)
	return t, at
}

// addCurve adds a training of so many steps, 0 if that is not known, and its curve. Its name is a prefix and that of the metrics
// file.
func addCurve(ctx context.Context, p *report.WatchPage, prefix, file string, steps, batch int, ended bool) error {
	points, err := curves.Read[curves.Point](ctx, file)
	if err != nil {
		return err
	}
	name := prefix + strings.TrimSuffix(path.Base(filepath.ToSlash(file)), ".jsonl")
	t, _ := progressOf(run.Training{Variant: name, To: cmp.Or(steps, math.MaxInt32), Batch: batch}, points)
	if steps == 0 {
		t.Of = 0
	}
	if ended {
		t.Of, t.Speed = t.Images, 0
	}
	p.Trainings = append(p.Trainings, t)
	if len(points) > 0 {
		p.Curves = append(p.Curves, curveOf(name, points))
	}
	return nil
}

// curveOf is the curve of a training.
func curveOf(name string, points []curves.Point) report.Curve {
	c := report.Curve{Name: name}
	for _, point := range points {
		c.Steps, c.Loss, c.Std = append(c.Steps, point.Step), append(c.Loss, point.Loss), append(c.Std, point.Std)
	}
	return c
}

// stepsPerSecond is the speed of a training lately: the median over the last intervals between its points, since there may
// be an interruption in one of them.
func stepsPerSecond(points []curves.Point) float64 {
	const most = 9
	var all []float64
	for i := max(1, len(points)-most); i < len(points); i++ {
		if seconds := points[i].Time - points[i-1].Time; seconds > 0 {
			all = append(all, float64(points[i].Step-points[i-1].Step)/seconds)
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// lastLines returns the last lines of a file; none if there is no such file.
func lastLines(ctx context.Context, path string) ([]string, error) {
	data, err := tail(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	lines := strings.Split(strings.TrimRight(strings.ToValidUTF8(string(data), "?"), "\n"), "\n")
	return lines[max(0, len(lines)-logLines):], nil
}

// tail returns the end of a file.
func tail(ctx context.Context, path string) ([]byte, error) {
	if !files.IsLocal(path) {
		data, err := files.Read(ctx, path)
		return data[max(0, len(data)-logBytes):], err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > logBytes {
		if _, err := f.Seek(-logBytes, io.SeekEnd); err != nil {
			return nil, err
		}
	}
	return io.ReadAll(f)
}
