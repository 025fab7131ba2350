package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// vdpbf16ps writes VDPBF16PS, which neither avo nor Go's assembler supports: to each float of sum it adds the products
// of the halves of the words of a and b. All three have the same size, 16 or 8 floats.
func vdpbf16ps(b, a, sum Op) {
	number := func(r Op) uint8 { return uint8(r.(Physical).PhysicalIndex()) }
	reg, vvvv, rm := number(sum), number(a), number(b)
	not := func(n, bit uint8) uint8 { return ^(n >> bit) & 1 }
	length := uint8(sum.(Register).Size() / 32) // 1: 256 bits, 2: 512
	for _, code := range []uint8{
		0x62,
		not(reg, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(reg, 4)<<4 | 0b10, // map 0F 38
		^vvvv&0xf<<3 | 0b110,        // prefix F3
		length<<5 | not(vvvv, 4)<<3, //
		0x52,                        // opcode
		0b11<<6 | reg&7<<3 | rm&7,   // register operands
	} {
		Instruction(&ir.Instruction{Opcode: "BYTE", Operands: []Op{U8(code)}})
	}
}

// constants are vectors with eight times the same 32 bits.
type constants map[uint32]Mem

func (c constants) eight(bits uint32) Mem {
	m, ok := c[bits]
	if !ok {
		m = GLOBL(fmt.Sprintf("eight%08x", bits), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, U32(bits))
		}
		c[bits] = m
	}
	return m
}

// rounded loads eight floats, rounded to bfloat16 in the high halves; the low halves are undefined.
func (c constants) rounded(from Mem) VecVirtual {
	x, up, isNaN, quiet := YMM(), YMM(), YMM(), YMM()
	VMOVUPS(from, x)
	VPSRLD(U8(16), x, up) // rounds ties to even: the last bit that is kept
	VPAND(c.eight(1), up, up)
	VPADDD(x, up, up)
	VPADDD(c.eight(0x7fff), up, up)
	VCMPPS(U8(3), x, x, isNaN)
	VORPS(c.eight(0x400000), x, quiet)
	VBLENDVPS(isNaN, quiet, up, up)
	return up
}

// joined packs rounded floats into words.
func joined(low, high VecVirtual) VecVirtual {
	VPSRLD(U8(16), low, low)
	VPBLENDW(U8(0b10101010), high, low, low)
	return low
}

// neighbours loads 16 floats as words of adjacent ones.
func (c constants) neighbours(at func(vector int) Mem) VecVirtual {
	first, second := c.rounded(at(0)), c.rounded(at(1))
	even, odd := YMM(), YMM() // floats 0 2 8 10 4 6 12 14 and the ones after them
	VSHUFPS(U8(0b10001000), second, first, even)
	VSHUFPS(U8(0b11011101), second, first, odd)
	words := joined(even, odd)
	VPERMQ(U8(0b11011000), words, words)
	return words
}

// joins writes the functions that make words. The fields joinVectors and joinNeighbourVectors of type isa document
// them.
func (c constants) joins() {
	TEXT("avx2Join", NOSPLIT, "func(dst, low, high *byte, n int)")
	dst, n := Load(Param("dst"), GP64()), Load(Param("n"), GP64())
	low, high := Load(Param("low"), GP64()), Load(Param("high"), GP64())
	Label("vector")
	VMOVUPS(joined(c.rounded(Mem{Base: low}), c.rounded(Mem{Base: high})), Mem{Base: dst})
	for _, p := range []Register{low, high, dst} {
		ADDQ(U8(32), p)
	}
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()

	TEXT("avx2JoinNeighbours", NOSPLIT, "func(dst, src *byte, n int)")
	dst, n = Load(Param("dst"), GP64()), Load(Param("n"), GP64())
	src := Load(Param("src"), GP64())
	Label("vector")
	VMOVUPS(c.neighbours(func(i int) Mem { return Mem{Base: src, Disp: 32 * i} }), Mem{Base: dst})
	ADDQ(U8(64), src)
	ADDQ(U8(32), dst)
	DECQ(n)
	JNZ(LabelRef("vector"))
	VZEROUPPER()
	RET()
}
