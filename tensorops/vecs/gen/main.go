// Command gen writes the assembly loops of package vecs and their Go declarations. The exported function of a loop's
// name documents what it computes; no argument is empty.
package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// unroll is the number of vectors per iteration of the main loop. Four vectors with two sums and a mean each fit the 16
// registers of AVX2.
const unroll = 4

func main() {
	ConstraintExpr("amd64")
	lanes := GLOBL("lanes", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(i))
	}
	for _, s := range []isa{{"avx2", 8, lanes}, {"avx512", 16, lanes}} {
		s.tiled("ScaleShift", "y, x", "a, b", "", func(v vector) {
			v.store(v.scaleShift(), "y")
		})
		s.tiled("ScaleShiftReLU", "y, x", "a, b", "top", func(v vector) {
			v.store(v.rectify(v.scaleShift()), "y")
		})
		s.tiled("ScaleShiftAdd", "y, x, r", "a, b", "", func(v vector) {
			v.store(v.scaleShiftAdd(), "y")
		})
		s.tiled("ScaleShiftAddReLU", "y, x, r", "a, b", "top", func(v vector) {
			v.store(v.rectify(v.scaleShiftAdd()), "y")
		})
		s.tiled("Combine", "y, g, x", "a, b, c, mean", "", func(v vector) {
			sum, deviation := v.load("c"), v.load("x")
			VSUBPS(v.operand("mean"), deviation, deviation)
			VFMADD231PS(v.operand("b"), deviation, sum)
			VFMADD231PS(v.operand("a"), v.load("g"), sum)
			v.store(sum, "y")
		})
		s.flat("Step", "w, g, v", "scale, decay, momentum, a, b", func(v vector, c map[string]VecVirtual) {
			w, d := v.load("w"), v.load("g")
			VFMADD231PS(c["decay"], w, d)
			VMULPS(c["scale"], d, d)
			speed := v.load("v")
			VFMADD213PS(d, c["momentum"], speed)
			v.store(speed, "v")
			VFNMADD231PS(c["a"], speed, w)
			VFNMADD231PS(c["b"], d, w)
			v.store(w, "w")
		})
		s.flat("AdamW", "w, g, m, v", "keep, a, b, size, floor", func(v vector, c map[string]VecVirtual) {
			mean, square, g := v.load("m"), v.load("v"), v.load("g")
			change := s.vec()
			VSUBPS(mean, g, change)
			VFMADD231PS(c["a"], change, mean)
			v.store(mean, "m")
			VMULPS(g, g, g)
			VSUBPS(square, g, g)
			VFMADD231PS(c["b"], g, square)
			v.store(square, "v")
			VSQRTPS(square, square)
			VADDPS(c["floor"], square, square)
			VDIVPS(square, mean, mean)
			w := v.load("w")
			VMULPS(c["keep"], w, w)
			VFNMADD231PS(c["size"], mean, w)
			v.store(w, "w")
		})

		s.summed("Moments", "s, q, x, mean", "", func(v vector) (value, deviation VecVirtual) {
			deviation = v.load("x")
			VSUBPS(v.mean, deviation, deviation)
			return deviation, deviation
		})
		for _, gated := range []bool{false, true} {
			for _, pair := range []bool{false, true} {
				name := map[bool]string{true: "Gate"}[gated] + map[bool]string{true: "Add"}[pair] + "GradMoments"
				s.summed(name, "s, q, d, g, h, y, x, mean", "top", func(v vector) (value, deviation VecVirtual) {
					value = v.load("g")
					if pair {
						VADDPS(v.operand("h"), value, value)
					}
					if gated {
						v.gate(value)
					}
					if gated || pair {
						v.store(value, "d")
					}
					deviation = v.load("x")
					VSUBPS(v.mean, deviation, deviation)
					return value, deviation
				})
			}
		}
		s.writeSearch()
	}
	Generate()
}

// isa writes loops for one instruction set.
type isa struct {
	name  string
	width int // floats per vector
	lanes Mem // the integers 0 to 7
}

func (s isa) evex() bool { return s.name == "avx512" }

func (s isa) vec() VecVirtual {
	if s.evex() {
		return ZMM()
	}
	return YMM()
}

func (s isa) zero() VecVirtual {
	z := s.vec()
	if s.evex() {
		VPXORD(z, z, z)
	} else {
		VXORPS(z, z, z)
	}
	return z
}

