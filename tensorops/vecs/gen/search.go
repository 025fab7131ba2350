package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// block is the number of elements that one iteration of the loops below handles; they get whole blocks only.
const block = 16

// writeSearch writes the loops that find nearest vectors, for one instruction set.
func (s isa) writeSearch() {
	s.distance("SquareDistance", "x, y")
	s.distance("SquareNorm", "x")
	s.addFixed()
	s.least()
	s.compare("Within", "p, low, reach", "length, limit", func(l *loop, c map[string]VecVirtual, disp int, k, byte Register) {
		const atMost = 2
		v := s.vec()
		VMOVUPS(l.at("low", disp), v)
		VSUBPS(l.at("p", disp), v, v)
		VFNMADD231PS(l.at("reach", disp), c["length"], v)
		s.bits(atMost, c["limit"], v, k, byte)
	})
	s.compare("Greater", "p", "limit", func(l *loop, c map[string]VecVirtual, disp int, k, byte Register) {
		const greater = 14
		v := s.vec()
		VMOVUPS(l.at("p", disp), v)
		s.bits(greater, c["limit"], v, k, byte)
	})
}

// at returns the vector of a slice that is disp elements after the current one.
func (l *loop) at(slice string, disp int) Mem {
	return Mem{Base: l.bases[slice], Index: l.offset, Scale: 4, Disp: 4 * disp}
}

// blocks writes a loop over n elements, with the index of the current one in l.offset.
func (l *loop) blocks(n Register, body func()) {
	l.offset = GP64()
	XORQ(l.offset, l.offset)
	JMP(LabelRef("test"))
	Label("block")
	body()
	ADDQ(I32(block), l.offset)
	Label("test")
	CMPQ(l.offset, n)
	JLT(LabelRef("block"))
}

// distance writes a sum of squares in double precision, of x - y or of x. Element i is added to sum i%block without a
// fused multiply-add; then sum i is added to sum i-8, i-4, i-2 and i-1, in this order.
func (s isa) distance(name, slices string) {
	TEXT(s.name+name, NOSPLIT, "func("+slices+" []float32) float64")
	Pragma("noescape")
	l := &loop{isa: s, bases: map[string]Register{}}
	l.base(slices)
	lanes := s.width / 2
	sums := make([]VecVirtual, block/lanes)
	for i := range sums {
		sums[i] = s.zero()
	}
	l.blocks(Load(Param("x").Len(), GP64()), func() {
		for i, sum := range sums {
			v := s.vec()
			VCVTPS2PD(l.at("x", i*lanes), v)
			if l.bases["y"] != nil {
				y := s.vec()
				VCVTPS2PD(l.at("y", i*lanes), y)
				VSUBPD(y, v, v)
			}
			VMULPD(v, v, v)
			VADDPD(v, sum, sum)
		}
	})
	for n := len(sums) / 2; n > 0; n /= 2 {
		for i := range n {
			VADDPD(sums[i+n], sums[i], sums[i])
		}
	}
	sum := sums[0].AsY()
	if s.evex() {
		high := YMM()
		VEXTRACTF64X4(U8(1), sums[0], high)
		VADDPD(high, sum, sum)
	}
	high, low := XMM(), sums[0].AsX()
	VEXTRACTF128(U8(1), sum, high)
	VADDPD(high, low, low)
	VPERMILPD(U8(1), low, high)
	VADDSD(high, low, low)
	VZEROUPPER()
	Store(low, ReturnIndex(0))
	RET()
}

