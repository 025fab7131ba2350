// Package dense makes gorgonia tensors compute on the project's kernels: matrix products of tensors made with an
// [Engine] run on its thread pool instead of in gorgonia's own loops. The other packages of tensorops and the Beam
// transforms pass matrices to each other as such tensors: float32, of shape (rows, columns), contiguous and row-major.
package dense

import (
	"fmt"

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

// Pool returns the thread pool that the engine computes on.
func (e Engine) Pool() *kernels.Pool { return e.pool }

// Matrix returns a row-major rows x cols matrix on the engine, backed by data without a copy. It panics if rows*cols is
// 0, since tensors cannot be empty, or not the length of data.
func (e Engine) Matrix(data []float32, rows, cols int) *tensor.Dense {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(data), tensor.WithEngine(e))
}

// Of returns the engine of t. A tensor with another kind of engine is an error.
func Of(t *tensor.Dense) (Engine, error) {
	e, ok := t.Engine().(Engine)
	if !ok {
		return Engine{}, fmt.Errorf("dense: the tensor's engine is a %T; make the tensor with dense.Engine.Matrix, or get it from record.Dense", t.Engine())
	}
	return e, nil
}

// Rows returns the values of a matrix, without copying, and its shape. It returns an error unless t is a contiguous,
// row-major float32 matrix.
func Rows(t *tensor.Dense) (data []float32, rows, cols int, err error) {
	if t.Dtype() != tensor.Float32 || t.Dims() != 2 {
		return nil, 0, 0, fmt.Errorf("expected a float32 matrix, got a tensor of %v with shape %v", t.Dtype(), t.Shape())
	}
	if t.RequiresIterator() || t.DataOrder().IsColMajor() {
		return nil, 0, 0, fmt.Errorf("expected a contiguous row-major matrix, got strides %v for shape %v; materialize it first", t.Strides(), t.Shape())
	}
	rows, cols = t.Shape()[0], t.Shape()[1]
	return t.Data().([]float32)[: rows*cols : rows*cols], rows, cols, nil
}

// MatMul sets out [m, n] to the product of a [m, k] and b [k, n], all float32. tensor.MatMul, tensor.Dot and
// Dense.MatMul call it. a and b may be transposed with T, which does not copy.
func (e Engine) MatMul(a, b, out tensor.Tensor) error {
	var m [3]matrix
	for i, t := range []tensor.Tensor{a, b, out} {
		var err error
		if m[i], err = asMatrix(t); err != nil {
			return fmt.Errorf("dense: MatMul: the %s %w", []string{"left operand", "right operand", "result"}[i], err)
		}
	}
	x, y, z := m[0], m[1], m[2]
	if x.cols != y.rows || z.rows != x.rows || z.cols != y.cols {
		return fmt.Errorf("dense: MatMul: shapes %v x %v -> %v do not match", a.Shape(), b.Shape(), out.Shape())
	}
	if z.trans {
		return fmt.Errorf("dense: MatMul: the result is transposed; pass a row-major one")
	}
	e.pool.Gemm(x.trans, y.trans, x.rows, y.cols, x.cols, x.data, x.stride, y.data, y.stride, z.data, z.stride, false)
	return nil
}

// matrix describes a tensor by the arguments of Gemm.
type matrix struct {
	data       []float32
	rows, cols int
	stride     int // between rows in memory
	trans      bool
}

func asMatrix(t tensor.Tensor) (matrix, error) {
	data, ok := t.Data().([]float32)
	if !ok || t.Dims() != 2 {
		return matrix{}, fmt.Errorf("is a %v of shape %v; pass a float32 matrix", t.Dtype(), t.Shape())
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
