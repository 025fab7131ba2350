package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// asProgram makes the test binary behave as the program, so that tests run it
// as a user does, and kill it.
const asProgram = "SDR_TEST_AS_PROGRAM"

// asJobServer makes it serve as Beam's job server on a port.
const asJobServer = "SDR_TEST_AS_JOB_SERVER"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	if port, err := strconv.Atoi(os.Getenv(asJobServer)); err == nil {
		if _, err := prism.CreateJobServer(context.Background(), prism.Options{Port: port}); err != nil {
			panic(err)
		}
		select {}
	}
	flag.Parse()
	cache, err := os.MkdirTemp("", "sdr-cache-") // the tuning table of these tests
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", cache)
	code := m.Run()
	os.RemoveAll(cache)
	os.Exit(code)
}

const (
	testdata = "../../testdata"
	folder   = testdata + "/fixtures/folder"
	tiny     = testdata + "/fixtures/tiny.parquet"
)

// program returns the command to run the program with arguments. A program that has not ended when the tests have half
// a minute left is made to print its goroutines.
func program(t *testing.T, args ...string) *exec.Cmd {
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-30*time.Second))
		t.Cleanup(cancel)
	}
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGQUIT) }
	c.Env = append(os.Environ(), asProgram+"=1")
	return c
}

// sdr runs the program to its end.
func sdr(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, log bytes.Buffer
	c := program(t, args...)
	c.Stdout, c.Stderr = &out, &log
	err := c.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		require.NoError(t, err)
	}
	return out.String(), log.String(), c.ProcessState.ExitCode()
}

// mustSDR runs the program and expects it to end well.
func mustSDR(t *testing.T, args ...string) string {
	t.Helper()
	out, log, code := sdr(t, args...)
	require.Zero(t, code, "%v\n%s", args, log)
	return out
}

// quick trains everything there is, in a few steps.
var quick = []string{
	"pretrain", "--data", testdata + "/pool/emoji.parquet", "--recipe", "smoke",
	"--set", "train.batch=32", "--set", "train.images=1920", "--set", "train.norm_images=256", "--set", "partition.iterations=4",
}

func quickRun(out string, more ...string) []string {
	return append(append(append([]string{}, quick...), "--out", out), more...)
}

// weights reads every model file of a run.
func weights(t *testing.T, run string) map[string][]byte {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(run, "models", "*.safetensors"))
	require.NoError(t, err)
	models := map[string][]byte{}
	for _, p := range paths {
		data, err := os.ReadFile(p)
		require.NoError(t, err)
		models[filepath.Base(p)] = data
	}
	return models
}

