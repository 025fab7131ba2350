package cuda

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// TestChoose has convolutions choose the fastest algorithm, as simulated, and others take over the table's choice.
func TestChoose(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := kernels.Conv{N: 2, H: 5, W: 6, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}
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
		func() { // the last depends on the one before
			t.Log(trial.name)
			f := newFake(t, ssl.FP32)
			f.costs = trial.costs
			d, err := openDevice(f.api(), ssl.Device{Tuning: trial.table}, ssl.FP32)
			require.NoError(t, err)
			d.growWorkspace()
			x, w := d.floats(c.N*c.H*c.W*c.Cin), d.floats(c.KH*c.KW*c.Cin*c.Cout)
			v := newConv(d, c, w, Buffer{})
			v.Forward(x, d.floats(c.N*c.H*c.W*c.Cout))
			require.NoError(t, d.wait())
			require.Equal(t, trial.want, d.algorithms[passKey{c, forward}].String())
			require.Equal(t, trial.finds, f.calls["cudnnFind"])
			require.NoError(t, d.close())
			f.closed()
		}()
	}
}

// TestPlansWithoutCublasLt asks cuDNN's heuristics for nothing if they would not find the cublasLt that they use.
func TestPlansWithoutCublasLt(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for cudart, want := range map[uint64]int{13000: 3, 13020: 3, 12080: 0} { // one of the three fails only when it runs
		f := newFake(t, ssl.FP32)
		f.cudart = cudart
		d, err := openDevice(f.api(), ssl.Device{}, ssl.FP32)
		require.NoError(t, err)
		d.growWorkspace()
		v := newConv(d, kernels.Conv{N: 2, H: 5, W: 6, Cin: 8, Cout: 8, KH: 3, KW: 3, Stride: 1, Pad: 1}, Buffer{}, Buffer{})
		list := v.plans(forward)
		require.Len(t, list, want)
		for _, how := range list {
			how.close()
		}
		require.NoError(t, d.close())
		f.closed()
	}
}