// loop is a function being written.
type loop struct {
	isa
	bases  map[string]Register // addresses of the slices
	offset Register            // of the current element, in bytes
	zeros  VecVirtual          // for ReLU
	top    VecVirtual          // its largest value
}

// begin starts a function of slices and scalars.
func (s isa) begin(name, slices, scalars string) *loop {
	TEXT(s.name+name, NOSPLIT, "func("+slices+" []float32"+scalars+")")
	Pragma("noescape")
	return &loop{isa: s, bases: map[string]Register{}}
}

// relu prepares the limits of ReLU.
func (l *loop) relu() {
	l.zeros, l.top = l.zero(), l.vec()
	VBROADCASTSS(address("top"), l.top)
}

// scalars declares float32 parameters, if there are any.
func scalars(names string) string {
	if names == "" {
		return ""
	}
	return ", " + names + " float32"
}

// address returns where a parameter is. Broadcasts read it there, since loading it into a register first takes an SSE
// instruction, which waits long if the upper halves of the vector registers are in use.
func address(parameter string) Op {
	p, err := Param(parameter).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// split returns the names in a list of parameters.
func split(names string) []string { return strings.Split(names, ", ") }

// base loads the addresses of slices.
func (l *loop) base(slices string) {
	for _, name := range split(slices) {
		l.bases[name] = Load(Param(name).Base(), GP64())
	}
}

// mask returns a mask of the first n lanes.
func (l *loop) mask(n Register) Op {
	if l.evex() {
		bits := GP64()
		MOVQ(I32(-1), bits)
		BZHIQ(n, bits, bits)
		k := K()
		KMOVW(bits.As32(), k)
		return k
	}
	x, m := XMM(), YMM()
	VMOVD(n.(GPVirtual).As32(), x)
	VPBROADCASTD(x, m)
	VPCMPGTD(l.lanes, m, m)
	return m
}

// across writes the loop over n elements: first iterations of unroll vectors, then single vectors, then the rest under
// a mask. It leaves the number of masked elements in n.
func (l *loop) across(n Register, step func(vecs int, mask Op)) {
	for _, vecs := range []int{unroll, 1} {
		label := map[int]string{unroll: "unrolled", 1: "single"}[vecs]
		SUBQ(I32(vecs*l.width), n)
		JLT(LabelRef(label + "End"))
		Label(label)
		step(vecs, nil)
		SUBQ(I32(vecs*l.width), n)
		JGE(LabelRef(label))
		Label(label + "End")
		ADDQ(I32(vecs*l.width), n)
	}
	JZ(LabelRef("restEnd"))
	step(1, l.mask(n))
	Label("restEnd")
}

// tiled writes an elementwise loop over data and tiles.
func (s isa) tiled(name, data, tiles, limit string, body func(v vector)) {
	l := s.begin(name, data+", "+tiles, scalars(limit))
	l.base(data + ", " + tiles)
	n, tile := Load(Param("x").Len(), GP64()), Load(Param("a").Len(), GP64())
	if limit != "" {
		l.relu()
	}
	left := GP64()
	l.offset = GP64()
	Label("tile")
	MOVQ(tile, left)
	CMPQ(n, left)
	CMOVQLT(n, left)
	SUBQ(left, n)
	XORQ(l.offset, l.offset)
	l.across(left, l.along(body))
	LEAQ(Mem{Base: l.offset, Index: left, Scale: 4}, l.offset) // past the masked vector
	for _, a := range split(data) {
		ADDQ(l.offset, l.bases[a])
	}
	TESTQ(n, n)
	JNZ(LabelRef("tile"))
	VZEROUPPER()
	RET()
}

// along returns one iteration of an elementwise loop.
func (l *loop) along(body func(v vector)) func(vecs int, mask Op) {
	return func(vecs int, mask Op) {
		for i := range vecs {
			body(vector{loop: l, disp: i * l.width * 4, mask: mask})
		}
		if mask == nil {
			ADDQ(I32(vecs*l.width*4), l.offset)
		}
	}
}

// flat writes an elementwise loop over data with scalar coefficients.
func (s isa) flat(name, data, coefficients string, body func(v vector, c map[string]VecVirtual)) {
	l := s.begin(name, data, scalars(coefficients))
	l.base(data)
	n := Load(Param("w").Len(), GP64())
	c := map[string]VecVirtual{}
	for _, name := range split(coefficients) {
		c[name] = s.vec()
		VBROADCASTSS(address(name), c[name])
	}
	l.offset = GP64()
	XORQ(l.offset, l.offset)
	l.across(n, l.along(func(v vector) { body(v, c) }))
	VZEROUPPER()
	RET()
}

// summed writes a loop over rows as long as the tiles s, q and mean. body returns the summand of s and the factor that
// turns it into the summand of q.
func (s isa) summed(name, args, limit string, body func(v vector) (value, deviation VecVirtual)) {
	l := s.begin(name, args, scalars(limit))
	l.base(args)
	size, cols, row := Load(Param("x").Len(), GP64()), Load(Param("s").Len(), GP64()), GP64()
	SHLQ(U8(2), size)
	MOVQ(cols, row)
	SHLQ(U8(2), row)
	if strings.HasPrefix(name, "Gate") {
		l.relu()
	}
	l.offset = GP64()
	l.across(cols, func(vecs int, mask Op) {
		vs := make([]vector, vecs)
		sums, squares := make([]VecVirtual, vecs), make([]VecVirtual, vecs)
		XORQ(l.offset, l.offset)
		for i := range vecs {
			v := vector{loop: l, disp: i * l.width * 4, mask: mask}
			sums[i], squares[i], v.mean = v.load("s"), v.load("q"), v.load("mean")
			vs[i] = v
		}
		label := "row"
		switch {
		case mask != nil:
			label = "rowMasked"
		case vecs == unroll:
			label = "rowUnrolled"
		}
		Label(label)
		for i, v := range vs {
			value, deviation := body(v)
			VADDPS(value, sums[i], sums[i])
			VFMADD231PS(value, deviation, squares[i])
		}
		ADDQ(row, l.offset)
		CMPQ(l.offset, size)
		JLT(LabelRef(label))
		XORQ(l.offset, l.offset)
		for i, v := range vs {
			v.store(sums[i], "s")
			v.store(squares[i], "q")
		}
		if mask == nil {
			for _, a := range split(args) {
				ADDQ(I32(vecs*l.width*4), l.bases[a])
			}
		}
	})
	VZEROUPPER()
	RET()
}

// vector is a position in a loop that handles one vector of every slice.
type vector struct {
	*loop
	disp int        // bytes after the offset
	mask Op         // nil for a whole vector
	mean VecVirtual // for summed
}

func (v vector) mem(slice string) Mem {
	return Mem{Base: v.bases[slice], Index: v.offset, Scale: 1, Disp: v.disp}
}

// load loads a vector of a slice into a new register.
func (v vector) load(slice string) VecVirtual {
	r := v.vec()
	switch {
	case v.mask == nil:
		VMOVUPS(v.mem(slice), r)
	case v.evex():
		VMOVUPS_Z(v.mem(slice), v.mask, r)
	default:
		VMASKMOVPS(v.mem(slice), v.mask, r)
	}
	return r
}

// operand returns a vector of a slice as the first operand of an instruction.
func (v vector) operand(slice string) Op {
	if v.mask == nil {
		return v.mem(slice)
	}
	return v.load(slice)
}

func (v vector) store(r VecVirtual, slice string) {
	switch {
	case v.mask == nil:
		VMOVUPS(r, v.mem(slice))
	case v.evex():
		VMOVUPS(r, v.mask, v.mem(slice))
	default:
		VMASKMOVPS(r, v.mask, v.mem(slice))
	}
}

// scaleShift returns a*x + b.
func (v vector) scaleShift() VecVirtual {
	sum := v.load("b")
	VFMADD231PS(v.operand("a"), v.load("x"), sum)
	return sum
}

// scaleShiftAdd returns a*x + b + r.
func (v vector) scaleShiftAdd() VecVirtual {
	sum := v.scaleShift()
	VADDPS(v.operand("r"), sum, sum)
	return sum
}

// rectify computes min(max(r, 0), top) in place and returns it. NaN stays NaN: of an unordered pair, VMAXPS and VMINPS
// take the first operand.
func (v vector) rectify(r VecVirtual) VecVirtual {
	VMAXPS(r, v.zeros, r)
	VMINPS(r, v.top, r)
	return r
}

// gate sets r to 0 where y is 0 or top.
func (v vector) gate(r VecVirtual) {
	const notEqual = 4 // or unordered
	for _, limit := range []VecVirtual{v.zeros, v.top} {
		if v.evex() {
			k := K()
			VCMPPS(U8(notEqual), v.operand("y"), limit, k)
			VMOVAPS_Z(r, k, r)
			continue
		}
		open := v.vec()
		VCMPPS(U8(notEqual), v.operand("y"), limit, open)
		VANDPS(open, r, r)
	}
}