// sameWeights compares the model files of two runs.
func sameWeights(t *testing.T, want, got map[string][]byte) {
	t.Helper()
	require.Equal(t, slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	var other []string
	for name, data := range want {
		if !bytes.Equal(data, got[name]) {
			other = append(other, name)
		}
	}
	require.Empty(t, other, "these differ")
}

// Whatever runs the stages, and however they are cut into jobs, the weights
// are the same; and what the run leaves serves all the other commands.
func TestPretrain(t *testing.T) {
	dir := t.TempDir()
	first := filepath.Join(dir, "first")
	tasks := filepath.Join(dir, "tasks")
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(folder)))
	out := mustSDR(t, quickRun(first, "--tasks", tasks, "--protocol", "knn,linear")...)
	for _, want := range []string{"fruit", "linear", "report.html", "results.json", "routed/fruit/model.safetensors"} {
		require.Contains(t, out, want)
	}
	require.True(t, strings.HasSuffix(out, "\n"+filepath.Join(first, "report.html")+"\n"), "the report is the last line: %s", out)
	want := weights(t, first)
	for _, name := range []string{"phase0", "root", "0", "1", "0.0", "1.1", "unified", "unified_subset_batches"} {
		require.Contains(t, want, name+".safetensors")
	}

	direct := filepath.Join(dir, "direct")
	mustSDR(t, quickRun(direct, "--runner", "direct")...)
	sameWeights(t, want, weights(t, direct))
	single := filepath.Join(dir, "single")
	mustSDR(t, quickRun(single, "--single-job", "--tasks", tasks)...)
	sameWeights(t, want, weights(t, single))
	require.FileExists(t, filepath.Join(single, "report.html"))

	require.Contains(t, mustSDR(t, "inspect", first), "unified_subset_batches")
	var status pipelines.Status
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, "inspect", first, "--format", "json")), &status))
	require.Contains(t, mustSDR(t, "__complete", "export", "--run", first, "--subnet", "u"), "unified\n")
	require.Len(t, status.Quality, 2+4)
	for code, q := range status.Quality {
		require.Positive(t, q.Inertia, code)
		require.NotZero(t, q.Silhouette, code)
	}
	require.NotNil(t, status.Agreement)

	var results struct {
		Tasks []map[string]any          `json:"tasks"`
		Mean  map[string]map[string]any `json:"mean"`
	}
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, "evaluate", "--run", first, "--tasks", tasks, "--protocol", "knn,linear", "--format", "json", "--out", filepath.Join(dir, "f.parquet"))), &results))
	require.Len(t, results.Tasks, 2)
	for _, key := range []string{"name", "metric", "protocol", "unified", "unified_subset_batches", "routed", "subnet", "mean", "oracle", "test_images"} {
		require.Contains(t, results.Tasks[0], key)
		require.NotNil(t, results.Tasks[0][key], key)
	}
	require.Contains(t, results.Mean, "knn")
	require.Contains(t, results.Mean, "linear")
	require.FileExists(t, filepath.Join(dir, "f.parquet"))

	routed := filepath.Join(dir, "routed")
	labeled, err := os.ReadFile(tiny)
	require.NoError(t, err)
	test, scores := filepath.Join(dir, "pairs", "a-test.parquet"), filepath.Join(dir, "pairs", "scores.parquet")
	require.NoError(t, os.Mkdir(filepath.Dir(test), 0o755))
	for _, file := range []string{filepath.Join(dir, "pairs", "a-train.parquet"), test, scores} {
		require.NoError(t, os.WriteFile(file, labeled, 0o644))
	}
	for _, args := range [][]string{
		{"evaluate", "--tasks", filepath.Dir(test), "--out", test},
		{"route", "--task", scores, "--out", filepath.Dir(scores)},
		{"export", "--subnet", "unified", "--out", filepath.Join(first, "models", "unified.safetensors")},
	} {
		_, stderr, code := sdr(t, append(args, "--run", first)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, " is to be read and written; give another file to write")
	}
	mustSDR(t, "route", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", routed)
	for _, name := range []string{"scores.parquet", "model.safetensors", "model.json"} {
		require.FileExists(t, filepath.Join(routed, name))
	}
	customized := filepath.Join(dir, "customized")
	one := mustSDR(t, "customize", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", customized, "--images", "256")
	require.Contains(t, one, "difference, with")
	for _, name := range []string{"candidates.parquet", "model.safetensors", "model.json", "customized.parquet", "customized.html"} {
		require.FileExists(t, filepath.Join(customized, name))
	}
	var card route.Card
	text, err := os.ReadFile(filepath.Join(customized, "model.json"))
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &card))
	require.Equal(t, strings.TrimPrefix(card.Subnet, "root"), card.Subset)
	require.Equal(t, card.Customized == customize.AsIs, card.Norm == route.NormTraining)
	mustSDR(t, "customize", "--run", first, "--tasks", tasks, "--out", dir+"/all", "--images", "256")
	outcome := func(out string) customize.Result {
		rows, err := arrowio.LoadRows[customize.Result](t.Context(), filepath.Join(out, "customized.parquet"))
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Positive(t, rows[0].Seconds)
		rows[0].Seconds, rows[0].Dir = 0, ""
		return rows[0]
	}
	result := outcome(customized)
	require.Equal(t, result, outcome(dir+"/all"))
	require.Equal(t, "fruit", result.Task)
	require.EqualValues(t, 256, result.Images)
	require.Positive(t, result.TestImages)
	require.InDelta(t, result.Test-result.TestBefore, result.Difference, 1e-4)
	require.LessOrEqual(t, result.Low, result.Difference)
	require.GreaterOrEqual(t, result.High, result.Difference)
	page, err := pipelines.NewWatcher(customized).Page(t.Context())
	require.NoError(t, err)
	require.Equal(t, "The customizing is done.", page.State)
	// test images make no difference to what is chosen, trained and delivered
	blind := filepath.Join(dir, "blind")
	require.NoError(t, os.CopyFS(blind, os.DirFS(tasks)))
	require.NoError(t, os.RemoveAll(filepath.Join(blind, "fruit", "test", "Banana")))
	mustSDR(t, "customize", "--run", first, "--tasks", blind, "--out", dir+"/unseen", "--images", "256")
	again := filepath.Join(dir, "again")
	mustSDR(t, quickRun(again, "--tasks", blind)...)
	sameWeights(t, want, weights(t, again))
	for _, pair := range [][2]string{{dir + "/all/fruit", dir + "/unseen/fruit"}, {first + "/routed/fruit", again + "/routed/fruit"}} {
		a, err := os.ReadFile(filepath.Join(pair[0], "model.safetensors"))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(pair[1], "model.safetensors"))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), "%s differs from %s", pair[1], pair[0])
	}

	classifier := filepath.Join(dir, "classifier")
	finetuned := mustSDR(t, "finetune", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", classifier, "--epochs", "2")
	require.Contains(t, finetuned, "fruit")
	require.Equal(t, finetuned, mustSDR(t, "finetune", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", classifier, "--epochs", "2", "--resume"))
	mustSDR(t, "finetune", "--run", first, "--subnet", "unified", "--tasks", tasks, "--out", dir+"/classifiers", "--epochs", "2")
	predicted := mustSDR(t, "predict", "--model", filepath.Join(dir, "classifiers", "fruit", "model.safetensors"), "--data", filepath.Join(tasks, "fruit", "test"), "--out", dir+"/p.parquet")
	require.Contains(t, predicted, "images with a true class")

	features := filepath.Join(dir, "features.parquet")
	require.Contains(t, mustSDR(t, "embed", "--model", filepath.Join(routed, "model.safetensors"), "--data", testdata+"/fixtures/odd", "--out", features), "of them could not be read")
	file, err := os.ReadFile(features)
	require.NoError(t, err)
	mustSDR(t, "embed", "--model", routed, "--data", testdata+"/fixtures/odd", "--out", features)
	folder, err := os.ReadFile(features)
	require.NoError(t, err)
	require.Equal(t, file, folder, "of the same model")
	mustSDR(t, "export", "--run", first, "--subnet", "0.1", "--out", filepath.Join(dir, "01.safetensors"))
	mustSDR(t, "export", "--run", first, "--subnet", "unified", "--out", filepath.Join(dir, "u.safetensors"))
	mustSDR(t, "export", "--model", filepath.Join(routed, "model.safetensors"), "--format", "onnx", "--preprocess", "--out", filepath.Join(dir, "routed.onnx"))
	require.FileExists(t, filepath.Join(dir, "routed.onnx"))
	for source, want := range map[string][]string{ // of the card
		first: {"# Sub-net 0.1\n", "| recipe | smoke: resnet18 width 4", "| images seen | 1,920 |", "| subset | 0.1, ", "| fruit | linear, BatchNorm statistics of the "},
		filepath.Join(routed, "model.safetensors"):                      {" for the task fruit\n", "emoji.parquet |", "| recipe | smoke: resnet18 width 4", "| chosen by the router | knn score "},
		filepath.Join(customized, "model.safetensors"):                  {" for the task fruit\n", "emoji.parquet |", "| recipe | smoke: resnet18 width 4", " % on the training images of the task fruit, BatchNorm statistics of the "},
		filepath.Join(classifier, "model.safetensors"):                  {" for the task fruit\n", "emoji.parquet |", "| recipe | smoke: resnet18 width 4", "| chosen by the router | knn score ", "| run | ", "| fine-tuned | on "},
		filepath.Join(dir, "classifiers", "fruit", "model.safetensors"): {"# Net unified for the task fruit\n", "emoji.parquet |", "| recipe | smoke: resnet18 width 4", "| run | "},
	} {
		args := []string{"export", "--format", "hub", "--out", filepath.Join(dir, "hub"), "--model", source}
		if source == first {
			args = append(args[:5], "--run", source, "--subnet", "0.1")
		}
		mustSDR(t, args...)
		text, err := os.ReadFile(filepath.Join(dir, "hub", "README.md"))
		require.NoError(t, err)
		for _, w := range want {
			require.Contains(t, string(text), w)
		}
	}

	// on another machine, the run's choices of algorithms are used, and nothing is measured
	machine := os.Getenv("XDG_CACHE_HOME")
	t.Setenv("XDG_CACHE_HOME", filepath.Join(dir, "cache"))
	require.NoError(t, os.WriteFile(filepath.Join(first, "tuning", "machine-processor-other.json"), []byte(`{"kind":"processor","name":"other"}`), 0o644))
	for _, args := range [][]string{
		{"route", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", filepath.Join(dir, "routed2")},
		{"evaluate", "--run", first, "--tasks", tasks},
		{"customize", "--run", first, "--task", filepath.Join(tasks, "fruit"), "--out", filepath.Join(dir, "customized2"), "--images", "256"},
		{"embed", "--model", filepath.Join(first, "routed", "fruit", "model.safetensors"), "--data", testdata + "/fixtures/odd", "--out", features},
	} {
		_, log, code := sdr(t, args...)
		require.Zero(t, code, log)
		require.Contains(t, log, "several types of processor have computed this")
		require.Contains(t, log, "; other")
		require.NoFileExists(t, filepath.Join(dir, "cache", "sdr", "tuning.json"), args[0])
	}
	t.Setenv("XDG_CACHE_HOME", machine)

	// a run that is over has nothing left to do
	before := stamps(t, first)
	mustSDR(t, quickRun(first, "--resume", "--tasks", tasks, "--protocol", "knn,linear")...)
	require.Equal(t, before, stamps(t, first))
	// but other tasks are routed and evaluated without training anew
	require.NoError(t, os.Rename(filepath.Join(tasks, "fruit"), filepath.Join(tasks, "groceries")))
	require.Contains(t, mustSDR(t, quickRun(first, "--resume", "--tasks", tasks)...), "groceries")
	require.Equal(t, before, stamps(t, first))
}

// stamps returns the time of change of every model of a run.
func stamps(t *testing.T, run string) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	require.NoError(t, filepath.WalkDir(filepath.Join(run, "models"), func(p string, d fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := d.Info()
		all[p] = info.ModTime()
		return err
	}))
	return all
}

// A damaged checkpoint is named with what to do about it, and that works: what was lost is trained again, to the same
// weights.
func TestDamagedCheckpoint(t *testing.T) {
	run := filepath.Join(t.TempDir(), "run")
	mustSDR(t, quickRun(run)...)
	want := weights(t, run)
	require.NoError(t, os.Remove(filepath.Join(run, "train", "manifest.json")))
	checkpoints, err := filepath.Glob(filepath.Join(run, "checkpoints", "*"))
	require.NoError(t, err)
	for _, path := range checkpoints {
		require.NoError(t, os.Truncate(path, 1000))
	}
	for len(checkpoints) > 0 {
		_, stderr, code := sdr(t, quickRun(run, "--resume")...)
		if code == 0 {
			break
		}
		m := regexp.MustCompile(`(\S+[.]safetensors): .*; remove it to train`).FindStringSubmatch(stderr)
		require.Len(t, m, 2, stderr)
		require.Contains(t, checkpoints, m[1])
		require.NoError(t, os.Remove(m[1]))
		checkpoints = slices.DeleteFunc(checkpoints, func(c string) bool { return c == m[1] })
	}
	mustSDR(t, quickRun(run, "--resume")...)
	sameWeights(t, want, weights(t, run))
}

// A training in bins leaves the same weights in one job or many, killed and resumed, and with checkpoints damaged on the
// way.
func TestTrainingInBins(t *testing.T) {
	dir := t.TempDir()
	bins := []string{"--set", "train.rounds.bins=2", "--set", "train.rounds.steps=2", "--set", "train.baselines=[unified_subset_batches]"}
	whole := filepath.Join(dir, "whole")
	mustSDR(t, quickRun(whole, bins...)...)
	want := weights(t, whole)
	require.Contains(t, want, "0.1.safetensors")
	single := filepath.Join(dir, "single")
	mustSDR(t, quickRun(single, append(bins, "--single-job")...)...)
	sameWeights(t, want, weights(t, single))

	latest := func(run, variant string) string {
		found, err := filepath.Glob(filepath.Join(run, "checkpoints", variant, "[0-9a-f]*.safetensors"))
		require.NoError(t, err)
		if len(found) == 0 {
			return ""
		}
		return slices.Max(found)
	}
	killed := filepath.Join(dir, "killed")
	args := quickRun(killed, append(bins, "--resume")...)
	for _, variant := range []string{"phase0", "sdr"} {
		c := program(t, args...)
		require.NoError(t, c.Start())
		for latest(killed, variant) == "" && c.ProcessState == nil {
			time.Sleep(time.Millisecond)
		}
		require.NoError(t, c.Process.Kill())
		_ = c.Wait()
		require.NoError(t, os.Truncate(latest(killed, variant), 1000))
		_, stderr, code := sdr(t, args...)
		require.Equal(t, exitFailed, code, "%s %s", latest(killed, variant), stderr)
		require.Contains(t, stderr, latest(killed, variant))
		require.Contains(t, stderr, "remove it to train")
		require.NoError(t, os.Remove(latest(killed, variant)))
	}
	mustSDR(t, args...)
	sameWeights(t, want, weights(t, killed))

	// as if killed after the last round, before its nets were saved
	for _, lost := range []string{"phase0/manifest.json", "models/phase0.safetensors", "checkpoints/phase0.safetensors", "train/manifest.json", "models/0.1.safetensors", "checkpoints/sdr.safetensors"} {
		require.NoError(t, os.Remove(filepath.Join(killed, lost)))
	}
	mustSDR(t, args...)
	sameWeights(t, want, weights(t, killed))
}

// What another command line would mend is one line, exit code 2, and nothing
// is written.
func TestUsageErrors(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	used := filepath.Join(dir, "used")
	require.NoError(t, os.MkdirAll(filepath.Join(used, "x"), 0o755))
	unlabeled := filepath.Join(dir, "unlabeled")
	require.NoError(t, os.Mkdir(unlabeled, 0o755))
	for _, split := range []string{"train", "test"} {
		data, err := os.ReadFile(testdata + "/pool/emoji.parquet")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(unlabeled, "t-"+split+".parquet"), data, 0o644))
	}
	out, parquet := filepath.Join(dir, "out"), filepath.Join(dir, "folder.parquet")
	require.NoError(t, os.Mkdir(parquet, 0o755))
	file := writeStudy(t, dir, "a:")
	unlabeledFile := filepath.Join(dir, "unlabeled.yaml")
	require.NoError(t, os.WriteFile(unlabeledFile, []byte("data: ["+tiny+"]\ntasks: "+unlabeled+"\narms: {a: }"), 0o644))
	noData := filepath.Join(dir, "no-data.yaml")
	require.NoError(t, os.WriteFile(noData, []byte("data: ["+empty+"/none]\ntasks: "+unlabeled+"\narms: {a: }"), 0o644))
	ordinary := filepath.Join(dir, "ordinary")
	require.NoError(t, os.Mkdir(ordinary, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(ordinary, "run.json"), nil, 0o644))
	for _, c := range []struct {
		want string
		args []string
	}{
		{"--data is missing", []string{"pretrain", "--out", out}},
		{"does not exist", []string{"pretrain", "--data", filepath.Join(dir, "none"), "--out", out}},
		{"image", []string{"pretrain", "--data", empty, "--out", out}},
		{"holds no run", []string{"pretrain", "--data", tiny, "--out", used}},
		{`did you mean "train.lr"?`, []string{"pretrain", "--data", tiny, "--out", out, "--set", "train.lrr=1"}},
		{"label", []string{"pretrain", "--data", tiny, "--out", out, "--tasks", unlabeled}},
		{"holds no task", []string{"pretrain", "--data", tiny, "--out", out, "--tasks", empty}},
		{"--runner", []string{"pretrain", "--data", tiny, "--out", out, "--runner", "spark"}},
		{"--endpoint is missing", []string{"pretrain", "--data", tiny, "--out", out, "--runner", "flink"}},
		{"give --flink_rest HOST:PORT, or --parallelism", []string{"embed", "--model", "m", "--data", tiny, "--out", "f.parquet", "--runner", "flink", "--endpoint", "localhost:1", "--flink_rest", "localhost:1"}},
		{"--region, --staging_location missing", []string{"pretrain", "--data", "gs://b/data", "--out", "gs://b/run", "--runner", "dataflow", "--project", "p"}},
		{"Dataflow's workers do not see the files of this machine", []string{"pretrain", "--data", tiny, "--out", "gs://b/run", "--runner", "dataflow"}},
		{"want HOST:PORT", []string{"evaluate", "--run", out, "--tasks", out, "--runner", "flink", "--endpoint", "localhost"}},
		{"end with this program", []string{"pretrain", "--data", tiny, "--out", out, "--single-job", "--async"}},
		{"--single-job", []string{"pretrain", "--data", tiny, "--out", out, "--runner", "flink", "--async"}},
		{"--single-job", []string{"embed", "--model", tiny, "--data", tiny, "--out", out + ".parquet", "--runner", "flink", "--async"}},
		{"--dry_run", []string{"pretrain", "--data", tiny, "--out", out, "--dry_run"}},
		{"no filesystem for nofs://", []string{"pretrain", "--data", tiny, "--data", "nofs://x/y", "--out", out}},
		{"no filesystem for nofs://", []string{"inspect", "nofs://x"}},
		{"contradict", []string{"pretrain", "--data", tiny, "--out", out, "--resume", "--overwrite"}},
		{"--gpu-mem", []string{"pretrain", "--data", tiny, "--out", out, "--gpu-mem", "much"}},
		{"want cpu, cuda or auto", []string{"pretrain", "--data", tiny, "--out", out, "--device", "tpu"}},
		{"--max-bad", []string{"pretrain", "--data", tiny, "--out", out, "--max-bad", "2"}},
		{"unknown flag", []string{"pretrain", "--dta", tiny}},
		{`there is no command "pretrian"; did you mean "pretrain"?`, []string{"pretrian"}},
		{`there is no command "pretrian"; did you mean "pretrain"?`, []string{"pretrian", "--data", tiny}},
		{`there is no command "evla"; did you mean "eval"?`, []string{"detect", "evla", "--data", tiny}},
		{"~/photos: ~ is expanded by the shell", []string{"pretrain", "--data", "~/photos", "--out", out}},
		{"~/run: ~ is expanded by the shell", []string{"pretrain", "--data", tiny, "--out=~/run"}},
		{"~/run: ~ is expanded by the shell", []string{"watch", "~/run"}},
		{"give a name that ends in .parquet", []string{"embed", "--model", tiny, "--data", tiny, "--out", out + ".csv"}},
		{"give a name that ends in .parquet", []string{"evaluate", "--run", empty, "--tasks", folder, "--out", out}},
		{"give a name that ends in .safetensors", []string{"export", "--run", empty, "--subnet", "root", "--out", out}},
		{"give a name that ends in .onnx", []string{"export", "--model", tiny, "--format", "onnx", "--out", out}},
		{"give either --run with --subnet, or --model", []string{"export", "--out", out}},
		{"give either --run with --subnet, or --model", []string{"export", "--run", empty, "--model", tiny, "--out", out}},
		{"--subnet is missing", []string{"export", "--run", empty, "--out", out}},
		{"--subnet goes with --run", []string{"export", "--model", tiny, "--subnet", "0", "--out", out}},
		{"want torchvision, timm, onnx or hub", []string{"export", "--model", tiny, "--format", "tf", "--out", out}},
		{"no place for the preparation of images", []string{"export", "--model", tiny, "--format", "hub", "--preprocess", "--out", out}},
		{"no place for a license", []string{"export", "--model", tiny, "--license", "mit", "--out", out}},
		{"model " + tiny + ": ", []string{"export", "--model", tiny, "--format", "hub", "--out", out}},
		{"--init " + tiny + ": nn: load backbone: ", []string{"pretrain", "--data", tiny, "--out", out, "--init", tiny}},
		{"no such file", []string{"pretrain", "--data", tiny, "--out", out, "--init", filepath.Join(dir, "none")}},
		{"is a folder", []string{"embed", "--model", tiny, "--data", tiny, "--out", parquet}},
		{"cannot be written", []string{"route", "--run", empty, "--task", folder, "--out", filepath.Join(tiny, "x")}},
		{"cannot be written", []string{"customize", "--run", empty, "--task", folder, "--out", filepath.Join(tiny, "x")}},
		{"cannot be written", []string{"embed", "--model", tiny, "--data", tiny, "--out", filepath.Join(tiny, "x.parquet")}},
		{"holds no run", []string{"evaluate", "--run", empty, "--tasks", folder}},
		{"there is no protocol", []string{"evaluate", "--run", empty, "--tasks", folder, "--protocol", "svm"}},
		{"give either --task or --tasks", []string{"customize", "--run", empty, "--out", out}},
		{"want a budget above 0", []string{"customize", "--run", empty, "--task", folder, "--out", out, "--seconds", "0"}},
		{"want learning rates above 0", []string{"customize", "--run", empty, "--task", folder, "--out", out, "--lr", "0.1,0"}},
		{"give either --model or --run", []string{"finetune", "--task", folder, "--out", out}},
		{"give either --task or --tasks", []string{"finetune", "--run", empty, "--out", out}},
		{"--subnet is a net of a run", []string{"finetune", "--model", tiny, "--subnet", "0", "--task", folder, "--out", out}},
		{"epochs 0", []string{"finetune", "--run", empty, "--task", folder, "--out", out, "--epochs", "0"}},
		{"holds no run", []string{"finetune", "--run", empty, "--task", folder, "--out", out}},
		{"no such file", []string{"finetune", "--model", filepath.Join(dir, "none"), "--task", folder, "--out", out}},
		{"give a name that ends in .parquet", []string{"predict", "--model", tiny, "--data", tiny, "--out", out}},
		{"--data is missing", []string{"extend", "--run", empty, "--out", out}},
		{"holds no run", []string{"extend", "--run", empty, "--data", tiny, "--out", out}},
		{"--far 1: want a fraction", []string{"extend", "--run", empty, "--data", tiny, "--out", out, "--far", "1"}},
		{"--images 0", []string{"extend", "--run", empty, "--data", tiny, "--out", out, "--images", "0"}},
		{"--lr 0", []string{"extend", "--run", empty, "--data", tiny, "--out", out, "--lr", "0"}},
		{"holds no run", []string{"customize", "--run", empty, "--task", folder, "--out", out}},
		{"holds no run", []string{"route", "--run", empty, "--task", folder, "--out", out}},
		{"holds no run", []string{"export", "--run", empty, "--subnet", "0", "--out", out + ".safetensors"}},
		{"holds no run", []string{"inspect", empty}},
		{"want table or json", []string{"inspect", empty, "--format", "csv"}},
		{"no such file", []string{"embed", "--model", filepath.Join(dir, "none"), "--data", tiny, "--out", out + ".parquet"}},
		{"want one study file", []string{"study", "--out", out}},
		{"--out is missing", []string{"study", file}},
		{"no such file", []string{"study", filepath.Join(dir, "none.yaml"), "--out", out}},
		{"study " + noData + ": data: ", []string{"study", noData, "--out", out}},
		{"study " + unlabeledFile + ": tasks: ", []string{"study", unlabeledFile, "--out", out}},
		{"has no label", []string{"study", unlabeledFile, "--out", out, "--plan"}},
		{"want table, markdown, csv or json", []string{"study", file, "--out", out, "--format", "html"}},
		{"--max-bad", []string{"study", file, "--out", out, "--max-bad", "-1"}},
		{"holds no study: it has no study.json; choose another --out", []string{"study", file, "--out", used}},
		{"holds no study but a run; choose another --out", []string{"study", file, "--out", ordinary}},
		{"holds no study but a run", []string{"study", file, "--out", ordinary, "--plan"}},
	} {
		stdout, stderr, code := sdr(t, c.args...)
		require.Equal(t, exitUsage, code, "%v: %s", c.args, stderr)
		require.Contains(t, stderr, c.want, "%v", c.args)
		require.Equal(t, 1, bytes.Count([]byte(stderr), []byte("\n")), "%v: more than one line:\n%s", c.args, stderr)
		require.Empty(t, stdout)
		require.NoFileExists(t, out)
	}
}

