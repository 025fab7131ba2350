package vecs

import "math"

// block is the number of elements per iteration of the loops of this file in assembly, which leave the rest to Go. It
// is also the number of sums of a distance, so that all instruction sets add in the same order.
const block = 16

// SquareDistance returns the squared Euclidean distance of two vectors. It sums in double precision, with the same
// rounding on all instruction sets.
func SquareDistance(x, y []float32) float64 {
	check("SquareDistance", x, y)
	whole := len(x) - len(x)%block
	sum := 0.0
	if whole > 0 {
		sum = active.squareDistance(x[:whole], y[:whole])
	}
	for i, v := range x[whole:] {
		d := float64(v) - float64(y[whole+i])
		sum += float64(d * d)
	}
	return sum
}

// SquareNorm returns the squared Euclidean length of a vector, like SquareDistance from 0.
func SquareNorm(x []float32) float64 {
	whole := len(x) - len(x)%block
	sum := 0.0
	if whole > 0 {
		sum = active.squareNorm(x[:whole])
	}
	for _, v := range x[whole:] {
		sum += float64(v) * float64(v)
	}
	return sum
}

// AddFixed adds scale·x to sums, each element rounded to the nearest integer, half to even. The magnitude of scale·x
// must be below 2^51.
func AddFixed(sums []int64, x []float32, scale float64) {
	sums = sums[:len(x)]
	whole := len(x) - len(x)%block
	if whole > 0 {
		active.addFixed(sums[:whole], x[:whole], scale)
	}
	addFixed(sums[whole:], x[whole:], scale)
}

// Least returns the least element of high - p + length·reach, rounded to float32; +Inf for none.
func Least(p, high, reach []float32, length float32) float32 {
	check("Least", p, high, reach)
	whole := len(p) - len(p)%block
	least := float32(math.Inf(1))
	if whole > 0 {
		least = active.least(p[:whole], high[:whole], reach[:whole], length)
	}
	return min(least, leastOf(p[whole:], high[whole:], reach[whole:], length))
}

// Within sets bit i%64 of mask[i/64] if low[i] - p[i] - length·reach[i], rounded to float32, is at most limit, and
// clears it otherwise. It clears the bits past the last element, too.
func Within(mask []uint64, p, low, reach []float32, length, limit float32) {
	check("Within", p, low, reach)
	whole := clearMask(mask, len(p))
	if whole > 0 {
		active.within(mask, p[:whole], low[:whole], reach[:whole], length, limit)
	}
	for i := whole; i < len(p); i++ {
		if low[i]-p[i]-length*reach[i] <= limit {
			mask[i/64] |= 1 << (i % 64)
		}
	}
}

// Greater sets bit i%64 of mask[i/64] if p[i] is above limit, and clears it otherwise. It clears the bits past the last
// element, too.
func Greater(mask []uint64, p []float32, limit float32) {
	whole := clearMask(mask, len(p))
	if whole > 0 {
		active.greater(mask, p[:whole], limit)
	}
	for i := whole; i < len(p); i++ {
		if p[i] > limit {
			mask[i/64] |= 1 << (i % 64)
		}
	}
}

// clearMask clears the last word of a mask of n bits, and returns how many of them assembly sets.
func clearMask(mask []uint64, n int) (whole int) {
	if n > 0 {
		mask[(n-1)/64] = 0
	}
	return n - n%block
}

func squareDistance(x, y []float32) float64 {
	var sums [block]float64
	for i, v := range x {
		d := float64(v) - float64(y[i])
		sums[i%block] += float64(d * d)
	}
	return fold(&sums)
}

func squareNorm(x []float32) float64 {
	var sums [block]float64
	for i, v := range x {
		sums[i%block] += float64(v) * float64(v)
	}
	return fold(&sums)
}

// fold adds up sums by halves.
func fold(sums *[block]float64) float64 {
	for n := block / 2; n > 0; n /= 2 {
		for i := range n {
			sums[i] += sums[i+n]
		}
	}
	return sums[0]
}

func addFixed(sums []int64, x []float32, scale float64) {
	for i, v := range x {
		sums[i] += int64(math.RoundToEven(float64(v) * scale))
	}
}

func leastOf(p, high, reach []float32, length float32) float32 {
	least := float32(math.Inf(1))
	for i, v := range p {
		least = min(least, high[i]-v+length*reach[i])
	}
	return least
}

// within and greater set the bits of whole words one by one.
func within(mask []uint64, p, low, reach []float32, length, limit float32) {
	clear(mask[:(len(p)+63)/64])
	for i, v := range p {
		if low[i]-v-length*reach[i] <= limit {
			mask[i/64] |= 1 << (i % 64)
		}
	}
}

func greater(mask []uint64, p []float32, limit float32) {
	clear(mask[:(len(p)+63)/64])
	for i, v := range p {
		if v > limit {
			mask[i/64] |= 1 << (i % 64)
		}
	}
}