// addFixed writes the loop that adds rounded multiples. Adding 1.5*2^52 leaves the nearest integer in the low bits.
func (s isa) addFixed() {
	TEXT(s.name+"AddFixed", NOSPLIT, "func(sums []int64, x []float32, scale float64)")
	Pragma("noescape")
	l := &loop{isa: s, bases: map[string]Register{}}
	l.base("sums, x")
	factor, magic := s.vec(), s.vec()
	VBROADCASTSD(address("scale"), factor)
	bits, x := GP64(), XMM()
	MOVQ(U64(0x4338000000000000), bits)
	VMOVQ(bits, x)
	VPBROADCASTQ(x, magic)
	lanes := s.width / 2
	l.blocks(Load(Param("x").Len(), GP64()), func() {
		for i := range block / lanes {
			v := s.vec()
			VCVTPS2PD(l.at("x", i*lanes), v)
			VMULPD(factor, v, v)
			VADDPD(magic, v, v)
			sum := Mem{Base: l.bases["sums"], Index: l.offset, Scale: 8, Disp: 8 * i * lanes}
			VPSUBQ(magic, v, v)
			VPADDQ(sum, v, v)
			if s.evex() {
				VMOVDQU64(v, sum)
			} else {
				VMOVDQU(v, sum)
			}
		}
	})
	VZEROUPPER()
	RET()
}

// least writes the minimum of high - p + length*reach.
func (s isa) least() {
	TEXT(s.name+"Least", NOSPLIT, "func(p, high, reach []float32, length float32) float32")
	Pragma("noescape")
	l := &loop{isa: s, bases: map[string]Register{}}
	l.base("p, high, reach")
	length := s.vec()
	VBROADCASTSS(address("length"), length)
	infinity, x := GP32(), XMM()
	MOVL(U32(0x7f800000), infinity)
	VMOVD(infinity, x)
	mins := make([]VecVirtual, block/s.width)
	for i := range mins {
		mins[i] = s.vec()
		VBROADCASTSS(x, mins[i])
	}
	l.blocks(Load(Param("p").Len(), GP64()), func() {
		for i, least := range mins {
			v := s.vec()
			VMOVUPS(l.at("high", i*s.width), v)
			VSUBPS(l.at("p", i*s.width), v, v)
			VFMADD231PS(l.at("reach", i*s.width), length, v)
			VMINPS(v, least, least)
		}
	})
	least := mins[0].AsY()
	if s.evex() {
		high := YMM()
		VEXTRACTF64X4(U8(1), mins[0], high)
		VMINPS(high, least, least)
	} else {
		VMINPS(mins[1], least, least)
	}
	high, low := XMM(), mins[0].AsX()
	VEXTRACTF128(U8(1), least, high)
	VMINPS(high, low, low)
	VPERMILPS(U8(0x4e), low, high)
	VMINPS(high, low, low)
	VPERMILPS(U8(0xb1), low, high)
	VMINPS(high, low, low)
	VZEROUPPER()
	Store(low, ReturnIndex(0))
	RET()
}

// compare writes a loop that sets one bit of mask per element; body computes those of one vector.
func (s isa) compare(name, slices, coefficients string, body func(l *loop, c map[string]VecVirtual, disp int, k, byte Register)) {
	TEXT(s.name+name, NOSPLIT, "func(mask []uint64, "+slices+" []float32, "+coefficients+" float32)")
	Pragma("noescape")
	l := &loop{isa: s, bases: map[string]Register{}}
	l.base("mask, " + slices)
	c := map[string]VecVirtual{}
	for _, name := range split(coefficients) {
		c[name] = s.vec()
		VBROADCASTSS(address(name), c[name])
	}
	mask := l.bases["mask"]
	l.blocks(Load(Param("p").Len(), GP64()), func() {
		for i := range block / s.width {
			var k Register
			if s.evex() {
				k = K()
			}
			bits := GP32()
			body(l, c, i*s.width, k, bits)
			if s.evex() {
				MOVW(bits.As16(), Mem{Base: mask})
			} else {
				MOVB(bits.As8(), Mem{Base: mask, Disp: i})
			}
		}
		ADDQ(I32(block/8), mask)
	})
	VZEROUPPER()
	RET()
}

// bits sets one bit per element of v that compares with limit.
func (s isa) bits(predicate uint8, limit, v VecVirtual, k, bits Register) {
	if s.evex() {
		VCMPPS(U8(predicate), limit, v, k)
		KMOVW(k, bits)
		return
	}
	VCMPPS(U8(predicate), limit, v, v)
	VMOVMSKPS(v, bits)
}