// dataflow are the flags of a job for Dataflow that lacks nothing but a cloud.
var dataflow = []string{
	"--runner", "dataflow", "--project", "p", "--region", "r", "--staging_location", "gs://b/s", "--temp_location=gs://b/t",
	"--resource_hints", "min_ram=1GB", "--resource_hints", "cpu_count=3",
}

// A dry run describes its job and leaves nothing behind. Beam's flags are in the description where they were given, and
// the program is that of the workers.
func TestDryRun(t *testing.T) {
	storage := httptest.NewServer(http.NotFoundHandler())
	defer storage.Close()
	t.Setenv("STORAGE_EMULATOR_HOST", strings.TrimPrefix(storage.URL, "http://"))
	out := filepath.Join(t.TempDir(), "run")
	stdout, stderr, code := sdr(t, quickRun(out, append(dataflow, "--dry_run", "--log-level", "debug", "--max_num_workers", "7", "--worker_machine_type", "n2",
		"--sdk_container_image", "gcr.io/mine", "--dataflow_service_options", "worker_accelerator=type:nvidia-l4;count:1")...)...)
	require.Zero(t, code, stderr)
	require.Contains(t, stdout, "ingest, phase0, features, partition, train, unified: the job was described, and not run\n")
	for _, want := range []string{
		"│ partition ", "│ train ", "project p, temporary files in gs://b/t", "at most 7; machine n2; container gcr.io/mine",
		"program of the workers: gs://b/s/", "resource hints: cpu_count=3, min_ram_bytes=1000000000\n", "service options: worker_accelerator=type:nvidia-l4;count:1",
	} {
		require.Contains(t, stdout, want)
	}
	stages := regexp.MustCompile(`(?m)^│ (\S+) +│ +(\d+) │`)
	again, _, _ := sdr(t, quickRun(out, slices.Concat(dataflow[:len(dataflow)-4], []string{"--dry_run", "--device", "cuda"})...)...)
	require.Regexp(t, "\nresource hints: accelerator=type:nvidia-l4;count:1;install-nvidia-driver, min_ram_bytes=[1-9][0-9]+\n", again, "what the trainings need")
	require.Equal(t, stages.FindAllString(again, -1), stages.FindAllString(stdout, -1), "the same steps every time")
	require.Contains(t, stderr, `"temp_location": "gs://b/t"`)
	require.Contains(t, stderr, `"resource_hints": "[min_ram=1GB cpu_count=3]"`)
	require.Contains(t, stderr, fmt.Sprintf(`"worker_binary": "%s"`, os.Args[0]))
	require.NotContains(t, stderr, `"use_public_ips"`, "it was not given")
	require.NoFileExists(t, out)
}

