package main

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/study"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// writeStudy writes a study file whose trainings take a few steps, and what it refers to. Arms are lines of YAML.
func writeStudy(t *testing.T, dir string, arms ...string) string {
	t.Helper()
	t.Setenv("SDR_TEST_FIXTURES", testdata+"/fixtures")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "base.yaml"), []byte(`
name: base
input: {crop: 12}
backbone: {width: 2}
paths: 1x1x1x2
partition: {iterations: 1, whiten: false, balance: 0}
ssl: {hidden: 8, dim: 8, predictor: 8}
train: {batch: 8, images: 160, norm_images: 16}
`), 0o644))
	tasks := filepath.Join(dir, "tasks")
	if _, err := os.Stat(tasks); err != nil {
		require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(folder)))
	}
	file := filepath.Join(dir, "tiny.yaml")
	text := "data: [$SDR_TEST_FIXTURES/folder/train]\ntasks: " + tasks + "\nrecipe: " + filepath.Join(dir, "base.yaml") + "\ncustomize: {images: 16}\narms:\n  " + strings.Join(arms, "\n  ") + "\n"
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	return file
}

// manifests returns the time of change of every manifest of a study, by the stage's folder.
func manifests(t *testing.T, dir string) map[string]time.Time {
	t.Helper()
	all := map[string]time.Time{}
	paths, err := filepath.Glob(filepath.Join(dir, "*", "*", "manifest.json"))
	require.NoError(t, err)
	for _, p := range paths {
		info, err := os.Stat(p)
		require.NoError(t, err)
		stage, err := filepath.Rel(dir, filepath.Dir(p))
		require.NoError(t, err)
		all[stage] = info.ModTime()
	}
	return all
}

func studyResults(t *testing.T, dir string) (rows []study.Result) {
	t.Helper()
	recs, err := arrowio.LoadParquet(t.Context(), filepath.Join(dir, "results.parquet"))
	require.NoError(t, err)
	for _, rec := range recs {
		got, err := record.Rows[study.Result](record.New(rec))
		require.NoError(t, err)
		rows = append(rows, got...)
	}
	return rows
}

// TestStudy runs a study, kills and resumes it, and extends it.
func TestStudy(t *testing.T) {
	dir := t.TempDir()
	early, late := "early: {train: {phases: [0.3]}}", "late: {train: {phases: [0.6]}}"
	file := writeStudy(t, dir, early, late)
	whole := filepath.Join(dir, "whole")
	out := mustSDR(t, "study", file, "--out", whole, "--plan")
	require.Contains(t, out, "2 trainings share 26 stages, of which 0 are done and 26 are to do; 576 images to train on\n")
	require.NoDirExists(t, whole)

	// Arms that differ only in when they split share the images, the random and the unified net.
	var printed study.Results
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, "study", file, "--out", whole, "--format", "json")), &printed))
	count := map[string]int{}
	first := manifests(t, whole)
	for stage := range first {
		count[filepath.Dir(stage)]++
	}
	require.Equal(t, map[string]int{
		"ingest": 1, "phase0": 2, "features": 2, "partition": 2, "sdr": 2, "unified": 1, "unified_subset_batches": 2, "random": 1, "route": 3, "evaluate": 8, "customize": 2,
	}, count)
	results := studyResults(t, whole)
	require.Equal(t, printed.Results, results)
	value := map[string]float64{}
	for _, r := range results {
		value[r.Arm+" "+r.Net] = r.Value
	}
	require.Len(t, value, 2*9)
	require.Equal(t, value["early unified"], value["late unified"])
	require.Equal(t, value["early random"], value["late random"])
	require.FileExists(t, filepath.Join(whole, "comparisons.parquet"))
	require.FileExists(t, filepath.Join(whole, "means.parquet"))
	log, err := os.ReadFile(filepath.Join(whole, "train.log"))
	require.NoError(t, err)
	require.Contains(t, string(log), `number="26 of 26" for="late, 160 images, seed 1"`)
	source, err := os.ReadFile(filepath.Join(whole, "study.html"))
	require.NoError(t, err)
	doc, err := html.Parse(bytes.NewReader(source))
	require.NoError(t, err)
	charts := 0
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == "svg" {
			charts++
		}
	}
	require.Equal(t, 1+2, charts)
	require.Contains(t, string(source), "late: {train: {phases: [0.6]}}")

	// A study that was killed computes only the rest.
	killed := filepath.Join(dir, "killed")
	c := program(t, "study", file, "--out", killed)
	require.NoError(t, c.Start())
	for len(manifests(t, killed)) < 8 {
		time.Sleep(20 * time.Millisecond)
	}
	_ = c.Process.Kill()
	_ = c.Wait()
	before := manifests(t, killed)
	require.Less(t, len(before), 26)
	mustSDR(t, "study", file, "--out", killed)
	after := manifests(t, killed)
	require.Len(t, after, 26)
	for stage, at := range before {
		require.Equal(t, at, after[stage], stage)
	}
	require.Equal(t, results, studyResults(t, killed))

	// An arm more costs only what is new, and the others keep their results.
	file = writeStudy(t, dir, early, late, "shuffled: {train: {phases: [0.3]}, partition: {method: random}}")
	require.Contains(t, mustSDR(t, "study", file, "--out", whole, "--plan"), "of which 26 are done and 8 are to do; 256 images")
	require.Contains(t, mustSDR(t, "study", file, "--out", whole), "shuffled")
	extended := manifests(t, whole)
	require.Len(t, extended, 34)
	for stage, at := range first {
		require.Equal(t, at, extended[stage], stage)
	}
	require.Equal(t, results, studyResults(t, whole)[:len(results)])
	text, err := os.ReadFile(filepath.Join(whole, "study.yaml"))
	require.NoError(t, err)
	require.Contains(t, string(text), "shuffled")
}

