package vecs

import "fmt"

// ScaleShift computes y = a·x + b; a and b are tiles. y may be x.
func ScaleShift(y, x, a, b []float32) {
	if check("ScaleShift", y, x) && checkTiles("ScaleShift", a, b) {
		active.scaleShift(y, x, a, b)
	}
}

// ScaleShiftReLU computes y = min(max(a·x + b, 0), top); a and b are tiles. NaN stays NaN, so that divergence shows. y may
// be x.
func ScaleShiftReLU(y, x, a, b []float32, top float32) {
	if check("ScaleShiftReLU", y, x) && checkTiles("ScaleShiftReLU", a, b) {
		active.scaleShiftReLU(y, x, a, b, top)
	}
}

// ScaleShiftAdd computes y = a·x + b + r; a and b are tiles. y may be x or r.
func ScaleShiftAdd(y, x, r, a, b []float32) {
	if check("ScaleShiftAdd", y, x, r) && checkTiles("ScaleShiftAdd", a, b) {
		active.scaleShiftAdd(y, x, r, a, b)
	}
}

// ScaleShiftAddReLU computes y = min(max(a·x + b + r, 0), top); a and b are tiles. NaN stays NaN. y may be x or r.
func ScaleShiftAddReLU(y, x, r, a, b []float32, top float32) {
	if check("ScaleShiftAddReLU", y, x, r) && checkTiles("ScaleShiftAddReLU", a, b) {
		active.scaleShiftAddReLU(y, x, r, a, b, top)
	}
}

// Combine computes y = a·g + b·(x-mean) + c; a, b, c and mean are tiles. y may be g or x.
func Combine(y, g, x, a, b, c, mean []float32) {
	if check("Combine", y, g, x) && checkTiles("Combine", a, b, c, mean) {
		active.combine(y, g, x, a, b, c, mean)
	}
}

// Step is a step of SGD with momentum and weight decay: d = scale·(g + decay·w), then v = momentum·v + d, then w = w -
// a·v - b·d. Plain momentum has a = lr and b = 0; Nesterov momentum has a = lr·momentum and b = lr.
func Step(w, g, v []float32, scale, decay, momentum, a, b float32) {
	if check("Step", w, g, v) {
		active.step(w, g, v, scale, decay, momentum, a, b)
	}
}

// AdamW is a step of AdamW: m = m + a·(g-m) and v = v + b·(g²-v), then w = keep·w - size·m / (√v + floor).
func AdamW(w, g, m, v []float32, keep, a, b, size, floor float32) {
	if check("AdamW", w, g, m, v) {
		active.adamW(w, g, m, v, keep, a, b, size, floor)
	}
}

// Moments adds x-pivot to the tile s and (x-pivot)² to the tile q; pivot is a tile, too. It sums in float32, in the
// order of x; for more precision, pass shorter pieces of the data and add up their sums.
func Moments(s, q, x, pivot []float32) {
	if !check("Moments", x) || !checkTiles("Moments", pivot, s, q) {
		return
	}
	whole := len(x) - len(x)%len(pivot)
	if whole > 0 {
		active.moments(s, q, x[:whole], pivot)
	}
	if rest := len(x) - whole; rest > 0 {
		active.moments(s[:rest], q[:rest], x[whole:], pivot[:rest])
	}
}

// GradMoments computes d = g + h where y is neither 0 nor top, and d = 0 where it is, and adds d to the tile s and
// d·(x-mean) to the tile q; mean is a tile, too. It sums as Moments does. A nil h means zeros, and a nil y that nothing is
// gated; if both are nil, d is g and is not written. d may be g or h.
func GradMoments(s, q, d, g, h, y, x, mean []float32, top float32) {
	variant := 0
	if h != nil {
		variant |= 1
	}
	if y != nil {
		variant |= 2
	}
	if variant == 0 {
		d = g
	}
	if h == nil {
		h = g
	}
	if y == nil {
		y = g
	}
	if !check("GradMoments", x, d, g, h, y) || !checkTiles("GradMoments", mean, s, q) {
		return
	}
	f := active.gradMoments[variant]
	whole := len(x) - len(x)%len(mean)
	if whole > 0 {
		f(s, q, d[:whole], g[:whole], h[:whole], y[:whole], x[:whole], mean, top)
	}
	if rest := len(x) - whole; rest > 0 {
		f(s[:rest], q[:rest], d[whole:], g[whole:], h[whole:], y[whole:], x[whole:], mean[:rest], top)
	}
}

// check panics unless the operands have the same length, and reports whether they are not empty.
func check(op string, operands ...[]float32) bool {
	n := len(operands[0])
	for _, o := range operands[1:] {
		if len(o) != n {
			panic(fmt.Sprintf("vecs: %s: operands of %d and %d elements; want slices of equal length", op, n, len(o)))
		}
	}
	return n > 0
}

// checkTiles is check for tiles; it also panics if they are empty.
func checkTiles(op string, tiles ...[]float32) bool {
	if !check(op, tiles...) {
		panic(fmt.Sprintf("vecs: %s: an empty tile; want at least one row", op))
	}
	return true
}