// A job that is not waited for ends well once it is submitted, with this program as its workers'.
func TestAsync(t *testing.T) {
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	require.NoError(t, listener.Close())
	server := exec.CommandContext(t.Context(), os.Args[0]) // ends with the test
	server.Env = append(os.Environ(), fmt.Sprint(asJobServer, "=", port))
	require.NoError(t, server.Start())
	out := filepath.Join(t.TempDir(), "run")
	stdout, stderr, code := sdr(t, quickRun(out, "--runner", "flink", "--endpoint", fmt.Sprint("localhost:", port), "--single-job", "--async",
		"--parallelism", "1", "--environment_type", "process", "--environment_config", `{"command": "true"}`)...)
	require.Zero(t, code, stderr)
	require.Equal(t, "ingest, phase0, features, partition, train, unified: the job was submitted, and goes on without this program\n", stdout)
	require.NoDirExists(t, filepath.Join(out, "stages"), "what the job has written is not looked at")
}

// An unreadable image is listed; too many of them stop the run.
func TestDeadLetter(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	require.NoError(t, os.CopyFS(data, os.DirFS(folder)))
	require.NoError(t, os.WriteFile(filepath.Join(data, "broken.jpg"), []byte("\xff\xd8 no more"), 0o644))
	run := filepath.Join(dir, "run")
	args := []string{"pretrain", "--data", data, "--out", run, "--recipe", "smoke", "--set", "train.batch=8", "--set", "train.images=160", "--set", "train.norm_images=16", "--set", "train.baselines=[]"}
	temporary := filepath.Join(dir, "tmp")
	require.NoError(t, os.Mkdir(temporary, 0o755))
	t.Setenv("TMPDIR", temporary)
	_, stderr, code := sdr(t, args...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "broken.jpg")
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	require.Empty(t, left, "temporary files")
	require.Contains(t, stderr, "--max-bad")
	last := strings.TrimSpace(stderr[strings.LastIndex(strings.TrimSpace(stderr), "\n")+1:])
	require.True(t, strings.HasPrefix(last, "sdr: ingest: 1 of 37 images cannot be read"), last)
	require.Contains(t, mustSDR(t, append(args, "--resume", "--max-bad", "0.1")...), "1 image could not be read")
	letters := filepath.Join(run, "dead-letter.parquet")
	require.FileExists(t, letters)
	require.NoError(t, os.WriteFile(letters, []byte("PAR1"), 0o644))
	require.Contains(t, mustSDR(t, append(args, "--resume", "--max-bad", "0.1")...), "1 image could not be read")
}

