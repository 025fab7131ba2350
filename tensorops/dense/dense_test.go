package dense_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// TestMatMul compares with gorgonia's own product on small integers, whose sums are exact in any order.
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

func TestRejects(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	engine := dense.NewEngine(pool)
	a := engine.Matrix(make([]float32, 6), 2, 3)
	doubles := tensor.New(tensor.WithShape(3, 2), tensor.Of(tensor.Float64))
	require.ErrorContains(t, engine.MatMul(a, doubles, a), "pass a float32 matrix")
	require.ErrorContains(t, engine.MatMul(a, a, a), "do not match")
	_, err := dense.Of(doubles)
	require.EqualError(t, err, "dense: the tensor's engine is a tensor.StdEng; make the tensor with dense.Engine.Matrix, or get it from record.Dense")
	_, _, _, err = dense.Rows(doubles)
	require.EqualError(t, err, "expected a float32 matrix, got a tensor of float64 with shape (3, 2)")
	_, _, _, err = dense.Rows(engine.Matrix(make([]float32, 6), 2, 3).ShallowClone())
	require.NoError(t, err)
	column, err := a.Slice(nil, tensor.S(0, 2))
	require.NoError(t, err)
	_, _, _, err = dense.Rows(column.(*tensor.Dense))
	require.ErrorContains(t, err, "expected a contiguous row-major matrix, got strides [3 1] for shape (2, 2)")
}

// TestRows checks that the values share memory with the tensor.
func TestRows(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	data := []float32{1, 2, 3, 4, 5, 6}
	m := dense.NewEngine(pool).Matrix(data, 3, 2)
	got, rows, cols, err := dense.Rows(m)
	require.NoError(t, err)
	require.Equal(t, []int{3, 2}, []int{rows, cols})
	require.Same(t, &data[0], &got[0])
	e, err := dense.Of(m)
	require.NoError(t, err)
	require.Same(t, pool, e.Pool())
}
