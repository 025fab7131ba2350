package pipelines

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/detect"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// get returns the page that a watcher serves.
func get(t *testing.T, w *Watcher) string {
	t.Helper()
	got := httptest.NewRecorder()
	w.ServeHTTP(got, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 200, got.Code, got.Body)
	return got.Body.String()
}

// TestWatch follows a run that does not exist yet, begins, trains, is interrupted, goes on and ends.
func TestWatch(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "run")
	w := NewWatcher(dir)
	require.Contains(t, get(t, w), "There is no run in "+dir+" yet.")

	unlock, err := run.Lock(ctx, dir)
	require.NoError(t, err)
	require.Contains(t, get(t, w), "There is no run in "+dir+" yet.", "a lock alone")
	r, err := recipe.Load("smoke", []string{"train.images=6400", "train.batch=32", "train.baselines=[unified]", "split.least_steps=0"})
	require.NoError(t, err)
	folder, err := run.Create(ctx, dir, run.Resume, run.Info{ID: uuid.New(), Version: "v1", Created: time.Now(), Data: []string{"pool"}}, r.Marshal())
	require.NoError(t, err)
	require.Contains(t, get(t, w), "The run begins.")

	require.NoError(t, folder.WriteStages(ctx, []string{"ingest", "phase0", "features", "partition", "train", "unified"}))
	done := func(stage string) {
		require.NoError(t, folder.WriteManifest(ctx, &run.Manifest{Stage: stage, Inputs: "in", Seconds: 90, Finished: time.Now()}))
	}
	done("ingest")
	// curve writes 20 steps a second, up to the given step.
	curve := func(variant string, from, to int) {
		var lines strings.Builder
		for step := from + 19; step < to; step += curves.Every {
			at := time.Now().Add(time.Duration(step-to) * 50 * time.Millisecond)
			fmt.Fprintf(&lines, `{"step":%d,"loss":%g,"std":0.1,"time":%.3f,"data_wait":0.25}`+"\n", step, 5-float64(step)/100, float64(at.UnixMilli())/1000)
		}
		require.NoError(t, files.WriteBytes(ctx, curves.Path(dir, variant), []byte(lines.String())))
	}
	_, phase0 := train.Range(r, train.Phase0)
	require.Greater(t, phase0, 60)
	curve(train.Phase0, 0, 60)
	log := strings.Repeat("x", logBytes) + "\nfirst\n" + strings.Repeat("line\n", logLines-1)
	require.NoError(t, files.WriteBytes(ctx, folder.LogPath(), []byte(log)))
	p, err := w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, "Stage phase0 runs, 2 of 6.", p.State)
	own := func(variant string) int { from, to := train.Range(r, variant); return to - from }
	require.Equal(t, 200-phase0, own(train.Joint)+own(train.SDR))
	steps := phase0 - 60 + own(train.Joint) + own(train.SDR) + own(recipe.Unified)
	require.Equal(t, fmt.Sprintf("%v of training left.", time.Duration(steps/20)*time.Second), p.Detail)
	require.Equal(t, []string{"first", "line"}, p.Log[:2])
	require.Len(t, p.Log, logLines)
	require.Equal(t, report.Training{
		Name: train.Phase0, Images: 60 * 32, Of: int64(phase0) * 32, Speed: p.Trainings[0].Speed, Measured: true, Loss: 4.41, Std: .1, Wait: .25,
	}, p.Trainings[0])
	require.InDelta(t, 20*32, p.Trainings[0].Speed, 1)
	require.Equal(t, report.Stage{Name: "ingest", State: stageDone, Seconds: 90}, p.Stages[0])
	require.Equal(t, stageRuns, p.Stages[1].State)
	require.Equal(t, report.Stage{Name: "features", State: stageOpen}, p.Stages[2])
	require.Contains(t, get(t, w), "phase0: 4.410")

	unlock()
	p, err = w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, "No program writes to the run, and it is not done.", p.State)
	require.Contains(t, p.Detail, "--resume")

	refs := []shards.Ref{{Path: "a", Rows: 30, Subset: "0"}, {Path: "b", Rows: 20, Subset: "1"}, {Path: "c", Rows: 7, Subset: "0"}}
	require.NoError(t, arrowio.WriteFile(ctx, filepath.Join(outDir(folder, "partition", "in"), "x.arrow"), record.Of(refs).Schema(), record.Of(refs).Record))
	for _, stage := range []string{"phase0", "features", "partition", "train", "unified"} {
		done(stage)
	}
	curve(train.SDR, phase0, 195)
	p, err = w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, "The run is done.", p.State)
	require.Equal(t, []report.Subset{{Code: "0", Images: 37}, {Code: "1", Images: 20}}, p.Subsets)
	for _, training := range p.Trainings {
		require.Equal(t, training.Of, training.Images, training.Name)
		require.Zero(t, training.Speed, training.Name)
	}
	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, "report.html"), nil))
	require.Contains(t, get(t, w), "report.html")

	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, "run.json"), []byte("{")))
	got := httptest.NewRecorder()
	w.ServeHTTP(got, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 500, got.Code)
	got = httptest.NewRecorder()
	w.ServeHTTP(got, httptest.NewRequest("GET", "/favicon.ico", nil))
	require.Equal(t, 404, got.Code)
}

