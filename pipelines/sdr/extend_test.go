package main

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/extend"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// TestExtend takes new images into a run: the same ones again, and those of another kind, which get a sub-net. The new run
// needs the old one no more, serves all other commands and can be extended in turn.
func TestExtend(t *testing.T) {
	dir := t.TempDir()
	first, second := filepath.Join(dir, "first"), filepath.Join(dir, "second")
	cells, other := testdata+"/pool/blood_cells.parquet", testdata+"/pool/fashion_mnist.parquet" // far from each other for any net
	pretrain := quickRun(first, "--set", "train.baselines=[]")
	pretrain[slices.Index(pretrain, "--data")+1] = cells
	mustSDR(t, pretrain...)
	want := weights(t, first)

	same := filepath.Join(dir, "same")
	out := mustSDR(t, "extend", "--run", first, "--data", cells, "--out", same)
	require.Regexp(t, `1,270 new images, 1?[0-9] of them far from all old subsets; 0 new subsets`, out)
	sameWeights(t, want, weights(t, same))

	out = mustSDR(t, "extend", "--run", first, "--data", other, "--data", folder, "--max-bad", "0.1", "--out", second, "--images", "256")
	require.NotContains(t, out, "; 0 new subsets")
	require.Contains(t, out, "new, from ")
	direct := filepath.Join(dir, "direct")
	mustSDR(t, "extend", "--run", first, "--data", other, "--data", folder, "--max-bad", "0.1", "--out", direct, "--images", "256", "--runner", "direct")
	extended := weights(t, second)
	for _, lost := range [][]string{{"extend"}, {"extend", "partition"}, {"extend", "partition", "assign", "features"}} {
		for _, stage := range lost { // as if killed before its end
			require.NoError(t, os.Remove(filepath.Join(direct, stage, "manifest.json")))
		}
		mustSDR(t, "extend", "--run", first, "--data", other, "--data", folder, "--max-bad", "0.1", "--out", direct, "--images", "256", "--resume")
		sameWeights(t, extended, weights(t, direct))
	}
	sameWeights(t, extended, weights(t, direct))
	sameWeights(t, want, weights(t, first))
	subsets, err := arrowio.LoadRows[pipelines.ExtendedSubset](t.Context(), filepath.Join(second, "subsets.parquet"))
	require.NoError(t, err)
	made := slices.DeleteFunc(slices.Clone(subsets), func(s pipelines.ExtendedSubset) bool { return s.Parent == "" })
	require.NotEmpty(t, made)
	require.Len(t, subsets, 4+len(made))
	require.Len(t, extended, len(want)+len(made))
	isNew := map[string]bool{}
	for _, s := range made {
		isNew[s.Subset] = true
		require.Contains(t, extended, s.Subset+".safetensors")
		onlyOwnWeights(t, second, s)
	}
	for name := range want {
		require.Equal(t, want[name], extended[name])
		a, err := os.Stat(filepath.Join(first, "models", name))
		require.NoError(t, err)
		b, err := os.Stat(filepath.Join(second, "models", name))
		require.NoError(t, err)
		require.True(t, os.SameFile(a, b))
	}
	counts := map[string]int64{}
	images, err := arrowio.LoadRows[pipelines.AssignedImage](t.Context(), filepath.Join(second, "assigned.parquet"))
	require.NoError(t, err)
	require.Len(t, images, 1600+36)
	for _, im := range images {
		counts[im.Code]++
		require.Equal(t, im.Far, isNew[im.Code])
	}
	for _, s := range subsets {
		require.Equal(t, s.New, counts[s.Subset])
	}

	// nothing is left of the old run but in the new one
	require.NoError(t, os.RemoveAll(first))
	var status struct {
		Subsets   map[string]int64
		Agreement *float64
		Run       struct {
			Data []string
		}
		Nets []struct {
			Name  string
			Steps int
		}
	}
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, "inspect", second, "--format", "json")), &status))
	require.Equal(t, []string{cells, other, folder}, status.Run.Data)
	require.EqualValues(t, 1270+1600+36, status.Subsets["0"]+status.Subsets["1"])
	require.NotNil(t, status.Agreement, "the shards are there")
	for _, s := range made {
		require.Equal(t, s.New, status.Subsets[s.Subset])
		require.Contains(t, status.Nets, struct {
			Name  string
			Steps int
		}{s.Subset, 8})
	}
	require.Contains(t, mustSDR(t, "inspect", second), "extend")

	tasks := filepath.Join(dir, "tasks")
	require.NoError(t, os.CopyFS(filepath.Join(tasks, "fruit"), os.DirFS(folder)))
	routed := filepath.Join(dir, "routed")
	mustSDR(t, "route", "--run", second, "--task", filepath.Join(tasks, "fruit"), "--out", routed)
	scores, err := arrowio.LoadRows[route.Score](t.Context(), filepath.Join(routed, "scores.parquet"))
	require.NoError(t, err)
	tried := map[string]bool{}
	for _, s := range scores {
		tried[s.Subnet+".safetensors"] = s.Candidate
	}
	delete(extended, "phase0.safetensors")
	require.Equal(t, slices.Sorted(maps.Keys(extended)), slices.Sorted(maps.Keys(tried)))
	require.True(t, tried[made[0].Subset+".safetensors"])
	require.Contains(t, mustSDR(t, "evaluate", "--run", second, "--tasks", tasks), "fruit")
	mustSDR(t, "customize", "--run", second, "--task", filepath.Join(tasks, "fruit"), "--out", filepath.Join(dir, "mine"), "--images", "64")
	mustSDR(t, "export", "--run", second, "--subnet", made[0].Subset, "--out", filepath.Join(dir, "new.safetensors"))

	third := filepath.Join(dir, "third")
	require.Contains(t, mustSDR(t, "extend", "--run", second, "--data", other, "--out", third), "; 0 new subsets")

	refused := func(want string, args ...string) {
		t.Helper()
		_, log, code := sdr(t, append([]string{"extend", "--data", other}, args...)...)
		require.Equal(t, exitUsage, code, log)
		require.Contains(t, log, want)
	}
	refused("already holds a run; continue it with --resume, replace it with --overwrite", "--run", second, "--out", third)
	refused("is the run to extend", "--run", second, "--out", second+"/", "--overwrite")
	mustSDR(t, "extend", "--run", second, "--data", folder, "--max-bad", "0.1", "--out", third, "--overwrite")
	for _, part := range []string{"partition/whitening", "features"} {
		require.NoError(t, os.RemoveAll(filepath.Join(third, part)))
		refused(filepath.Base(part), "--run", third, "--out", filepath.Join(dir, "none"))
	}
	small := []string{
		"pretrain", "--data", folder, "--recipe", "smoke", "--set", "train.batch=8", "--set", "train.images=160",
		"--set", "train.norm_images=16", "--set", "train.baselines=[]", "--set", "train.phases=[]",
	}
	for _, c := range []struct{ want, set string }{{"has no sub-nets (paths: 1x1x1x1)", "paths=1x1x1x1"}, {"has partition.method random", "partition.method=random"}} {
		run := filepath.Join(dir, c.set)
		mustSDR(t, append(slices.Clone(small), "--set", c.set, "--out", run)...)
		refused(c.want, "--run", run, "--out", filepath.Join(dir, "none"))
	}
	require.NoDirExists(t, filepath.Join(dir, "none"))
}

// onlyOwnWeights checks that a new sub-net differs from its parent in the individual weights of the last level only.
func onlyOwnWeights(t *testing.T, run string, made pipelines.ExtendedSubset) {
	t.Helper()
	load := func(name string) *inference.Model {
		m, err := inference.Load(t.Context(), filepath.Join(run, "models", name+".safetensors"))
		require.NoError(t, err)
		return m
	}
	text, err := os.ReadFile(filepath.Join(run, "recipe.yaml"))
	require.NoError(t, err)
	r, err := recipe.Parse(text)
	require.NoError(t, err)
	grown, parent := load(made.Subset), load(made.Parent)
	nets, err := sdrnet.New(nn.NewLayout(r.Backbone, r.Heads()), extend.Own(r), parent.Params, nil, nil)
	require.NoError(t, err)
	nets.Split()
	changed := 0
	for _, span := range nets.Individual(0) {
		for i := span.From; i < span.To; i++ {
			if grown.Params[i] != parent.Params[i] {
				changed++
			}
			grown.Params[i] = parent.Params[i]
		}
	}
	require.Greater(t, changed, 100)
	require.Equal(t, parent.Params, grown.Params)
}
