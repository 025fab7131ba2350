package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// A recipe file is edited, trains a MobileNetV2, and its sub-nets are exported as such.
func TestInit(t *testing.T) {
	dir := t.TempDir()
	file, trained := filepath.Join(dir, "mine.yaml"), filepath.Join(dir, "run")
	args := []string{
		"init", "--recipe", "smoke", "--out", file, "--set", "backbone.arch=mobilenet_v2", "--set", "backbone.width=4", "--set", "paths=1x1x2x2",
		"--set", "train.batch=32", "--set", "train.images=640", "--set", "train.norm_images=64", "--set", "train.baselines=[]", "--set", "partition.iterations=4",
	}
	require.Equal(t, file+"\n", mustSDR(t, args...))
	_, log, code := sdr(t, args...)
	require.Equal(t, exitUsage, code)
	require.Contains(t, log, "mine.yaml exists; replace it with --overwrite, or give another --out")
	mustSDR(t, append(args, "--overwrite")...)
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(text), "\n  arch: mobilenet_v2  # one of mobilenet_v2, resnet101,")

	mustSDR(t, "pretrain", "--recipe", file, "--data", testdata+"/pool/emoji.parquet", "--out", trained)
	require.Contains(t, mustSDR(t, "inspect", trained), "1.1")
	exported := filepath.Join(dir, "net.safetensors")
	mustSDR(t, "export", "--run", trained, "--subnet", "1.1", "--out", exported)
	f, err := os.Open(exported)
	require.NoError(t, err)
	defer f.Close()
	m, err := nn.LoadModel(f)
	require.NoError(t, err)
	require.Equal(t, nn.Backbone{Arch: "mobilenet_v2", Stem: "small", Width: 4}, m.Backbone)
	mustSDR(t, "embed", "--model", exported, "--data", folder, "--out", filepath.Join(dir, "features.parquet"))
}

func TestMan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "man1")
	mustSDR(t, "man", "--out", dir)
	for _, c := range newRoot().Commands() {
		text, err := os.ReadFile(filepath.Join(dir, "sdr-"+c.Name()+".1"))
		require.NoError(t, err)
		require.Contains(t, string(text), `.TH "SDR-`+strings.ToUpper(c.Name())+`" "1"`)
	}
	text, err := os.ReadFile(filepath.Join(dir, "sdr-pretrain.1"))
	require.NoError(t, err)
	require.Contains(t, string(text), "\n  ssl.temperature ", "lists keep their lines")
}

func TestCompletion(t *testing.T) {
	require.Contains(t, mustSDR(t, "__complete", "pretrain", "--set", "backbone.w"), "backbone.width=\t64 for torchvision's number of channels")
	require.Contains(t, mustSDR(t, "__complete", "init", "--recipe", ""), "laptop\n")
	require.Contains(t, mustSDR(t, "__complete", "evaluate", "--protocol", "few"), "fewshot5\n")
	require.Contains(t, mustSDR(t, "__complete", "bench", "--device", "c"), "cuda\n")
	require.Contains(t, mustSDR(t, "__complete", "route", "--log-level", "d"), "debug\n")
	require.Contains(t, mustSDR(t, "__complete", "export", "--format", "o"), "onnx\n")
}

func TestDoctorOfData(t *testing.T) {
	out := mustSDR(t, "doctor", "--data", testdata+"/fixtures/odd")
	require.Contains(t, out, "near-duplicates")
	require.Contains(t, mustSDR(t, "doctor", "--data", folder, "--format", "json"), `"unreadable": 0`)
	_, log, code := sdr(t, "doctor", "--data", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, exitUsage, code, log)
	_, log, code = sdr(t, "doctor", "--data", folder+"/train", "--data", folder)
	require.Zero(t, code)
	require.Equal(t, 1, strings.Count(log, "level=WARN"))
	require.Contains(t, log, "data are given twice: what both have counts twice\" data="+folder+"/train is_in="+folder+"\n")
}
