package kernels

import (
	"math"
	"unsafe"
)

// Precision selects the type that products are computed in. Sums and all arrays are float32 in any case.
type Precision int

const (
	// FP32 multiplies float32 values.
	FP32 Precision = iota
	// BF16 allows operands to be rounded to bfloat16 (8 bits of precision), to nearest with ties to even, where that is
	// faster. The bfloat16 instructions flush denormals to zero.
	BF16
)

// Products of bfloat16 are computed in pairs. A 32-bit word holds two values that are adjacent along the sum, the first
// in its low half; in a micro-kernel's arguments, words take the place of floats. A []float32 may therefore hold words,
// which are copied like floats but never used in arithmetic.

// round returns the bits of v rounded to bfloat16.
func round(v float32) uint32 {
	bits := math.Float32bits(v)
	if v != v {
		return bits>>16 | 0x40 // quiet NaN
	}
	return (bits + 0x7fff + bits>>16&1) >> 16
}

// word packs two floats, rounded, into a word.
func word(low, high float32) float32 { return math.Float32frombits(round(low) | round(high)<<16) }

// words returns the number of words for n floats.
func words(n int) int { return (n + 1) / 2 }

// steps returns the number of micro-kernel steps for n elements along the sum.
func steps(n int, pairs bool) int {
	if pairs {
		return words(n)
	}
	return n
}

// family returns the micro-kernels for pairs or for floats.
func (s *isa) family(pairs bool) widths {
	if pairs {
		return s.pairs
	}
	return s.widths
}

// join sets dst[i] to the word of low[i] and high[i], or of low[i] and 0 if high is nil.
func (s *isa) join(dst, low, high []float32) {
	low = low[:len(dst)]
	if high == nil {
		for i, v := range low {
			dst[i] = word(v, 0)
		}
		return
	}
	high = high[:len(dst)]
	done := 0
	if n := len(dst) / 8; n > 0 && s.joinVectors != nil {
		s.joinVectors(unsafe.Pointer(&dst[0]), unsafe.Pointer(&low[0]), unsafe.Pointer(&high[0]), n)
		done = n * 8
	}
	for i := done; i < len(dst); i++ {
		dst[i] = word(low[i], high[i])
	}
}

// joinNeighbours packs adjacent elements of src into words(len(src)) words.
func (s *isa) joinNeighbours(dst, src []float32) {
	dst = dst[:words(len(src))]
	done := 0
	if n := len(src) / 16; n > 0 && s.joinNeighbourVectors != nil {
		s.joinNeighbourVectors(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), n)
		done = n * 8
	}
	packPairColumn(dst, done, 1, src[2*done:])
}

// packPairs is packPanel for pairs of rows: dst[k*ld + j] is the word of B[2k,j] and B[2k+1,j].
func (s *isa) packPairs(dst []float32, ld, rows, cols int, src []float32, rs, cs int) {
	if cs == 1 {
		for k := range words(rows) {
			var high []float32
			if 2*k+1 < rows {
				high = src[(2*k+1)*rs:]
			}
			s.join(dst[k*ld:k*ld+cols], src[2*k*rs:], high)
		}
		return
	}
	const block = 8
	done := 0 // columns
	if n := rows / (2 * block); n > 0 && s.transposePairs != nil {
		for ; done+block <= cols; done += block {
			s.transposePairs(unsafe.Pointer(&dst[done]), unsafe.Pointer(&src[done*cs]), ld*f32, cs*f32, n)
			for j := done; j < done+block; j++ {
				packPairColumn(dst, n*block*ld+j, ld, src[j*cs+2*n*block:j*cs+rows])
			}
		}
	}
	for j := done; j < cols; j++ {
		packPairColumn(dst, j, ld, src[j*cs:j*cs+rows])
	}
}

// packPairColumn writes the words of a column to dst[at], dst[at+ld] and so on.
func packPairColumn(dst []float32, at, ld int, column []float32) {
	for k := range words(len(column)) {
		high := float32(0)
		if 2*k+1 < len(column) {
			high = column[2*k+1]
		}
		dst[at+k*ld] = word(column[2*k], high)
	}
}

// pairTilePortable is tilePortable for words: a product is the sum of the products of the halves.
func pairTilePortable(t *tile) {
	for r := range t.reps {
		for i := range t.rows {
			t.pairRow(r*t.aRep+i*t.ars, r*t.cRep+i*t.ldc)
		}
	}
}

// pairRow computes one row, at byte offsets a in A and c in C.
func (t *tile) pairRow(a, c int) {
	halves := func(p unsafe.Pointer) (low, high float32) {
		bits := *(*uint32)(p)
		return math.Float32frombits(bits << 16), math.Float32frombits(bits &^ 0xffff)
	}
	var sum [portableCols]float32
	b := 0
	for range t.outer {
		for range t.segs {
			for range t.klen {
				aLow, aHigh := halves(unsafe.Add(t.a, a))
				for j := range t.cols {
					low, high := halves(unsafe.Add(t.b, b+j*f32))
					sum[j] += aHigh * high
					sum[j] += aLow * low
				}
				a += t.aks
				b += t.bks
			}
			a += t.segStep
			b += t.bSegStep
		}
		a += t.outStep
		b += t.bOutStep
	}
	t.storeRow(c, &sum)
}
