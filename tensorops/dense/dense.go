// Package dense makes gorgonia tensors run on the project's kernels: tensors made with an Engine of this package
// multiply with Pool.Gemm instead of gorgonia's own loops.
package dense

import (
	"errors"
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

// Matrix is a rows x cols matrix over data, row by row and without a copy, that computes on the engine.
func (e Engine) Matrix(data []float32, rows, cols int) *tensor.Dense {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(data), tensor.WithEngine(e))
}

// MatMul sets out [m, n] to the product of a [m, k] and b [k, n], all float32; it is what tensor.MatMul and
// Dense.MatMul call. a and b may be transposed by T, without a copy.
func (e Engine) MatMul(a, b, out tensor.Tensor) error {
	x, err := operand("left", a)
	if err != nil {
		return err
	}
	y, err := operand("right", b)
	if err != nil {
		return err
	}
	z, err := operand("result", out)
	if err != nil {
		return err
	}
	if x.cols != y.rows || z.rows != x.rows || z.cols != y.cols {
		return fmt.Errorf("dense: MatMul: shapes %v x %v -> %v do not fit", a.Shape(), b.Shape(), out.Shape())
	}
	if z.trans {
		return errors.New("dense: MatMul: the result is transposed; give a row-major one")
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

func operand(role string, t tensor.Tensor) (matrix, error) {
	data, ok := t.Data().([]float32)
	if !ok || t.Dims() != 2 {
		return matrix{}, fmt.Errorf("dense: MatMul: the %s operand is a %v of shape %v; give a float32 matrix", role, t.Dtype(), t.Shape())
	}
	m := matrix{data: data, rows: t.Shape()[0], cols: t.Shape()[1]}
	strides := t.Strides()
	switch {
	case strides[1] == 1 && (m.rows == 1 || strides[0] >= m.cols):
		m.stride = max(strides[0], m.cols)
	case strides[0] == 1:
		m.stride, m.trans = max(strides[1], m.rows), true
	default:
		return matrix{}, fmt.Errorf("dense: MatMul: the %s operand has strides %v; clone it to a contiguous matrix", role, strides)
	}
	return m, nil
}
