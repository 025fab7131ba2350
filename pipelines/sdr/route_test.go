package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/arrowio"
)

// TestRouteMany routes tasks in one job: as each alone, also one that is added later, with a broken task beside them, with
// a beam, and among the nets of two runs of different architecture and input size.
func TestRouteMany(t *testing.T) {
	dir := t.TempDir()
	runs := filepath.Join(dir, "runs")
	mustSDR(t, quickRun(filepath.Join(runs, "a"))...)
	mustSDR(t, quickRun(filepath.Join(runs, "b"), "--set", "backbone.arch=mobilenet_v2", "--set", "backbone.width=2", "--set", "input.size=16")...)
	tasks := filepath.Join(dir, "tasks")
	copyTo := func(name, from string) {
		require.NoError(t, os.CopyFS(filepath.Join(tasks, name, "train"), os.DirFS(filepath.Join(folder, from))))
	}
	copyTo("fruit", "train")
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "oneclass", "train", "Banana"), os.DirFS(filepath.Join(folder, "train", "Banana"))))
	copyTo("unlabeled", "train/Banana") // without folders of classes
	image, err := os.ReadFile(filepath.Join(folder, "train", "Banana", "Banana_001.jpg"))
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Join(tasks, "lone", "train", "Banana"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(tasks, "lone", "train", "Banana", "1.jpg"), image, 0o644))
	rows := func(path string) []route.Score {
		all, err := arrowio.LoadRows[route.Score](t.Context(), path)
		require.NoError(t, err)
		return all
	}
	a := []string{"route", "--run", filepath.Join(runs, "a")}
	with := func(args []string, more ...string) []string { return append(append([]string{}, args...), more...) }

	out := filepath.Join(dir, "out")
	require.Contains(t, mustSDR(t, with(a, "--tasks", tasks, "--out", out, "--models", "--norm", "training")...), "1 task routed and 3 left out")
	dead, err := arrowio.LoadRows[route.Dead](t.Context(), filepath.Join(out, "dead-letter.parquet"))
	require.NoError(t, err)
	require.Len(t, dead, 3)
	for i, want := range []route.Dead{
		{Task: "lone", Reason: "at least two classes"}, {Task: "oneclass", Reason: "at least two classes"}, {Task: "unlabeled", Reason: "has no label"},
	} {
		require.Equal(t, want.Task, dead[i].Task)
		require.Contains(t, dead[i].Reason, want.Reason)
	}
	many := rows(filepath.Join(out, "scores.parquet"))

	alone := filepath.Join(dir, "alone")
	mustSDR(t, with(a, "--task", filepath.Join(tasks, "fruit"), "--out", alone, "--norm", "training")...)
	require.Subset(t, rows(filepath.Join(alone, "scores.parquet")), many)
	require.Equal(t, many, rows(filepath.Join(out, "fruit", "scores.parquet")))
	one, err := os.ReadFile(filepath.Join(alone, "model.safetensors"))
	require.NoError(t, err)
	delivered := filepath.Join(out, "fruit", "model.safetensors")
	same, err := os.ReadFile(delivered)
	require.NoError(t, err)
	require.Equal(t, one, same)
	shared, err := filepath.Glob(filepath.Join(out, "models", "*.safetensors"))
	require.NoError(t, err)
	require.Len(t, shared, 1)
	first, err := os.Stat(shared[0])
	require.NoError(t, err)
	second, err := os.Stat(delivered)
	require.NoError(t, err)
	require.True(t, os.SameFile(first, second))

	// What is known is not computed again.
	kept, err := filepath.Glob(filepath.Join(runs, "a", "routings", "*", "tasks", "*.parquet"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	before, err := os.Stat(kept[0])
	require.NoError(t, err)
	copyTo("pears", "test")
	require.Contains(t, mustSDR(t, with(a, "--tasks", filepath.Join(tasks, "[fp]*"), "--out", out, "--norm", "training")...), "2 tasks routed and 0 left out")
	after, err := os.Stat(kept[0])
	require.NoError(t, err)
	require.Equal(t, before.ModTime(), after.ModTime())
	both := rows(filepath.Join(out, "scores.parquet"))
	require.Equal(t, many, both[:len(many)])
	require.Len(t, both, 2*len(many))

	beam := filepath.Join(dir, "beam")
	mustSDR(t, with(a, "--task", filepath.Join(tasks, "fruit"), "--out", beam, "--beam", "1")...)
	visited := map[string]bool{}
	for _, s := range rows(filepath.Join(beam, "scores.parquet")) {
		visited[s.Subnet] = true
	}
	// the root and the baselines, two children of the root, and two of one of these
	require.Len(t, visited, 3+2+2)

	// A run whose folder cannot be written is used all the same, and nothing is left behind.
	foreign, mine := filepath.Join(dir, "foreign"), filepath.Join(dir, "mine")
	require.NoError(t, os.CopyFS(foreign, os.DirFS(filepath.Join(runs, "a"))))
	for _, kind := range []string{"routings", "evaluations", "customizings"} {
		require.NoError(t, os.RemoveAll(filepath.Join(foreign, kind)))
		require.NoError(t, os.WriteFile(filepath.Join(foreign, kind), nil, 0o644))
	}
	t.Setenv("TMPDIR", t.TempDir())
	mustSDR(t, "route", "--run", foreign, "--task", filepath.Join(tasks, "fruit"), "--out", mine, "--norm", "training")
	same, err = os.ReadFile(filepath.Join(mine, "model.safetensors"))
	require.NoError(t, err)
	require.Equal(t, one, same)
	mustSDR(t, "customize", "--run", foreign, "--task", filepath.Join(tasks, "fruit"), "--out", mine, "--images", "64")
	require.Contains(t, mustSDR(t, "evaluate", "--run", foreign, "--tasks", filepath.Dir(folder)), "routed - unified: ")
	left, err := os.ReadDir(os.TempDir())
	require.NoError(t, err)
	require.Empty(t, left)

	registry := filepath.Join(dir, "registry")
	mustSDR(t, "route", "--registry", runs, "--task", filepath.Join(tasks, "fruit"), "--out", registry)
	cost := map[string]float64{}
	for _, s := range rows(filepath.Join(registry, "scores.parquet")) {
		cost[filepath.Base(s.Run())] = s.Cost
	}
	require.Len(t, cost, 2)
	require.Less(t, cost["b"], cost["a"]/4)
	named := filepath.Join(dir, "named")
	mustSDR(t, with(a, "--run", filepath.Join(runs, "b"), "--task", filepath.Join(tasks, "fruit"), "--out", named)...)
	require.Equal(t, rows(filepath.Join(registry, "scores.parquet")), rows(filepath.Join(named, "scores.parquet")))

	for want, args := range map[string][]string{
		"either --task or --tasks": with(a, "--out", out),
		"--models goes with":       with(a, "--task", tasks, "--models", "--out", out),
		`no scorer "svm"`:          with(a, "--task", tasks, "--scorer", "svm", "--out", out),
		`no norm "batch"`:          with(a, "--task", tasks, "--norm", "batch", "--out", out),
		"give --run":               {"route", "--task", tasks, "--out", out},
		"has no run":               {"route", "--registry", tasks, "--task", tasks, "--out", out},
		"there are none":           with(a, "--tasks", filepath.Join(dir, "none*"), "--out", out),
	} {
		_, log, code := sdr(t, args...)
		require.Equal(t, 2, code, "%v\n%s", args, log)
		require.Contains(t, log, want)
	}
}

// TestRouteKilled kills a job of many tasks. Started again, it computes nothing twice that was done, and ends with the table of
// a job that was not killed.
func TestRouteKilled(t *testing.T) {
	dir := t.TempDir()
	run, tasks, out := filepath.Join(dir, "run"), filepath.Join(dir, "tasks"), filepath.Join(dir, "out")
	mustSDR(t, quickRun(run)...)
	const many = 20
	for i := range many {
		require.NoError(t, os.CopyFS(filepath.Join(tasks, fmt.Sprint("fruit", i), "train"), os.DirFS(filepath.Join(folder, "train"))))
	}
	done := func() map[string]time.Time {
		paths, err := filepath.Glob(filepath.Join(run, "routings", "*", "tasks", "*.parquet"))
		require.NoError(t, err)
		times := map[string]time.Time{}
		for _, path := range paths {
			info, err := os.Stat(path)
			require.NoError(t, err)
			times[path] = info.ModTime()
		}
		return times
	}
	args := []string{"route", "--run", run, "--tasks", tasks, "--out", out}
	c := program(t, args...)
	require.NoError(t, c.Start())
	for len(done()) < 2 {
		time.Sleep(5 * time.Millisecond)
	}
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	before := done()
	require.Less(t, len(before), many)
	table := func() []route.Score {
		require.Contains(t, mustSDR(t, args...), fmt.Sprintf("%d tasks routed and 0 left out", many))
		rows, err := arrowio.LoadRows[route.Score](t.Context(), filepath.Join(out, "scores.parquet"))
		require.NoError(t, err)
		return rows
	}
	resumed := table()
	after := done()
	require.Len(t, after, many)
	for path, at := range before {
		require.Equal(t, at, after[path])
	}
	require.NoError(t, os.RemoveAll(filepath.Join(run, "routings")))
	require.Equal(t, table(), resumed)
}

// TestRouteNearest compares the scorer nearest with how sdr extend assigns the same images.
func TestRouteNearest(t *testing.T) {
	dir := t.TempDir()
	run, grown, out := filepath.Join(dir, "run"), filepath.Join(dir, "grown"), filepath.Join(dir, "out")
	mustSDR(t, quickRun(run, "--set", "train.baselines=[unified]", "--set", "train.norm=[subset, all]")...)
	mustSDR(t, "extend", "--run", run, "--data", filepath.Join(folder, "train"), "--out", grown)
	images, err := arrowio.LoadRows[pipelines.AssignedImage](t.Context(), filepath.Join(grown, "assigned.parquet"))
	require.NoError(t, err)
	want := map[string]float64{"0.0": 0, "0.1": 0, "1.0": 0, "1.1": 0}
	for _, im := range images {
		want[im.Code] += 100 / float64(len(images))
	}
	args := []string{"route", "--run", run, "--task", folder, "--out", out, "--scorer", "nearest"}
	for _, runner := range []string{"prism", "direct"} {
		mustSDR(t, append(slices.Clone(args), "--runner", runner)...)
		scores, err := arrowio.LoadRows[route.Score](t.Context(), filepath.Join(out, "scores.parquet"))
		require.NoError(t, err)
		require.Len(t, scores, 4*2*2, "leaves with two kinds of statistics of training, and with the task's")
		for _, s := range scores {
			require.InDelta(t, want[s.Subnet[:3]], s.Score, 1e-9, s.Subnet)
			require.True(t, s.Candidate)
			require.LessOrEqual(t, s.Score, scores[0].Score)
		}
		require.Equal(t, "training", scores[0].Norm)
		require.Len(t, scores[0].Subnet, 3)
	}
	_, log, code := sdr(t, append(slices.Clone(args), "--beam", "1")...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, log, "does not score level by level")
	require.NoError(t, os.RemoveAll(filepath.Join(run, "partition", "whitening")))
	_, log, code = sdr(t, args...)
	require.Equal(t, exitFailed, code)
	require.Contains(t, log, filepath.Join("partition", "whitening")+" is empty or not there")
}
