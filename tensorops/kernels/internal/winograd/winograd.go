// Package winograd holds the matrices of Winograd's minimal filtering algorithms for 3x3 convolutions of stride 1
// (Lavin and Gray, arXiv 1509.09308). It is shared by package kernels and its code generator.
package winograd

// Algorithm is F(MxM, 3x3): from an input tile X of (M+2)x(M+2) pixels and a filter W it computes the output tile
//
//	Y = Aᵀ[(G W Gᵀ) ∘ (Bᵀ X B)]A
//
// of MxM pixels, ∘ being the product element by element. Its transposition with respect to W is
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

// Transform is P in the two-dimensional transform P X Pᵀ.
type Transform struct {
	Name string
	P    Matrix
}

// Transforms lists what the algorithm needs: of the input, the filter, the output's gradient, the product (to the
// output) and the summed product (to the filter's gradient).
func (a Algorithm) Transforms() []Transform {
	return []Transform{
		{"Input", a.BT}, {"Filter", a.G}, {"OutputGrad", a.AT.Transpose()}, {"Output", a.AT}, {"FilterGrad", a.G.Transpose()},
	}
}

// Algorithms lists F(2x2,3x3), F(3x3,3x3) and F(4x4,3x3), made from the points 0, 1, -1, (2, -2) and infinity.
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