// TestWatchOthers: what can never be a run, a study or another training is refused.
func TestWatchOthers(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "photo.jpg")
	require.NoError(t, files.WriteBytes(t.Context(), file, nil))
	for path, want := range map[string]string{file: "not a directory", dir: "there is nothing to watch: " + dir + " is not empty and holds no run"} {
		_, err := NewWatcher(path).Page(t.Context())
		require.ErrorAs(t, err, new(*run.UsageError))
		require.ErrorContains(t, err, want)
	}
}

// TestWatchEpochs follows a fine-tuning of several tasks, and detectors, that begin, are interrupted and end.
func TestWatchEpochs(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	w := NewWatcher(dir)
	unlock, err := run.Lock(ctx, dir)
	require.NoError(t, err)
	require.Contains(t, get(t, w), "There is no run in "+dir+" yet.")
	o := FinetuneOptions{Out: dir, Run: "runs/mine", Config: finetune.Config{Epochs: 10, Batch: 8}}
	_, err = o.begin(ctx, nil, []tasks.Task{{Name: "a"}, {Name: "b"}})
	require.NoError(t, err)
	require.Contains(t, get(t, w), "The fine-tuning runs.")
	validation := 62.5
	write := func(path string, all ...curves.Epoch) {
		log := curves.NewEpochs(path)
		require.NoError(t, log.Write(ctx, all))
		require.NoError(t, log.Close())
	}
	write(filepath.Join(dir, "b", curves.EpochsFile),
		curves.Epoch{Epoch: 1, Step: 20, Loss: 2, Validation: &validation}, curves.Epoch{Epoch: 2, Step: 40, Loss: 1.5, Validation: &validation})
	p, err := w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, []report.Training{{Name: "a"}, {Name: "b", Images: 320, Of: 1600, Measured: true, Loss: 1.5}}, p.Trainings)
	require.Equal(t, []report.Curve{{Name: "b", Steps: []int{20, 40}, Loss: []float64{2, 1.5}, Validation: []float64{62.5, 62.5}}}, p.Curves)
	page := get(t, w)
	require.Contains(t, page, "b: 1.500")
	require.Contains(t, page, "Held-out images")
	require.NotContains(t, page, "Collapse watch")
	unlock()
	require.Contains(t, get(t, w), "No program writes to the fine-tuning, and it is not done.</strong> The same command with --resume continues it.")
	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, "results.parquet"), nil))
	require.Contains(t, get(t, w), "The fine-tuning is done.")

	dir = t.TempDir()
	w = NewWatcher(dir)
	info := detectInfo{Config: detect.Config{Epochs: 4, Batch: 2}, Nets: []detectNet{{Name: "net"}}}
	require.NoError(t, info.write(ctx, dir))
	require.Contains(t, get(t, w), "No program writes to the training of detectors, and it is not done.")
	write(filepath.Join(dir, "net", "1"+detect.MetricsSuffix), curves.Epoch{Epoch: 1, Step: 5, Loss: 3})
	p, err = w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, []report.Training{{Name: "net/1", Images: 10, Of: 40, Measured: true, Loss: 3}}, p.Trainings)
	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, "net", "1.safetensors"), nil))
	require.Contains(t, get(t, w), "The training of detectors is done.")
}

// TestWatchCustomizing follows a customizing of two tasks that begins, trains and ends, and one whose number of steps is not known.
func TestWatchCustomizing(t *testing.T) {
	ctx, r := t.Context(), small(t)
	dir := t.TempDir()
	w := NewWatcher(dir)
	of := []tasks.Task{{Name: "a"}, {Name: "b"}}
	o := CustomizeOptions{Out: dir, Run: "runs/mine", Images: 640, Rates: []float64{.1, .01}}
	curve := func(name string) {
		c := curves.New(dir, name, 40)
		for step := range 20 {
			c.Add(curves.Point{Step: step, Loss: 2, Std: .5})
		}
		require.NoError(t, c.Write(ctx))
		require.NoError(t, c.Close())
	}
	curve("a/unified-1") // of an earlier one
	require.NoError(t, o.begin(ctx, r.Marshal(), of))
	require.Contains(t, get(t, w), "No program writes to the customizing, and it is not done.")
	curve("b/1.0-0.1")
	unlock, err := run.Lock(ctx, dir)
	require.NoError(t, err)
	p, err := w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, "The customizing runs.", p.State)
	require.Equal(t, []report.Training{{Name: "a"}, {Name: "b/1.0-0.1", Images: 160, Of: 320, Measured: true, Loss: 2, Std: .5}}, p.Trainings)
	require.Equal(t, []report.Curve{{Name: "b/1.0-0.1", Steps: []int{19}, Loss: []float64{2}, Std: []float64{.5}}}, p.Curves)
	require.Contains(t, get(t, w), "Collapse watch")
	unlock()
	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, customizedFile), nil))
	require.Contains(t, get(t, w), "The customizing is done.")

	o.Images = 0
	require.NoError(t, o.begin(ctx, r.Marshal(), of[:1]))
	require.NoFileExists(t, filepath.Join(dir, customizedFile))
	curve("a/1.0-0.1")
	p, err = w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, []report.Training{{Name: "a/1.0-0.1", Images: 160, Measured: true, Loss: 2, Std: .5}}, p.Trainings)
	require.Contains(t, get(t, w), "<td>160</td>")
}

