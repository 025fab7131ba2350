// Package dense makes gorgonia tensors run on the project's kernels: tensors made with an Engine of this package
// multiply, matrices and vectors alike, with Pool.Gemm instead of gorgonia's own loops.
package dense

import (
	"fmt"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Engine is gorgonia's standard engine with float32 matrix products on a thread pool.
type Engine struct {
	tensor.StdEng
	pool *kernels.Pool
}

// NewEngine returns an engine that computes on p.
func NewEngine(p *kernels.Pool) Engine { return Engine{pool: p} }

// Matrix is a rows x cols matrix over data, row by row and without a copy, that computes on the engine.
func (e Engine) Matrix(data []float32, rows, cols int) *tensor.Dense {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(data), tensor.WithEngine(e))
}

// MatMul sets out [m, n] to the product of a [m, k] and b [k, n], all float32; it is what tensor.MatMul, tensor.Dot and
// Dense.MatMul call. a and b may be transposed by T, without a copy.
func (e Engine) MatMul(a, b, out tensor.Tensor) error {
	return e.multiply("MatMul", [3]tensor.Tensor{a, b, out}, [3]view{asMatrix, asMatrix, asMatrix})
}

// MatVecMul sets out [m] to the product of the matrix a [m, k] and the vector b [k].
func (e Engine) MatVecMul(a, b, out tensor.Tensor) error {
	return e.multiply("MatVecMul", [3]tensor.Tensor{a, b, out}, [3]view{asMatrix, asColumn, asColumn})
}

// Outer sets out [m, n] to the products of the elements of the vectors a [m] and b [n].
func (e Engine) Outer(a, b, out tensor.Tensor) error {
	return e.multiply("Outer", [3]tensor.Tensor{a, b, out}, [3]view{asColumn, asRow, asMatrix})
}

// Inner returns the float32 product of two vectors [k].
func (e Engine) Inner(a, b tensor.Tensor) (any, error) {
	var out [1]float32
	result := tensor.New(tensor.WithShape(1, 1), tensor.WithBacking(out[:]))
	err := e.multiply("Inner", [3]tensor.Tensor{a, b, result}, [3]view{asRow, asColumn, asMatrix})
	return out[0], err
}

// Dot is what tensor.Dot calls: StdEng's, whose products of two vectors would otherwise not come here.
func (e Engine) Dot(a, b tensor.Tensor, opts ...tensor.FuncOpt) (tensor.Tensor, error) {
	if len(opts) > 0 || !a.Shape().IsVector() || !b.Shape().IsVector() {
		return e.StdEng.Dot(a, b, opts...)
	}
	product, err := e.Inner(a, b)
	if err != nil {
		return nil, err
	}
	return tensor.New(tensor.FromScalar(product), tensor.WithEngine(e)), nil
}

// multiply sets the last of the tensors to the product of the others.
func (e Engine) multiply(op string, tensors [3]tensor.Tensor, views [3]view) error {
	var m [3]matrix
	for i, role := range []string{"left operand", "right operand", "result"} {
		var err error
		if m[i], err = views[i](tensors[i]); err != nil {
			return fmt.Errorf("dense: %s: the %s %w", op, role, err)
		}
	}
	x, y, z := m[0], m[1], m[2]
	if x.cols != y.rows || z.rows != x.rows || z.cols != y.cols {
		return fmt.Errorf("dense: %s: shapes %v x %v -> %v do not fit", op, tensors[0].Shape(), tensors[1].Shape(), tensors[2].Shape())
	}
	if z.trans {
		return fmt.Errorf("dense: %s: the result is transposed; give a row-major one", op)
	}
	e.pool.Gemm(x.trans, y.trans, x.rows, y.cols, x.cols, x.data, x.stride, y.data, y.stride, z.data, z.stride, false)
	return nil
}

// matrix is a tensor as Gemm takes it.
type matrix struct {
	data       []float32
	rows, cols int
	stride     int // between stored rows
	trans      bool
}

// view takes a tensor as a matrix.
type view func(tensor.Tensor) (matrix, error)

func asMatrix(t tensor.Tensor) (matrix, error) {
	data, ok := t.Data().([]float32)
	if !ok || t.Dims() != 2 {
		return matrix{}, fmt.Errorf("is a %v of shape %v; give a float32 matrix", t.Dtype(), t.Shape())
	}
	m := matrix{data: data, rows: t.Shape()[0], cols: t.Shape()[1]}
	strides := t.Strides()
	switch {
	case strides[1] == 1 && (m.rows == 1 || strides[0] >= m.cols):
		m.stride = max(strides[0], m.cols)
	case strides[0] == 1:
		m.stride, m.trans = max(strides[1], m.rows), true
	default:
		return matrix{}, fmt.Errorf("has strides %v; clone it to a contiguous matrix", strides)
	}
	return m, nil
}

// asColumn takes a vector as a matrix of one column.
func asColumn(t tensor.Tensor) (matrix, error) {
	data, ok := t.Data().([]float32)
	if !ok || !t.Shape().IsVector() {
		return matrix{}, fmt.Errorf("is a %v of shape %v; give a float32 vector", t.Dtype(), t.Shape())
	}
	return matrix{data: data, rows: t.Shape().TotalSize(), cols: 1, stride: slices.Max(t.Strides())}, nil
}

// asRow takes a vector as a matrix of one row.
func asRow(t tensor.Tensor) (matrix, error) {
	m, err := asColumn(t)
	m.rows, m.cols, m.trans = m.cols, m.rows, true
	return m, err
}