// Nothing but unreadable images is an error, which says where the reasons are. Damage that can be read is counted apart.
func TestEmbedNothing(t *testing.T) {
	dir := t.TempDir()
	run := filepath.Join(dir, "run")
	mustSDR(t, quickRun(run)...)
	data := filepath.Join(dir, "data")
	require.NoError(t, os.Mkdir(data, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(data, "a.jpg"), []byte("\xff\xd8 no more"), 0o644))
	out := filepath.Join(dir, "x.parquet")
	_, stderr, code := sdr(t, "embed", "--model", filepath.Join(run, "models", "root.safetensors"), "--data", data, "--out", out)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "none of the images could be read, 1 in all; the column error of "+out+" says why")
	require.FileExists(t, out)

	png, err := os.ReadFile(testdata + "/fixtures/odd/upright.png")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(data, "b.png"), png[:len(png)-12], 0o644)) // without IEND
	_, stderr, code = sdr(t, "embed", "--model", filepath.Join(run, "models", "root.safetensors"), "--data", data, "--out", out)
	require.Zero(t, code)
	require.Contains(t, stderr, "1 image, 0 of them with labels, and 1 that cannot be read; 1 is damaged, and was read as far as it goes")
}

// What a run has read must not change under it: nothing is trained anew without a word, and no figure of old images is
// shown for new ones. What is no image may change, and so may times.
func TestChangedData(t *testing.T) {
	dir := t.TempDir()
	data, tasks, run := filepath.Join(dir, "data"), filepath.Join(dir, "tasks"), filepath.Join(dir, "run")
	require.NoError(t, os.CopyFS(data, os.DirFS(folder)))
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(folder)))
	args := []string{
		"pretrain", "--data", data, "--tasks", tasks, "--out", run, "--recipe", "smoke", "--resume",
		"--set", "train.batch=8", "--set", "train.images=160", "--set", "train.norm_images=16", "--set", "train.baselines=[]",
	}
	first := mustSDR(t, args...)
	before := stamps(t, run)
	again := func() string {
		out := mustSDR(t, args...)
		require.Equal(t, before, stamps(t, run))
		return out
	}
	images, err := filepath.Glob(filepath.Join(data, "*", "*", "*.jpg"))
	require.NoError(t, err)
	require.Greater(t, len(images), 2)
	require.NoError(t, os.WriteFile(filepath.Join(data, ".DS_Store"), nil, 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(data, "notes.txt"), nil, 0o644))
	require.NoError(t, os.Chtimes(images[0], time.Now(), time.Now()))
	require.Equal(t, first, again())

	refused := func(change string) {
		t.Helper()
		_, stderr, code := sdr(t, args...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, run+" began with other data: "+change+"; give the same --data, or start over with --overwrite")
		require.Equal(t, before, stamps(t, run))
	}
	one, err := os.ReadFile(images[1])
	require.NoError(t, err)
	require.NoError(t, os.Rename(images[0], images[0]+"~"))
	refused(images[0] + " is gone")
	require.NoError(t, os.WriteFile(images[0], one, 0o644))
	refused(images[0] + " has changed")
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(images[0]), "A.jpg"), one, 0o644))
	refused(filepath.Join(filepath.Dir(images[0]), "A.jpg") + " is new (2 files differ)")
	require.NoError(t, os.Remove(filepath.Join(filepath.Dir(images[0]), "A.jpg")))
	require.NoError(t, os.Rename(images[0]+"~", images[0]))
	require.Equal(t, first, again())

	grown, err := filepath.Glob(filepath.Join(tasks, "fruit", "test", "*", "*.jpg"))
	require.NoError(t, err)
	require.NoError(t, os.Remove(grown[0]))
	require.NotEqual(t, first, again(), "the task has one test image less")
}