// TestWatchStudy follows a study that begins, trains, is interrupted and ends.
func TestWatchStudy(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "study")
	w := NewWatcher(dir)
	unlock, err := run.Lock(ctx, dir)
	require.NoError(t, err)
	folder, err := run.CreateStudy(ctx, dir, run.Info{ID: uuid.New(), Version: "v1", Created: time.Now(), Data: []string{"pool"}}, []byte("arms:"))
	require.NoError(t, err)
	require.Contains(t, get(t, w), "The study begins.")

	require.NoError(t, folder.WriteStages(ctx, []string{"ingest/1", "phase0/1", "phase0/2", "evaluate/1", "evaluate/2", "evaluate/3"}))
	require.NoError(t, folder.WriteTrainings(ctx, []run.Training{
		{Stage: "phase0/1", Variant: "phase0", For: "a, seed 1", To: 100, Batch: 32}, {Stage: "phase0/2", Variant: "phase0", For: "b, seed 1", From: 100, To: 500, Batch: 32},
	}))
	done := func(stage string, seconds float64) {
		require.NoError(t, folder.WriteManifest(ctx, &run.Manifest{Stage: stage, Inputs: "in", Seconds: seconds, Finished: time.Now()}))
	}
	done("ingest/1", 7)
	done("phase0/1", 50)
	now := time.Now().UnixMilli()
	require.NoError(t, files.WriteBytes(ctx, curves.Path(folder.StageDir("phase0/2"), "phase0"), []byte(fmt.Sprintf(
		`{"step":119,"loss":4,"std":0.1,"time":%d.0}`+"\n"+`{"step":139,"loss":3,"std":0.1,"time":%d.0}`+"\n", now/1000-10, now/1000))))
	p, err := w.Page(ctx)
	require.NoError(t, err)
	require.Equal(t, "The study runs: 2 of 6 stages and 1 of 2 trainings are done.", p.State)
	require.Equal(t, "The rest takes at least 3m20s, if such stages take as long as so far.", p.Detail, "400 steps, if 100 take 50 s")
	require.Equal(t, []report.Training{
		{Name: "b, seed 1: phase0", Images: 40 * 32, Of: 400 * 32, Speed: 64, Measured: true, Loss: 3, Std: .1},
		{Name: "a, seed 1: phase0", Images: 3200, Of: 3200},
	}, p.Trainings)
	require.Equal(t, []report.Curve{{Name: "b, seed 1: phase0", Steps: []int{119, 139}, Loss: []float64{4, 3}, Std: []float64{.1, .1}}}, p.Curves)
	require.Equal(t, report.Stage{Name: "phase0", State: "1 of 2 done", Seconds: 50}, p.Stages[1])
	done("evaluate/1", 10)
	require.Contains(t, get(t, w), "The rest takes 3m40s,")

	unlock()
	require.Contains(t, get(t, w), "No program writes to the study, and it is not done.")
	for _, stage := range []string{"phase0/2", "evaluate/2", "evaluate/3"} {
		done(stage, 1)
	}
	require.NoError(t, files.WriteBytes(ctx, filepath.Join(dir, "study.html"), nil))
	require.Contains(t, get(t, w), "study.html")
	require.Contains(t, get(t, w), "The study is done.")
}

// TestStepsPerSecond leaves out an interruption.
func TestStepsPerSecond(t *testing.T) {
	require.Zero(t, stepsPerSecond(nil))
	require.Zero(t, stepsPerSecond([]curves.Point{{Step: 19, Time: 5}}))
	require.Zero(t, stepsPerSecond([]curves.Point{{Step: 19}, {Step: 39}}), "of an earlier version, without times")
	require.InDelta(t, 10, stepsPerSecond([]curves.Point{{Step: 19, Time: 2}, {Step: 39, Time: 4}, {Step: 59, Time: 3600}, {Step: 79, Time: 3602}, {Step: 99, Time: 3604.1}}), .6)
}
