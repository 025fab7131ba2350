package kernels

import (
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/kernels/internal/winograd"
)

// transformsOf returns the transforms of F(mxm, 3x3).
func (s *isa) transformsOf(m int) *transforms {
	for i := range s.winograd {
		if s.winograd[i].m == m {
			return &s.winograd[i]
		}
	}
	panic("kernels: no Winograd algorithm has tiles of that size")
}

// portableTransforms returns the transforms in Go.
func portableTransforms() (all []transforms) {
	for _, a := range winograd.Algorithms {
		t := a.Transforms()
		all = append(all, transforms{
			a.M, portableTransform(t[0].P), portableTransform(t[1].P), portableTransform(t[2].P),
			portableTransform(t[3].P), portableTransform(t[4].P),
		})
	}
	return all
}

// portableTransform returns the transform P X Pᵀ.
func portableTransform(p winograd.Matrix) transform {
	type vector = [transformLanes]float32
	at := func(base unsafe.Pointer, offset int) *vector { return (*vector)(unsafe.Add(base, offset)) }
	// combine computes y[i] = Σ p[i][j]·x[j].
	combine := func(x, y func(int) *vector) {
		for i, row := range p {
			var sum vector
			for j, c := range row {
				if c != 0 {
					v := x(j)
					for l := range sum {
						sum[l] += float32(c) * v[l]
					}
				}
			}
			*y(i) = sum
		}
	}
	const vectorBytes = transformLanes * f32
	in := len(p[0])
	return func(dst, src, tmp unsafe.Pointer, dstRow, dstCol, srcRow, srcCol, n, dstStep, srcStep, reps int) {
		for r := range reps {
			for g := range n {
				from, to := r*(srcStep+n*vectorBytes)+g*vectorBytes, r*(dstStep+n*vectorBytes)+g*vectorBytes
				for j := range in {
					combine(func(i int) *vector { return at(src, from+i*srcRow+j*srcCol) },
						func(i int) *vector { return at(tmp, (i*in+j)*vectorBytes) })
				}
				for i := range p {
					combine(func(j int) *vector { return at(tmp, (i*in+j)*vectorBytes) },
						func(j int) *vector { return at(dst, to+i*dstRow+j*dstCol) })
				}
			}
		}
	}
}