// TestStudySizes compares arms with images of different sizes, testing on halves of the training images.
func TestStudySizes(t *testing.T) {
	dir := t.TempDir()
	file := writeStudy(t, dir, "small: {input: {size: 16}}", "large:")
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, append([]byte("halves: true\n"), text...), 0o644))
	out := filepath.Join(dir, "out")
	require.Contains(t, mustSDR(t, "study", file, "--out", out, "--format", "csv"), "small,160,knn,fruit,")
	ingested, err := filepath.Glob(filepath.Join(out, "ingest", "*", "dead-letter.parquet"))
	require.NoError(t, err)
	require.Len(t, ingested, 2)
	for metrics, want := range map[string]string{
		"{fruit: ap}":    `metrics: fruit: metric "ap": want top1, mean_per_class or map11`,
		"{nuts: top1}":   "metrics: there is no task nuts",
		"{fruit: map11}": "task fruit: its metric is map11, but a study compares accuracies",
		"fruit":          "metrics: ",
	} {
		require.NoError(t, os.WriteFile(file, append([]byte("metrics: "+metrics+"\n"), text...), 0o644))
		_, stderr, code := sdr(t, "study", file, "--out", out)
		require.Equal(t, 2, code, metrics)
		require.Contains(t, stderr, want)
	}
	require.NoError(t, os.WriteFile(file, append([]byte("halves: true\n"), text...), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tasks", "fruit", "task.yaml"), []byte("metric: map11"), 0o644))
	_, stderr, code := sdr(t, "study", file, "--out", out)
	require.Equal(t, 2, code)
	require.Contains(t, stderr, "task fruit: its metric is map11, but a study compares accuracies")
	for _, r := range studyResults(t, out) {
		if right := r.Value * 9 / 100; r.Net != study.MeanSubnet {
			require.InDelta(t, math.Round(right), right, 1e-6, "half of 18 training images")
		}
	}
}

// TestStudyHelp loads the file in the help text, which has every key.
func TestStudyHelp(t *testing.T) {
	_, text, _ := strings.Cut(mustSDR(t, "study", "--help"), "FILE is YAML:\n")
	text, _, found := strings.Cut(text, "\ndata, tasks, init and recipe")
	require.True(t, found)
	for f := range reflect.TypeFor[study.Keys]().Fields() {
		require.Contains(t, text, "\n  "+f.Tag.Get("yaml")+":")
	}
	file := filepath.Join(t.TempDir(), "help.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o644))
	t.Setenv("POOL", "pool")
	t.Setenv("WEIGHTS", "weights.safetensors")
	t.Setenv("TASKS", "tasks")
	f, err := study.Load(file)
	require.NoError(t, err)
	require.Len(t, f.Cells, 3*2*3)
}

// TestStudyWarmStart begins the trainings of a study with weights, which the net random keeps, and refuses arms whose backbone
// is another.
func TestStudyWarmStart(t *testing.T) {
	dir := t.TempDir()
	file, out, weights := writeStudy(t, dir, "small: {train: {lr: 0}}"), filepath.Join(dir, "study"), filepath.Join(dir, "weights.safetensors")
	want := writeWeights(t, weights, 2, 7)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	t.Setenv("SDR_TEST_WEIGHTS", weights)
	text = append([]byte("init: $SDR_TEST_WEIGHTS\n"), text...)
	require.NoError(t, os.WriteFile(file, text, 0o644))
	mustSDR(t, "study", file, "--out", out)
	for _, net := range []string{"random", "unified"} {
		paths, err := filepath.Glob(filepath.Join(out, net, "*", "models", net+".safetensors"))
		require.NoError(t, err)
		require.Len(t, paths, 1)
		data, err := os.ReadFile(paths[0])
		require.NoError(t, err)
		m, err := nn.LoadModel(bytes.NewReader(data))
		require.NoError(t, err)
		require.Equal(t, want.Params, m.WithoutHeads().Params, net)
	}
	require.Contains(t, mustSDR(t, "study", file, "--out", out, "--plan"), "0 are to do")
	writeWeights(t, weights, 2, 8)
	require.NotContains(t, mustSDR(t, "study", file, "--out", out, "--plan"), " 0 are to do", "with other weights")

	require.NoError(t, os.WriteFile(file, append(text, "  wide: {backbone: {width: 3}}\n"...), 0o644))
	_, stderr, code := sdr(t, "study", file, "--out", out)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "init, for the arm wide: "+weights+": nn: load backbone: the file is not of resnet18 of width 3")
}
