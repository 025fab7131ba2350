package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/forecast"
)

// TestPlan measures this machine, and plans with that again and again.
func TestPlan(t *testing.T) {
	worker := filepath.Join(t.TempDir(), "worker.json")
	little := []string{"--set", "train.batch=16", "--set", "train.norm_images=64"}
	table := mustSDR(t, append([]string{
		"plan", "--recipe", "smoke", "--data", testdata + "/pool/emoji.parquet", "--time", "0s", "--device", "cpu",
		"--images", "10k", "--workers", "1,4", "--save-profile", worker,
	}, little...)...)
	for _, want := range []string{"10k", "100k", "INGEST", "PHASE0", "FEATURES", "PARTITION", "TRAIN", "UNIFIED"} {
		require.Contains(t, table, want)
	}
	args := []string{"plan", "--profile", worker, "--images", "10k,1B", "--workers", "1,4", "--format", "json", "--epochs", "0.5"}
	text := mustSDR(t, args...)
	require.Equal(t, text, mustSDR(t, args...))
	require.NotEqual(t, text, mustSDR(t, append(args, "--seed", "2", "--spread", "0.3")...))
	var read struct {
		Profile forecast.Profile
		Plans   []forecast.Plan
	}
	require.NoError(t, json.Unmarshal([]byte(text), &read))
	require.Contains(t, read.Profile.Recipe, "batch: 16")
	require.Len(t, read.Plans, 4)
	for i, p := range read.Plans {
		images, workers := []int64{1e4, 1e4, 1e9, 1e9}[i], []int{1, 4, 1, 4}[i]
		require.Equal(t, images, p.Images)
		require.Equal(t, images/2, p.Seen)
		require.Equal(t, []int{workers, workers}, []int{p.Workers, p.Bins})
		require.Equal(t, workers > 1, p.Rounds > 0)
	}
	require.Contains(t, mustSDR(t, append([]string{"plan", "--profile", worker, "--images", "5k", "--workers", "1", "--epochs", "0"}, "--set", "train.rounds.bins=2")...), "6.4k")

	bad := filepath.Join(t.TempDir(), "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte("{}"), 0o644))
	for _, c := range []struct{ args, want string }{
		{"--images many", `--images: "many" is not a number of images; want one such as 8154, 1.28M, 100M or 1B`},
		{"--workers 0", "--workers 0: want 1 to 4096"},
		{"--epochs -1", "--epochs -1: want a number above 0, or 0 for the recipe's train.images"},
		{"--spread 3", "--spread 3: want 0 to 2"},
		{"--time -1s", "--time -1s: want 0 or more"},
		{"--format csv", `"csv" for "--format" flag: want table or json`},
		{"--recipe none", "neither a built-in recipe"},
		{"--data none", "none"},
		{"--save-profile a.yaml", "give a name that ends in .json"},
		{"--profile none.json", "profile none.json: there is no such file"},
		{"--profile " + bad, "measure the machine again"},
		{"--profile " + worker + " --data x", "--profile and --data contradict each other"},
		{"--profile " + worker + " --recipe laptop", "the profile was measured with another input; measure the machine with this recipe"},
		{"--profile " + worker + " --set backbone.width=8", "another backbone"},
		{"--profile " + worker + " --workers 2 --set split.held_out=0.1", "with several bins, train.accumulate has to be 1 and split.held_out 0"},
		{"--profile " + worker + " --images 4", "4 images and 1 workers: train.images: 40 leaves no step of 16 images"},
		{"more", `unexpected argument "more"`},
	} {
		_, stderr, code := sdr(t, append([]string{"plan"}, strings.Fields(c.args)...)...)
		require.Equal(t, exitUsage, code, c.args)
		require.Contains(t, stderr, c.want)
	}
}

func TestBenchPipelineErrors(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--format csv", `"csv" for "--format" flag: want table or json`},
		{"--rounds 0", "--rounds 0: want at least 1"},
		{"--recipe none", "neither a built-in recipe"},
		{"--set nothing=1", "nothing"},
		{"--data none", "none"},
		{"more", `unexpected argument "more"`},
	} {
		_, stderr, code := sdr(t, append([]string{"bench", "pipeline"}, strings.Fields(c.args)...)...)
		require.Equal(t, exitUsage, code, c.args)
		require.Contains(t, stderr, c.want)
	}
}
