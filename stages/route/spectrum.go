package route

import (
	"errors"
	"math"

	"gonum.org/v1/gonum/mat"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// spectrum is the singular value decomposition of features, X = U·S·Vᵀ, without the directions in which they do not vary.
type spectrum struct {
	n, rank, classes int           // rank is 0 if the features do not vary at all
	squares          []float64     // of the singular values, [rank]
	u                *tensor.Dense // [n, rank], with orthonormal columns
	sets             [][]int64     // the classes of each image
	targets          []float64     // Uᵀ·Y of the labels Y, 1 for a class that an image has, [rank, classes]
}

// minSquare is the smallest square of a singular value that is kept, as a fraction of the largest: below it is the noise
// of float32 products.
const minSquare = 1e-6

// decompose decomposes a set's features, minus their mean if centered.
func decompose(pool *kernels.Pool, set *labeled.Set, centered bool) (*spectrum, error) {
	data, n, dim, err := dense.Rows(set.Features)
	if err != nil {
		return nil, err
	}
	x := make([]float32, len(data))
	mean := make([]float64, dim)
	if centered {
		for i, v := range data {
			mean[i%dim] += float64(v) / float64(n)
		}
	}
	for i, v := range data {
		x[i] = float32(float64(v) - mean[i%dim])
		if d := x[i] - x[i]; d != 0 {
			return nil, errors.New("the features are not finite")
		}
	}
	engine := dense.NewEngine(pool)
	matrix := engine.Matrix(x, n, dim)
	gram := engine.Matrix(make([]float32, dim*dim), dim, dim)
	transposed, err := matrix.SafeT()
	if err != nil {
		return nil, err
	}
	if err := engine.MatMul(transposed, matrix, gram); err != nil {
		return nil, err
	}
	symmetric := mat.NewSymDense(dim, nil)
	for i, v := range gram.Data().([]float32) {
		if r, c := i/dim, i%dim; r <= c {
			symmetric.SetSym(r, c, float64(v))
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(symmetric, true) {
		return nil, errors.New("the features' covariance has no eigenvalues")
	}
	values := eigen.Values(nil) // ascending
	var v mat.Dense
	eigen.VectorsTo(&v)
	top := values[dim-1]
	s := &spectrum{n: n, classes: len(set.Classes), sets: tasks.Members(set.Labels, set.Sets)}
	var directions []int
	for j := dim - 1; j >= 0 && values[j] > minSquare*top; j-- {
		directions = append(directions, j)
		s.squares = append(s.squares, values[j])
	}
	s.rank = len(directions)
	if s.rank == 0 { // all images have the same features
		return s, nil
	}
	project := make([]float32, dim*s.rank)
	for k, j := range directions {
		for i := range dim {
			project[i*s.rank+k] = float32(v.At(i, j) / math.Sqrt(values[j]))
		}
	}
	s.u = engine.Matrix(make([]float32, n*s.rank), n, s.rank)
	if err := engine.MatMul(matrix, engine.Matrix(project, dim, s.rank), s.u); err != nil {
		return nil, err
	}
	s.targets = make([]float64, s.rank*s.classes)
	u := s.u.Data().([]float32)
	for i, classes := range s.sets {
		for j, v := range u[i*s.rank:][:s.rank] {
			for _, c := range classes {
				s.targets[j*s.classes+int(c)] += float64(v)
			}
		}
	}
	return s, nil
}