// One task that cannot be used does not cost the others their figures, nor the training.
func TestDeadTask(t *testing.T) {
	dir := t.TempDir()
	tasks, run := filepath.Join(dir, "tasks"), filepath.Join(dir, "run")
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(folder)))
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "bad"), os.DirFS(folder)))
	require.NoError(t, os.Rename(filepath.Join(tasks, "bad", "test", "Banana"), filepath.Join(tasks, "bad", "test", "Grape")))
	want := `task bad was left out: ` + filepath.Join(tasks, "bad", "test") + `: class "Grape" is not among`
	out := mustSDR(t, quickRun(run, "--tasks", tasks)...)
	require.Contains(t, out, "fruit")
	require.Contains(t, out, want)
	results, err := os.ReadFile(filepath.Join(run, "results.json"))
	require.NoError(t, err)
	require.Contains(t, string(results), `"task": "bad"`)
	require.Contains(t, mustSDR(t, "evaluate", "--run", run, "--tasks", tasks), want)
	require.NoError(t, os.RemoveAll(filepath.Join(tasks, "fruit")))
	_, stderr, code := sdr(t, "evaluate", "--run", run, "--tasks", tasks)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "none of the 1 tasks in "+tasks+" can be used; the first, bad: ")
}

func TestHelp(t *testing.T) {
	require.Contains(t, mustSDR(t, "--version"), "sdr version")
	for _, command := range []string{"pretrain", "evaluate", "route", "customize", "finetune", "extend", "study", "embed", "predict", "export", "inspect"} {
		out := mustSDR(t, command, "--help")
		require.Contains(t, out, "Examples:")
		require.NotContains(t, out, "--environment_type", "Beam's flags are hidden")
	}
	for _, command := range []string{"pretrain", "extend", "embed"} {
		for _, kind := range imageio.Kinds() {
			require.Contains(t, mustSDR(t, command, "--help"), kind)
		}
	}
	require.Contains(t, mustSDR(t, "completion", "bash"), "sdr")
}
