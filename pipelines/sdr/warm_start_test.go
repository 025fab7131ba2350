package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// writeWeights writes a model file of random weights and BatchNorm statistics.
func writeWeights(t *testing.T, path string, width int, seed uint64) *nn.Model {
	t.Helper()
	m := &nn.Model{Backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: width}}
	l := nn.NewLayout(m.Backbone, nn.Heads{})
	m.Params, m.Stats = make([]float32, l.NumParams), make([]float32, l.NumStats)
	random := rng.New(seed, rng.Weights)
	l.Init(m.Params, random)
	for i := range m.Stats {
		m.Stats[i] = .5 + random.Float32()
	}
	var data bytes.Buffer
	require.NoError(t, nn.SaveModel(&data, m.Backbone, nn.Heads{}, m.Params, m.Stats, nil))
	require.NoError(t, os.WriteFile(path, data.Bytes(), 0o644))
	return m
}

// A training begins with the weights of --init, on every runner and in bins; the net random is the file's, with its
// BatchNorm statistics. The run goes on with these weights only.
func TestWarmStart(t *testing.T) {
	dir := t.TempDir()
	file, other, wide := filepath.Join(dir, "a.safetensors"), filepath.Join(dir, "b.safetensors"), filepath.Join(dir, "wide.safetensors")
	want := writeWeights(t, file, 4, 7)
	writeWeights(t, other, 4, 8)
	writeWeights(t, wide, 5, 7)
	still := []string{"--set", "train.lr=0", "--set", "train.images=640", "--set", "train.baselines=[random, unified]"} // weights stay
	args := func(out string, more ...string) []string {
		return quickRun(filepath.Join(dir, out), append(still, more...)...)
	}

	_, stderr, code := sdr(t, args("run", "--init", wide)...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, stderr, "--init "+wide+": nn: load backbone: the file is not of resnet18 of width 4 with the small stem: conv1.weight has shape [5 3 3 3]")
	require.Contains(t, stderr, "; it is of resnet18 of width 5 with the small stem: set backbone.arch=resnet18, backbone.width=5 and backbone.stem=small")
	require.NoDirExists(t, filepath.Join(dir, "run"))

	mustSDR(t, args("run", "--init", file)...)
	run := filepath.Join(dir, "run")
	begun := weights(t, run)
	for _, name := range []string{"phase0", "unified", "root", "0.1", "random"} {
		m, err := nn.LoadModel(bytes.NewReader(begun[name+".safetensors"]))
		require.NoError(t, err, name)
		require.Equal(t, want.Params, m.WithoutHeads().Params, name)
		if name == "random" {
			require.Equal(t, want.Stats, m.WithoutHeads().Stats)
		} else {
			require.NotEqual(t, want.Stats, m.WithoutHeads().Stats, "%s has those of its own images", name)
		}
	}
	require.Contains(t, mustSDR(t, "inspect", run), "init     "+file+" (digest ")
	mustSDR(t, args("direct", "--init", file, "--runner", "direct")...)
	sameWeights(t, begun, weights(t, filepath.Join(dir, "direct")))
	mustSDR(t, args("bins", "--init", file, "--set", "train.rounds.bins=2", "--set", "train.baselines=[]")...)
	m, err := nn.LoadModel(bytes.NewReader(weights(t, filepath.Join(dir, "bins"))["0.1.safetensors"]))
	require.NoError(t, err)
	require.Equal(t, want.Params, m.WithoutHeads().Params)

	for _, more := range [][]string{{"--resume"}, {"--resume", "--init", other}} {
		_, stderr, code := sdr(t, args("run", more...)...)
		require.Equal(t, exitUsage, code)
		require.Contains(t, stderr, "began with other weights: "+file)
		require.Contains(t, stderr, "give the same --init")
	}
	moved := filepath.Join(dir, "moved.safetensors")
	require.NoError(t, os.Rename(file, moved))
	for _, lost := range []string{"init.safetensors", "random/manifest.json", "models/random.safetensors", "checkpoints/random.safetensors"} {
		require.NoError(t, os.Remove(filepath.Join(run, lost)))
	}
	mustSDR(t, args("run", "--resume", "--init", moved)...)
	sameWeights(t, begun, weights(t, run))
}
