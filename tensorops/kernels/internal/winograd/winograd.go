// Package winograd has the matrices of Winograd's minimal filtering algorithms for 3x3 convolutions with stride 1
// (Lavin and Gray, arXiv 1509.09308). Package kernels and its code generator share it.
package winograd

// Algorithm is F(MxM, 3x3). From an input tile X of (M+2)x(M+2) pixels and a filter W it computes the output tile
//
//	Y = Aᵀ[(G W Gᵀ) ∘ (Bᵀ X B)]A
//
// of MxM pixels, where ∘ is the elementwise product. The gradient of W is
//
//	dW = Gᵀ[(Bᵀ X B) ∘ (A dY Aᵀ)]G
type Algorithm struct {
	M  int
	BT Matrix // [M+2][M+2]
	G  Matrix // [M+2][3]
	AT Matrix // [M][M+2]
}

// Matrix is a list of rows.
type Matrix [][]float64

// Transpose returns the transposed matrix.
func (m Matrix) Transpose() Matrix {
	t := make(Matrix, len(m[0]))
	for j := range t {
		for i := range m {
			t[j] = append(t[j], m[i][j])
		}
	}
	return t
}

// Transform is a two-dimensional transform P X Pᵀ.
type Transform struct {
	Name string
	P    Matrix
}

// Transforms lists the transforms of the input, the filter, the output's gradient, the product (to the output) and the
// summed product (to the filter's gradient).
func (a Algorithm) Transforms() []Transform {
	return []Transform{
		{"Input", a.BT}, {"Filter", a.G}, {"OutputGrad", a.AT.Transpose()}, {"Output", a.AT}, {"FilterGrad", a.G.Transpose()},
	}
}

// Algorithms lists F(2x2,3x3), F(3x3,3x3) and F(4x4,3x3). Their interpolation points are 0, 1, -1 and infinity, for M
// of 3 and 4 also 2, and for 4 also -2.
var Algorithms = []Algorithm{
	{
		M: 2,
		BT: Matrix{
			{1, 0, -1, 0},
			{0, 1, 1, 0},
			{0, -1, 1, 0},
			{0, -1, 0, 1},
		},
		G: Matrix{
			{1, 0, 0},
			{1. / 2, 1. / 2, 1. / 2},
			{1. / 2, -1. / 2, 1. / 2},
			{0, 0, 1},
		},
		AT: Matrix{
			{1, 1, 1, 0},
			{0, 1, -1, 1},
		},
	},
	{
		M: 3,
		BT: Matrix{
			{2, -1, -2, 1, 0},
			{0, -2, -1, 1, 0},
			{0, 2, -3, 1, 0},
			{0, -1, 0, 1, 0},
			{0, 2, -1, -2, 1},
		},
		G: Matrix{
			{1. / 2, 0, 0},
			{-1. / 2, -1. / 2, -1. / 2},
			{-1. / 6, 1. / 6, -1. / 6},
			{1. / 6, 1. / 3, 2. / 3},
			{0, 0, 1},
		},
		AT: Matrix{
			{1, 1, 1, 1, 0},
			{0, 1, -1, 2, 0},
			{0, 1, 1, 4, 1},
		},
	},
	{
		M: 4,
		BT: Matrix{
			{4, 0, -5, 0, 1, 0},
			{0, -4, -4, 1, 1, 0},
			{0, 4, -4, -1, 1, 0},
			{0, -2, -1, 2, 1, 0},
			{0, 2, -1, -2, 1, 0},
			{0, 4, 0, -5, 0, 1},
		},
		G: Matrix{
			{1. / 4, 0, 0},
			{-1. / 6, -1. / 6, -1. / 6},
			{-1. / 6, 1. / 6, -1. / 6},
			{1. / 24, 1. / 12, 1. / 6},
			{1. / 24, -1. / 12, 1. / 6},
			{0, 0, 1},
		},
		AT: Matrix{
			{1, 1, 1, 1, 1, 0},
			{0, 1, -1, 2, -2, 0},
			{0, 1, 1, 4, 4, 0},
			{0, 1, -1, 8, -8, 1},
		},
	},
}
