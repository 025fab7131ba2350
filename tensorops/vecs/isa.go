package vecs

import "github.com/sdr-ml/sdr/tensorops/kernels"

// isa holds the loops for one instruction set, each named like its exported function. Their arguments have been checked
// and are not empty; those that sum get whole tiles only.
type isa struct {
	scaleShift        func(y, x, a, b []float32)
	scaleShiftReLU    func(y, x, a, b []float32, top float32)
	scaleShiftAdd     func(y, x, r, a, b []float32)
	scaleShiftAddReLU func(y, x, r, a, b []float32, top float32)
	combine           func(y, g, x, a, b, c, mean []float32)
	step              func(w, g, v []float32, scale, decay, momentum, a, b float32)
	adamW             func(w, g, m, v []float32, keep, a, b, size, floor float32)
	moments           func(s, q, x, mean []float32)

	// gradMoments[i] adds h if i&1 is set and gates if i&2 is; it writes d if i is not 0.
	gradMoments [4]func(s, q, d, g, h, y, x, mean []float32, top float32)

	// These get whole blocks of elements only.
	squareDistance func(x, y []float32) float64
	squareNorm     func(x []float32) float64
	addFixed       func(sums []int64, x []float32, scale float64)
	least          func(p, high, reach []float32, length float32) float32
	within         func(mask []uint64, p, low, reach []float32, length, limit float32)
	greater        func(mask []uint64, p []float32, limit float32)
}

var portable = &isa{
	scaleShift: scaleShift, scaleShiftReLU: scaleShiftReLU,
	scaleShiftAdd: scaleShiftAdd, scaleShiftAddReLU: scaleShiftAddReLU,
	combine: combine, step: step, adamW: adamW, moments: moments,
	gradMoments:    [4]func(s, q, d, g, h, y, x, mean []float32, top float32){gradMoments, addGradMoments, gateGradMoments, gateAddGradMoments},
	squareDistance: squareDistance, squareNorm: squareNorm, addFixed: addFixed,
	least: leastOf, within: within, greater: greater,
}

// active is the set that the exported functions use.
var active = isas[kernels.ISA()]
