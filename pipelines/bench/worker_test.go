package bench

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// The test binary stands in for Python. These environment variables say how it behaves and where it writes its diary.
const (
	fakeMode  = "SDR_BENCH_FAKE"
	fakeDiary = "SDR_BENCH_DIARY"
)

// beWorker speaks the protocol of torch_worker.py.
func beWorker(mode string) {
	switch mode {
	case "no torch":
		fmt.Println(`{"error": "No module named 'torch'", "missing": "torch"}`)
		return
	case "crash":
		fmt.Fprintln(os.Stderr, "Traceback\nSegmentation fault")
		os.Exit(3)
	}
	fmt.Println(`{"torch": "9.9"}`)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var request map[string]any
		if err := json.Unmarshal(lines.Bytes(), &request); err != nil {
			panic(err)
		}
		switch {
		case mode == "no lightly":
			fmt.Println(`{"error": "No module named 'lightly'", "missing": "lightly"}`)
		case mode == "failing":
			fmt.Println(`{"error": "RuntimeError: out of memory"}`)
		case mode == "talkative":
			fmt.Println("hello")
		case request["run"] == nil:
			budget := request["budget"].(float64)
			note(fmt.Sprintf("prepare %v threads=%v budget=%v m=%v", request["case"], request["threads"], budget, request["m"]))
			fmt.Printf(`{"variant": "fast", "seconds": %v, "memory_mib": 12, "note": "half of it"}`+"\n", budget/2)
		default:
			note(fmt.Sprintf("theirs %v", request["run"]))
			fmt.Println(`{"seconds": 8, "wait": 2}`)
		}
	}
	note("end")
}

// note appends a line to the diary.
func note(line string) {
	f, err := os.OpenFile(os.Getenv(fakeDiary), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	fmt.Fprintln(f, line)
}

const shortly = time.Millisecond

// noted is a case that records its runs in the diary.
func noted(name string) benchmark {
	return benchmark{
		name: name, kind: "gemm", sizes: map[string]any{"m": 3}, threads: 1, flops: 1e9, images: 4,
		prepare: func(*kernels.Pool, [][]byte) (work, error) {
			return work{run: func() {
				note("ours")
				time.Sleep(shortly)
			}}, nil
		},
	}
}

// The sides take turns, each with as many runs as fill its time, and the result holds both sides' measurements.
func TestAlternation(t *testing.T) {
	diary := filepath.Join(t.TempDir(), "diary")
	t.Setenv(fakeMode, "good")
	t.Setenv(fakeDiary, diary)
	fresh := noted("fresh")
	fresh.memory = true
	var results []Result
	o := Options{Python: os.Args[0], Rounds: 3, Time: shortly}
	require.NoError(t, quick(o).measureAll(t.Context(), []benchmark{noted("first"), noted("second"), fresh}, func(r Result) error {
		results = append(results, r)
		return nil
	}))

	one := "ours\nours\nprepare gemm threads=1 budget=0.001 m=3\n" + strings.Repeat("ours\ntheirs 2\n", 3)
	text, err := os.ReadFile(diary)
	require.NoError(t, err)
	// One worker serves all cases, except that a case that measures memory gets a new one.
	require.Equal(t, one+one+"ours\nours\nend\n"+strings.TrimPrefix(one, "ours\nours\n")+"end\n", string(text))

	require.Len(t, results, 3)
	for _, r := range results {
		require.Equal(t, 4., r.TorchSeconds)
		require.Equal(t, 4., r.TorchSecondsMin)
		require.Equal(t, .25, r.TorchGFLOPS)
		require.Equal(t, 1., r.TorchImagesPerSecond)
		require.Equal(t, .25, r.TorchDataWait)
		require.Equal(t, 12., r.TorchMemoryMiB)
		require.Equal(t, []string{"fast", "9.9", "half of it"}, []string{r.TorchVariant, r.TorchVersion, r.TorchNote})
		require.InDelta(t, 4/r.Seconds, r.Ratio, 1e-9)
		require.Greater(t, r.Ratio, 1.)
	}
}

// If PyTorch's side cannot run, the error is one clear line.
func TestWorkerErrors(t *testing.T) {
	measure := func(python string) error {
		o := Options{Python: python, Rounds: 1, Time: time.Microsecond}
		b := matrices{m: 1, k: 1, n: 1}.benchmark(1)
		return quick(o).measureAll(t.Context(), []benchmark{b}, func(Result) error { return nil })
	}
	err := measure(filepath.Join(t.TempDir(), "python"))
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "give a Python with torch, or run `make bench-torch`")

	t.Setenv(fakeDiary, filepath.Join(t.TempDir(), "diary"))
	for _, c := range []struct {
		mode, message string
		usage         bool
	}{
		{"no torch", "cannot import torch (No module named 'torch'); install it with `" + os.Args[0] + " -m pip install", true},
		{"no lightly", "cannot import lightly (No module named 'lightly'); install", true},
		{"failing", os.Args[0] + ": RuntimeError: out of memory", false},
		{"talkative", `wrote "hello\n"; want a line of JSON`, false},
		{"crash", "exited unexpectedly (EOF); the last line of its log: Segmentation fault", false},
	} {
		t.Setenv(fakeMode, c.mode)
		err := measure(os.Args[0])
		require.ErrorContains(t, err, c.message)
		require.NotContains(t, err.Error(), "\n")
		if c.usage {
			require.ErrorAs(t, err, new(*run.UsageError))
		} else {
			require.NotErrorAs(t, err, new(*run.UsageError))
		}
	}
}

// The script follows the protocol, with a torch that computes nothing or cannot be imported.
func TestScript(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3")
	}
	packages := t.TempDir()
	t.Setenv("PYTHONPATH", packages)
	torch := func(text string) {
		require.NoError(t, os.WriteFile(filepath.Join(packages, "torch.py"), []byte(text), 0o600))
	}
	var results []Result
	measure := func(cases ...benchmark) error {
		o := Options{Python: python, Rounds: 2, Time: time.Millisecond}
		return quick(o).measureAll(t.Context(), cases, func(r Result) error {
			results = append(results, r)
			return nil
		})
	}

	torch(`import sys
from unittest.mock import MagicMock
def to(dtype, memory_format):
    if memory_format == "bad":
        raise RuntimeError("no such format\nand more")
    return torch
torch = MagicMock(__version__="9.9", channels_last="bad")
torch.rand.return_value.to = to
print("noise")
sys.modules[__name__] = torch
`)
	gemm := matrices{m: 3, k: 5, n: 7, transA: true}.benchmark(1)
	remembered := gemm
	remembered.memory = true
	require.NoError(t, measure(gemm, remembered))
	require.Len(t, results, 2)
	for _, r := range results {
		require.Equal(t, "9.9", r.TorchVersion)
		require.Contains(t, r.TorchVariant, "eager")
		require.Positive(t, r.TorchSeconds)
		require.Positive(t, r.Ratio)
	}
	require.Zero(t, results[0].TorchMemoryMiB)
	require.Zero(t, results[0].TorchNote)

	// A variant that fails is skipped.
	conv := layers(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 1}, 8, 1, Options{Threads: 1})[0]
	require.NoError(t, measure(conv))
	require.Contains(t, results[2].TorchVariant, "eager")
	require.Equal(t, "channels_last failed: RuntimeError: no such format", results[2].TorchNote)

	unknown := gemm
	unknown.kind = "other"
	require.ErrorContains(t, measure(unknown), "KeyError: 'other'")

	torch("raise ImportError('libtorch.so is damaged', name='torch')\n")
	err = measure(gemm)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "cannot import torch (libtorch.so is damaged)")
}
