package dense_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestMatMul compares with gorgonia's own product on small integers, which are exact in any order of summation.
func TestMatMul(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	engine := dense.NewEngine(pool)
	rapid.Check(t, func(t *rapid.T) {
		dim := rapid.IntRange(1, 20)
		m, k, n := dim.Draw(t, "m"), dim.Draw(t, "k"), dim.Draw(t, "n")
		matrix := func(name string, rows, cols int) (ours, theirs *tensor.Dense) {
			ints := rapid.SliceOfN(rapid.IntRange(-9, 9), rows*cols, rows*cols).Draw(t, name)
			data := make([]float32, len(ints))
			for i, v := range ints {
				data[i] = float32(v)
			}
			trans := rapid.Bool().Draw(t, "transpose "+name)
			if trans {
				rows, cols = cols, rows
			}
			ours = engine.Matrix(data, rows, cols)
			theirs = tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(data))
			if trans {
				require.NoError(t, ours.T())
				require.NoError(t, theirs.T())
			}
			return ours, theirs
		}
		a, a0 := matrix("a", m, k)
		b, b0 := matrix("b", k, n)
		got, err := tensor.MatMul(a, b)
		require.NoError(t, err)
		want, err := tensor.MatMul(a0, b0)
		require.NoError(t, err)
		require.Equal(t, want.Shape(), got.Shape())
		require.Equal(t, want.Data(), got.Data())
	})
}

func TestMatMulRejects(t *testing.T) {
	pool := kernels.NewPool(1)
	engine := dense.NewEngine(pool)
	a := engine.Matrix(make([]float32, 6), 2, 3)
	doubles := tensor.New(tensor.WithShape(3, 2), tensor.Of(tensor.Float64))
	require.ErrorContains(t, engine.MatMul(a, doubles, a), "give a float32 matrix")
	require.ErrorContains(t, engine.MatMul(a, a, a), "do not fit")
}
