// Command gen writes the AVX2 assembly loops of package resample and their Go declarations. They compute the same bits
// as the Go functions that their comments name.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// precision is the package's constant of that name.
const precision = 22

func main() {
	ConstraintExpr("amd64")
	half := GLOBL("half", RODATA|NOPTR) // the initial value of a sum
	for i := range 8 {
		DATA(4*i, I32(1<<(precision-1)))
	}
	row(half)
	column(half)
	Generate()
}

// row writes the loop over one row. It handles a pixel at a time, as four 32-bit integers, the last unused.
func row(half Mem) {
	TEXT("avx2Row", NOSPLIT, "func(to, row []uint8, spans []struct{ first, n int }, weights []int32)")
	Doc("avx2Row is scaleRow. It also reads the byte after the row and writes the byte after the last pixel.")
	Pragma("noescape")
	to, from := Load(Param("to").Base(), GP64()), Load(Param("row").Base(), GP64())
	spans, left := Load(Param("spans").Base(), GP64()), Load(Param("spans").Len(), GP64())
	weights := Load(Param("weights").Base(), GP64())
	pixel, n := GP64(), GP64()
	Label("pixel")
	MOVQ(Mem{Base: spans}, pixel)
	LEAQ(Mem{Base: pixel, Index: pixel, Scale: 2}, pixel)
	ADDQ(from, pixel)
	MOVQ(Mem{Base: spans, Disp: 8}, n)
	sum, weight, p := XMM(), XMM(), XMM()
	VMOVDQU(half, sum)
	TESTQ(n, n)
	JZ(LabelRef("store"))
	Label("tap")
	VPBROADCASTD(Mem{Base: weights}, weight)
	VPMOVZXBD(Mem{Base: pixel}, p)
	VPMULLD(weight, p, p)
	VPADDD(p, sum, sum)
	ADDQ(U8(3), pixel)
	ADDQ(U8(4), weights)
	DECQ(n)
	JNZ(LabelRef("tap"))
	Label("store")
	VPSRAD(U8(precision), sum, sum)
	VPACKSSDW(sum, sum, sum)
	VPACKUSWB(sum, sum, sum)
	VMOVD(sum, Mem{Base: to})
	ADDQ(U8(3), to)
	ADDQ(U8(16), spans)
	DECQ(left)
	JNZ(LabelRef("pixel"))
	RET()
}

// column writes the loop over one output row, 16 bytes at a time.
func column(half Mem) {
	TEXT("avx2Column", NOSPLIT, "func(to, rows []uint8, weights []int32, stride, groups int)")
	Doc("avx2Column is scaleColumns for the given number of groups of 16 bytes.")
	Pragma("noescape")
	to, from := Load(Param("to").Base(), GP64()), Load(Param("rows").Base(), GP64())
	weights, taps := Load(Param("weights").Base(), GP64()), Load(Param("weights").Len(), GP64())
	stride, groups := Load(Param("stride"), GP64()), Load(Param("groups"), GP64())
	at, weight, n := GP64(), GP64(), GP64()
	Label("group")
	MOVQ(from, at)
	MOVQ(weights, weight)
	MOVQ(taps, n)
	sums := [2]VecVirtual{YMM(), YMM()}
	for _, s := range sums {
		VMOVDQU(half, s)
	}
	Label("tap")
	w := YMM()
	VPBROADCASTD(Mem{Base: weight}, w)
	for i, s := range sums {
		p := YMM()
		VPMOVZXBD(Mem{Base: at, Disp: 8 * i}, p)
		VPMULLD(w, p, p)
		VPADDD(p, s, s)
	}
	ADDQ(stride, at)
	ADDQ(U8(4), weight)
	DECQ(n)
	JNZ(LabelRef("tap"))
	for _, s := range sums {
		VPSRAD(U8(precision), s, s)
	}
	VPACKSSDW(sums[1], sums[0], sums[0])
	VPERMQ(U8(0b11011000), sums[0], sums[0])
	high := XMM()
	VEXTRACTI128(U8(1), sums[0], high)
	VPACKUSWB(high, sums[0].AsX(), high)
	VMOVDQU(high, Mem{Base: to})
	ADDQ(U8(16), from)
	ADDQ(U8(16), to)
	DECQ(groups)
	JNZ(LabelRef("group"))
	VZEROUPPER()
	RET()
}
