package cuda

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// chosen is a convolution that all kinds of algorithms can compute.
var chosen = kernels.Conv{N: 2, H: 5, W: 6, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}

// TestChoose has convolutions choose the fastest algorithm, as simulated, and others take over the table's choice.
func TestChoose(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	table, err := kernels.OpenTuning(filepath.Join(t.TempDir(), "tuning.json"))
	require.NoError(t, err)
	others, err := kernels.OpenTuning(filepath.Join(t.TempDir(), "tuning.json"))
	require.NoError(t, err)
	for _, trial := range []struct {
		name  string
		costs map[string]float32
		table *kernels.Tuning
		want  string
		finds int // calls of cudnnFind
	}{
		{"cuDNN's second", map[string]float32{"algorithm 1": .3}, nil, "cuDNN algorithm 1, math 3, workspace 2000", 1},
		{"a kernel's", map[string]float32{"conv_forward_64x8": .4, "algorithm 2": .5}, nil, "conv_forward_64x8", 1},
		{"much faster", map[string]float32{"algorithm 2": .01}, nil, "cuDNN algorithm 2, math 3, workspace 1000", 1},
		{"for the table", map[string]float32{"conv_forward_64x8": .2}, table, "conv_forward_64x8", 1},
		{"from the table", map[string]float32{"algorithm 2": .2}, table, "conv_forward_64x8", 0},
		{"an engine", map[string]float32{"cuDNN engine 1 2=5 13=1": .3, "cuDNN engine 7 2=1": .2}, nil, "cuDNN engine 1 2=5 13=1", 1},
		{"an engine for the table", map[string]float32{"cuDNN engine 1 2=5 13=1": .3}, others, "cuDNN engine 1 2=5 13=1", 1},
		{"an engine from the table", map[string]float32{"algorithm 2": .2}, others, "cuDNN engine 1 2=5 13=1", 0},
	} {
		t.Log(trial.name) // some depend on the one before
		f := newFake(t, ssl.FP32)
		f.costs = trial.costs
		how, err := chooseOnFake(t, f, trial.table, chosen)
		require.NoError(t, err)
		require.Equal(t, trial.want, how.String())
		require.Equal(t, trial.finds, f.calls["cudnnFind"])
	}
}

// chooseOnFake has a simulated GPU choose an algorithm for the forward pass of a convolution by a table, if there is one.
func chooseOnFake(t *testing.T, f *fake, table *kernels.Tuning, c kernels.Conv) (algorithm, error) {
	d, err := openDevice(f.api(), ssl.Device{Tuning: table}, f.p)
	require.NoError(t, err)
	d.growWorkspace()
	v := newConv(d, c, d.floats(c.KH*c.KW*c.Cin*c.Cout), Buffer{})
	v.Forward(d.floats(c.N*c.H*c.W*c.Cin), d.floats(c.N*c.OutH()*c.OutW()*c.Cout))
	failed := d.wait()
	how := d.algorithms[passKey{c, forward}]
	require.NoError(t, d.close())
	f.closed()
	return how, failed
}

// TestChooseDespiteFailures passes over engines that do not run, but not over what ends all work.
func TestChooseDespiteFailures(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	none := chosen // of this package's kernels
	none.Cout = 5
	for _, trial := range []struct {
		name   string
		shape  kernels.Conv
		set    func(*fake)
		want   string // algorithm
		failed string
	}{
		{"engines that do not run", none, func(f *fake) { f.engines = fakeEngines[:8] }, "cuDNN algorithm 2, math 3, workspace 1000", ""},
		{"and nothing else", none, func(f *fake) { f.engines, f.few = fakeEngines[:8], true }, "", "cuDNN has no algorithm for the forward of"},
		{"engines alone", none, func(f *fake) { f.few = true }, "cuDNN engine 1 2=1 13=0", ""},
		{"a kernel that does not run", chosen, func(f *fake) { f.broken = "conv_forward_64x8" }, "", "cuLaunchKernel of conv_forward_64x8"},
		{"an engine that ends all work", chosen, func(f *fake) { f.engines = []fakeEngine{{engine: engine{1, nil}, kills: true}} }, "", "cuStreamSynchronize"},
	} {
		for _, keep := range []bool{false, true} {
			var table *kernels.Tuning
			if keep {
				var err error
				table, err = kernels.OpenTuning(filepath.Join(t.TempDir(), "tuning.json"))
				require.NoError(t, err)
			}
			f := newFake(t, ssl.FP32)
			trial.set(f)
			how, err := chooseOnFake(t, f, table, trial.shape)
			if trial.failed != "" {
				require.ErrorContains(t, err, trial.failed, trial.name)
			} else {
				require.NoError(t, err, trial.name)
				require.Equal(t, trial.want, how.String(), trial.name)
			}
		}
	}
}

// TestChooseWithoutTable chooses if the table cannot be written.
func TestChooseWithoutTable(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path := filepath.Join(t.TempDir(), "tuning.json")
	table, err := kernels.OpenTuning(path)
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(path, 0o755))
	name := "cuDNN engine 1 2=5 13=1"
	f := newFake(t, ssl.FP32)
	f.costs = map[string]float32{name: .1}
	how, err := chooseOnFake(t, f, table, chosen)
	require.NoError(t, err)
	require.Equal(t, name, how.String())
}

// TestPlansWithoutCublasLt leaves cuDNN's graph interface alone if it would not find the cublasLt that it uses, even where a
// table names one of its engines.
func TestPlansWithoutCublasLt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	name := "cuDNN engine 1 2=5 13=1"
	for cudart, want := range map[uint64]string{13000: name, 13020: name, 12080: "conv_forward_64x8"} {
		f := newFake(t, ssl.FP32)
		f.cudart = cudart
		how, err := chooseOnFake(t, f, kernels.Prefer(name), chosen)
		require.NoError(t, err)
		require.Equal(t, want, how.String())
		require.Equal(t, want == name, f.calls[name] > 0)
	}
}
