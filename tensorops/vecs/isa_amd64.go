package vecs

// isas maps the instruction sets' names in package kernels to their loops.
var isas = map[string]*isa{
	"portable": portable,
	"avx2": {
		scaleShift: avx2ScaleShift, scaleShiftReLU: avx2ScaleShiftReLU,
		scaleShiftAdd: avx2ScaleShiftAdd, scaleShiftAddReLU: avx2ScaleShiftAddReLU,
		combine: avx2Combine, step: avx2Step, adamW: avx2AdamW, moments: avx2Moments,
		gradMoments: [4]func(s, q, d, g, h, y, x, mean []float32, top float32){
			avx2GradMoments, avx2AddGradMoments, avx2GateGradMoments, avx2GateAddGradMoments,
		},
		squareDistance: avx2SquareDistance, squareNorm: avx2SquareNorm, addFixed: avx2AddFixed,
		least: avx2Least, within: avx2Within, greater: avx2Greater,
	},
	"avx512": avx512,
	"bf16":   avx512,
}

var avx512 = &isa{
	scaleShift: avx512ScaleShift, scaleShiftReLU: avx512ScaleShiftReLU,
	scaleShiftAdd: avx512ScaleShiftAdd, scaleShiftAddReLU: avx512ScaleShiftAddReLU,
	combine: avx512Combine, step: avx512Step, adamW: avx512AdamW, moments: avx512Moments,
	gradMoments: [4]func(s, q, d, g, h, y, x, mean []float32, top float32){
		avx512GradMoments, avx512AddGradMoments, avx512GateGradMoments, avx512GateAddGradMoments,
	},
	squareDistance: avx512SquareDistance, squareNorm: avx512SquareNorm, addFixed: avx512AddFixed,
	least: avx512Least, within: avx512Within, greater: avx512Greater,
}
