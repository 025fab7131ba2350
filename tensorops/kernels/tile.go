package kernels

import "unsafe"

// tile holds the arguments of one micro-kernel call, which computes for i < rows and j < cols
//
//	C[i*ldc + j] (+)= sum_{o<outer} sum_{s<segs} sum_{k<klen} A[i*ars + o*aos + s*ass + k*aks] * B[o*bos + s*bss + k*bks + j]
//
// adding in the order written. It then does the same for reps-1 more tiles, advancing A by aRep and C by cRep, with the
// same B. Strides are in bytes. The micro-kernel touches no other elements of A, B and C. The assembly accesses the
// fields by offset: keep their order in sync with gen/main.go.
type tile struct {
	a, b, c  unsafe.Pointer
	mask     unsafe.Pointer // mask of the last vector as eight int32 (AVX2)
	ars, aks int
	segStep  int // added to A after a segment: ass - klen*aks
	outStep  int // added to A after an outer step: aos - segs*ass
	bks      int
	bSegStep int // added to B after a segment: bss - klen*bks
	bOutStep int // added to B after an outer step: bos - segs*bss
	ldc      int
	klen     int
	segs     int
	outer    int // 0 if the sum is empty
	cols     int // at most nr, and more than nr minus one vector
	acc      int // 1: add to C; 0: overwrite it
	reps     int // at least 1
	aRep     int
	cRep     int
	rows     int // the kernel's number of rows; only the portable kernel reads it
}

const f32 = 4 // bytes per float32

// laneMasks[8-n:] starts with n set lanes.
var laneMasks = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

// window is the part of A and B that a tile reads, with strides in floats; see tile. Rows of B are consecutive, except
// that skip rows are skipped after each segment and skipOut more after each outer step.
type window struct {
	ars, aks, ass, aos int
	bks, skip, skipOut int
	klen, segs, outer  int
}

// setWindow sets the strides and lengths.
func (t *tile) setWindow(w window) {
	t.ars, t.aks, t.bks = w.ars*f32, w.aks*f32, w.bks*f32
	t.segStep = (w.ass - w.klen*w.aks) * f32
	t.outStep = (w.aos - w.segs*w.ass) * f32
	t.bSegStep, t.bOutStep = w.skip*w.bks*f32, w.skipOut*w.bks*f32
	t.klen, t.segs, t.outer = w.klen, w.segs, w.outer
	if w.klen == 0 || w.segs == 0 {
		t.outer = 0
	}
}

// repeat makes the tile compute n tiles, advancing A by a floats and C by c floats.
func (t *tile) repeat(n, a, c int) { t.reps, t.aRep, t.cRep = n, a*f32, c*f32 }

// setCols sets the number of columns.
func (t *tile) setCols(cols int) {
	t.cols = cols
	t.mask = unsafe.Pointer(&laneMasks[(8-cols%8)%8])
}

// read sets A to a[i:] and B to b[j:]. If the sum is empty, i and j may be out of range.
func (t *tile) read(a []float32, i int, b []float32, j int) {
	t.a, t.b = nil, nil
	if t.outer > 0 {
		t.a, t.b = unsafe.Pointer(&a[i]), unsafe.Pointer(&b[j])
	}
}

// write sets C to c[i:].
func (t *tile) write(c []float32, i int) { t.c = unsafe.Pointer(&c[i]) }

// multiply computes m rows of C, ldc floats apart, in one panel of columns, from the rows of A and the packed panel b.
// It adds to C, or overwrites it if acc is 0.
func (t *tile) multiply(p panel, w window, m int, a, b, c []float32, ldc, acc int) {
	t.setWindow(w)
	t.setCols(p.cols)
	t.ldc, t.acc = ldc*f32, acc
	longest := len(p.width.tiles)
	tiles := (m + longest - 1) / longest
	row := 0
	for _, g := range [2]struct{ reps, rows int }{{m % tiles, m/tiles + 1}, {tiles - m%tiles, m / tiles}} {
		if g.reps == 0 {
			continue
		}
		t.repeat(g.reps, g.rows*w.ars, g.rows*ldc)
		t.rows = g.rows
		t.read(a, row*w.ars, b, 0)
		t.write(c, row*ldc)
		p.width.tiles[g.rows-1](t)
		row += g.reps * g.rows
	}
}

const (
	portableRows = 4
	portableCols = 8
)

// tilePortable is the micro-kernel in Go, for any rows and for cols <= portableCols.
func tilePortable(t *tile) {
	for r := range t.reps {
		for i := range t.rows {
			t.portableRow(r*t.aRep+i*t.ars, r*t.cRep+i*t.ldc)
		}
	}
}

// portableRow computes one row, at byte offsets a in A and c in C.
func (t *tile) portableRow(a, c int) {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	var narrow [portableCols]float32 // a row of B with fewer columns, zero-padded
	b := 0
	for range t.outer {
		for range t.segs {
			for range t.klen {
				row := &narrow
				if src := unsafe.Add(t.b, b); t.cols == portableCols {
					row = (*[portableCols]float32)(src)
				} else {
					copy(narrow[:], unsafe.Slice((*float32)(src), t.cols))
				}
				v := *(*float32)(unsafe.Add(t.a, a))
				s0 += v * row[0]
				s1 += v * row[1]
				s2 += v * row[2]
				s3 += v * row[3]
				s4 += v * row[4]
				s5 += v * row[5]
				s6 += v * row[6]
				s7 += v * row[7]
				a += t.aks
				b += t.bks
			}
			a += t.segStep
			b += t.bSegStep
		}
		a += t.outStep
		b += t.bOutStep
	}
	t.storeRow(c, &[portableCols]float32{s0, s1, s2, s3, s4, s5, s6, s7})
}

// storeRow writes the sums of one row to C at byte offset c, or adds them.
func (t *tile) storeRow(c int, sum *[portableCols]float32) {
	out := unsafe.Slice((*float32)(unsafe.Add(t.c, c)), t.cols)
	if t.acc == 0 {
		copy(out, sum[:])
		return
	}
	for j := range out {
		out[j] += sum[j]
	}
}
