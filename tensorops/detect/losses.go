package detect

import "math"

// The parameters of the focal loss (arXiv 1708.02002).
const (
	focalAlpha = .25
	focalGamma = 2
)

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// softplus returns ln(1 + eˣ).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// focal returns the focal loss of a logit and its derivative; positive says whether the class is there.
func focal(x float64, positive bool) (loss, slope float64) {
	alpha, sign := 1-focalAlpha, -1.
	if positive {
		alpha, sign = focalAlpha, 1
	}
	// With q the probability of the wrong answer, the loss is α·qᵞ·-ln(1-q), where dq/dx = -sign·q·(1-q).
	q, entropy := sigmoid(-sign*x), softplus(-sign*x)
	weight := alpha * math.Pow(q, focalGamma)
	return weight * entropy, -sign * weight * (focalGamma*(1-q)*entropy + q)
}

// crossEntropy returns the binary cross-entropy of a logit with a target in [0, 1], and its derivative.
func crossEntropy(x, target float64) (loss, slope float64) {
	return softplus(x) - target*x, sigmoid(x) - target
}

// giouEpsilon keeps quotients finite.
const giouEpsilon = 1e-7

// giou returns one minus the generalized intersection over union of two boxes (arXiv 1902.09630), and its derivatives by
// the first one's sides.
func giou(box, target [4]float64) (loss float64, slope [4]float64) {
	area := func(b [4]float64) float64 { return (b[2] - b[0]) * (b[3] - b[1]) }
	inner := [4]float64{max(box[0], target[0]), max(box[1], target[1]), min(box[2], target[2]), min(box[3], target[3])}
	outer := [4]float64{min(box[0], target[0]), min(box[1], target[1]), max(box[2], target[2]), max(box[3], target[3])}
	overlap := 0.
	meet := inner[2] > inner[0] && inner[3] > inner[1]
	if meet {
		overlap = area(inner)
	}
	union, hull := area(box)+area(target)-overlap, area(outer)
	iou, waste := overlap/(union+giouEpsilon), (hull-union)/(hull+giouEpsilon)
	// slopes of the loss by overlap, union and hull
	byOverlap := -1 / (union + giouEpsilon)
	byUnion := iou/(union+giouEpsilon) - 1/(hull+giouEpsilon)
	byHull := (1 - waste) / (hull + giouEpsilon)
	for side := range 4 {
		sign := -1. // moving a left or top side shrinks the box
		if side >= 2 {
			sign = 1
		}
		length := func(b [4]float64) float64 { return sign * (b[3-side%2] - b[1-side%2]) }
		dOverlap := 0.
		if meet && inner[side] == box[side] {
			dOverlap = length(inner)
		}
		slope[side] = byOverlap*dOverlap + byUnion*(length(box)-dOverlap)
		if outer[side] == box[side] {
			slope[side] += byHull * length(outer)
		}
	}
	return 1 - iou + waste, slope
}
