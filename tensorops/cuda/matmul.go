package cuda

import (
	"fmt"
	"unsafe"
)

// productKey is the shape of a matrix product.
type productKey struct {
	transA, transB bool
	m, n, k        int
	floatOut       bool
}

// product is a matrix product prepared for cublasLt.
type product struct {
	desc    matmulDesc
	a, b, c matrixLayout // of the operands in cublasLt's order
	best    heuristicResult
}

// multiply implements multiplier. cublasLt is column-major, so that a row-major matrix is its transpose there; multiply
// therefore has it compute Cᵀ = op(B)ᵀ·op(A)ᵀ.
func (d *device) multiply(transA, transB bool, m, n, k int, a, b, c Buffer, floatOut bool) {
	if d.err != nil {
		return
	}
	key := productKey{transA, transB, m, n, k, floatOut}
	p, ok := d.products[key]
	if !ok {
		var err error
		if p, err = d.newProduct(key); err != nil {
			d.fail(err)
			return
		}
		d.products[key] = p
	}
	d.needed = max(d.needed, int(p.best.workspaceSize))
	one, zero := float32(1), float32(0)
	s := d.cublasLtMatmul(d.blas, p.desc, unsafe.Pointer(&one), b.Addr, p.a, a.Addr, p.b, unsafe.Pointer(&zero), c.Addr, p.c, c.Addr, p.c,
		unsafe.Pointer(&p.best.algo), d.workspace.Addr, uint64(d.workspace.Len), d.stream)
	if s != 0 {
		d.fail(d.checkBLAS(s, "matrix product %+v", key))
	}
}

// newProduct creates the descriptors of a product and gets an algorithm from cublasLt's heuristics.
func (d *device) newProduct(key productKey) (*product, error) {
	p := &product{}
	kind, out := int32(realFloat), int32(realFloat)
	if d.bf16 {
		kind = realBFloat16
		if !key.floatOut {
			out = realBFloat16
		}
	}
	op := func(transposed bool) int32 {
		if transposed {
			return opT
		}
		return opN
	}
	// A row of a row-major matrix is a column for cublasLt.
	layout := func(to *matrixLayout, kind int32, rows, columns int) ltStatus {
		return d.cublasLtMatrixLayoutCreate(to, kind, uint64(columns), uint64(rows), int64(columns))
	}
	stored := func(transposed bool, rows, columns int) (int, int) {
		if transposed {
			return columns, rows
		}
		return rows, columns
	}
	first, second := op(key.transB), op(key.transA)
	rowsA, columnsA := stored(key.transA, key.m, key.k)
	rowsB, columnsB := stored(key.transB, key.k, key.n)
	var preference matmulPreference
	room := uint64(d.workspace.Len)
	var found int32
	for _, step := range []func() ltStatus{
		func() ltStatus { return d.cublasLtMatmulDescCreate(&p.desc, compute32F, realFloat) },
		func() ltStatus {
			return d.cublasLtMatmulDescSetAttribute(p.desc, descTransA, unsafe.Pointer(&first), unsafe.Sizeof(first))
		},
		func() ltStatus {
			return d.cublasLtMatmulDescSetAttribute(p.desc, descTransB, unsafe.Pointer(&second), unsafe.Sizeof(second))
		},
		func() ltStatus { return layout(&p.a, kind, rowsB, columnsB) },
		func() ltStatus { return layout(&p.b, kind, rowsA, columnsA) },
		func() ltStatus { return layout(&p.c, out, key.m, key.n) },
		func() ltStatus { return d.cublasLtMatmulPreferenceCreate(&preference) },
		func() ltStatus {
			return d.cublasLtMatmulPreferenceSetAttribute(preference, preferenceWorkspace, unsafe.Pointer(&room), unsafe.Sizeof(room))
		},
		func() ltStatus {
			return d.cublasLtMatmulAlgoGetHeuristic(d.blas, p.desc, p.a, p.b, p.c, p.c, preference, 1, &p.best, &found)
		},
		func() ltStatus { return d.cublasLtMatmulPreferenceDestroy(preference) },
	} {
		if s := step(); s != 0 {
			return nil, d.checkBLAS(s, "planning matrix product %+v", key)
		}
	}
	if found == 0 || p.best.state != 0 {
		return nil, fmt.Errorf("cuda: cublasLt has no algorithm for matrix product %+v", key)
	}
	return p, nil
}

// close destroys the descriptors. It ignores errors: nothing can be done about them.
func (p *product) close(g *gpu) {
	g.cublasLtMatmulDescDestroy(p.desc)
	for _, l := range []matrixLayout{p.a, p.b, p.c} {
		g.cublasLtMatrixLayoutDestroy(l)
	}
}

// linear is a linear layer without bias: an nn.Product with weights [In, Out].
type linear struct {
	d             *device
	rows, in, out int
	w, dw         Buffer
}

// Forward implements nn.Product: y [rows, out] = x [rows, in] · w.
func (l *linear) Forward(x, y Buffer) {
	l.d.multiply(false, false, l.rows, l.out, l.in, x, l.w, y, false)
}

// BackwardWeights implements nn.Product: dw = xᵀ · dy.
func (l *linear) BackwardWeights(x, dy Buffer) {
	l.d.multiply(true, false, l.in, l.out, l.rows, x, dy, l.dw, false)
}

// BackwardData implements nn.Product: dx = dy · wᵀ.
func (l *linear) BackwardData(dy, dx Buffer) {
	l.d.multiply(false, true, l.rows, l.in, l.out, dy, l.w, dx, false)
}
