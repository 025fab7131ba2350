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

// TestVectors compares products with vectors, contiguous and columns of a matrix, with gorgonia's own.
func TestVectors(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	engine := dense.NewEngine(pool)
	rapid.Check(t, func(t *rapid.T) {
		m, k := rapid.IntRange(2, 9).Draw(t, "m"), rapid.IntRange(2, 9).Draw(t, "k")
		data := func(name string, n int) []float32 {
			s := make([]float32, n)
			for i := range s {
				s[i] = float32(rapid.IntRange(-9, 9).Draw(t, name))
			}
			return s
		}
		matrix, left, right := data("matrix", m*k), data("left", m), data("right", 2*k)
		strided := rapid.Bool().Draw(t, "strided")
		products := func(e tensor.Engine) (results []any) {
			dense := func(s []float32, shape ...int) *tensor.Dense {
				return tensor.New(tensor.WithShape(shape...), tensor.WithBacking(s), tensor.WithEngine(e))
			}
			a, x, y := dense(matrix, m, k), dense(left, m), dense(right[:k], k)
			if strided {
				column, err := dense(right, k, 2).Slice(nil, tensor.S(1))
				require.NoError(t, err)
				y = column.(*tensor.Dense)
				if e == (tensor.StdEng{}) {
					y = y.Materialize().(*tensor.Dense)
				}
			}
			keep := func(t1 tensor.Tensor, err error) {
				require.NoError(t, err)
				results = append(results, t1.Shape(), t1.Data())
			}
			keep(tensor.Dot(a, y))
			keep(a.MatVecMul(y))
			keep(x.Outer(y))
			keep(tensor.Dot(y, y))
			inner, err := y.Inner(y)
			require.NoError(t, err)
			return append(results, inner)
		}
		require.Equal(t, products(tensor.StdEng{}), products(engine))
	})
}

func TestMatMulRejects(t *testing.T) {
	pool := kernels.NewPool(1)
	engine := dense.NewEngine(pool)
	a := engine.Matrix(make([]float32, 6), 2, 3)
	doubles := tensor.New(tensor.WithShape(3, 2), tensor.Of(tensor.Float64))
	require.ErrorContains(t, engine.MatMul(a, doubles, a), "give a float32 matrix")
	require.ErrorContains(t, engine.MatMul(a, a, a), "do not fit")
	require.EqualError(t, engine.MatVecMul(a, a, a), "dense: MatVecMul: the right operand is a float32 of shape (2, 3); give a float32 vector")
}
