package kernels

import "unsafe"

// tile holds the arguments of one micro-kernel call, which computes for i < rows and j < cols
//
//	C[i*ldc + j] (+)= sum_{o<outer} sum_{s<segs} sum_{k<klen} A[i*ars + o*aos + s*ass + k*aks] * B[o*bos + s*bss + k*bks + j]
//
// adding in the order written. It then does the same for reps-1 more tiles, each with A and C moved on by aRep and
// cRep, and the same B. Strides are in bytes. A and C are never touched outside these elements, nor is B.
// The assembly reads the fields by their offsets: keep the order in step with gen/main.go.
type tile struct {
	a, b, c  unsafe.Pointer
	mask     unsafe.Pointer // lanes of the last vector as eight int32 (AVX2)
	ars, aks int
	segStep  int // what is added to A after a segment: ass - klen*aks
	outStep  int // what is added to A after an outer step: aos - segs*ass
	bks      int
	bSegStep int // what is added to B after a segment: bss - klen*bks
	bOutStep int // what is added to B after an outer step: bos - segs*bss
	ldc      int
	klen     int
	segs     int
	outer    int // 0 where the sum is empty
	cols     int // 1..nr of the kernel, and more than nr less one vector
	acc      int // 1: add to C; 0: overwrite it
	reps     int // at least 1
	aRep     int
	cRep     int
	rows     int // as many as the kernel is made for; read by the portable kernel only
}

const f32 = 4 // bytes in a float32

// laneMasks[8-n:] starts with n set lanes.
var laneMasks = [16]int32{-1, -1, -1, -1, -1, -1, -1, -1}

// window is the parts of A and B that a tile reads: strides in floats, see tile. The rows of B are taken one after the
// other, but for skip rows after every segment and skipOut more after every outer step.
type window struct {
	ars, aks, ass, aos int
	bks, skip, skipOut int
	klen, segs, outer  int
}

// setWindow fills in the strides and lengths.
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

// repeat makes the tile compute n tiles, A and C moving on by a and c floats.
func (t *tile) repeat(n, a, c int) { t.reps, t.aRep, t.cRep = n, a*f32, c*f32 }

// setCols sets the number of columns.
func (t *tile) setCols(cols int) {
	t.cols = cols
	t.mask = unsafe.Pointer(&laneMasks[(8-cols%8)%8])
}

// read makes the tile read A from a[i] on and B from b[j] on. Where the sum is empty, i and j may lie outside.
func (t *tile) read(a []float32, i int, b []float32, j int) {
	t.a, t.b = nil, nil
	if t.outer > 0 {
		t.a, t.b = unsafe.Pointer(&a[i]), unsafe.Pointer(&b[j])
	}
}

// write makes the tile write C from c[i] on.
func (t *tile) write(c []float32, i int) { t.c = unsafe.Pointer(&c[i]) }

// multiply computes m rows of C, ldc floats apart, in one panel of columns from the rows of A and the packed panel b.
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

// tilePortable is the micro-kernel in Go, for any rows and cols <= portableCols.
func tilePortable(t *tile) {
	for r := range t.reps {
		for i := range t.rows {
			t.portableRow(r*t.aRep+i*t.ars, r*t.cRep+i*t.ldc)
		}
	}
}

// portableRow computes one row, A and C being a and c bytes further on.
func (t *tile) portableRow(a, c int) {
	var s0, s1, s2, s3, s4, s5, s6, s7 float32
	var narrow [portableCols]float32 // a row of B with fewer columns, filled up with zeros
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

// storeRow writes the sums of one row of C, c bytes further on, or adds them to it.
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
