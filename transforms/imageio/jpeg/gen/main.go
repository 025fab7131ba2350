// Command gen generates the inner loops of package jpeg in AVX2 assembly, with their Go declarations. They are bitwise
// equivalent to the Go functions they replace.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64")
	idct8()
	idct4()
	fromYCC()
	expand()
	Generate()
}

// The constants that were already written.
var (
	constants = map[int]Mem{}
	patterns  = map[string]Mem{}
)

// words returns a vector of equal 32-bit numbers in memory.
func words(v int) Mem {
	if _, ok := constants[v]; !ok {
		constants[v] = GLOBL(fmt.Sprintf("words%08x", uint32(v)), RODATA|NOPTR)
		for i := range 8 {
			DATA(4*i, I32(v))
		}
	}
	return constants[v]
}

// pattern returns a VPSHUFB pattern in memory, the same for both halves of a vector.
func pattern(name string, at [16]int) Mem {
	if _, ok := patterns[name]; !ok {
		patterns[name] = GLOBL(name, RODATA|NOPTR)
		for i := range 32 {
			DATA(i, I8(at[i%16]))
		}
	}
	return patterns[name]
}

// vector is a YMM register that may be overwritten.
type vector = VecVirtual

func load(m Mem) vector                 { v := YMM(); VMOVDQU(m, v); return v }
func plus(a, b vector) vector           { v := YMM(); VPADDD(a, b, v); return v }
func minus(a, b vector) vector          { v := YMM(); VPSUBD(b, a, v); return v }
func times(a vector, factor int) vector { v := YMM(); VPMULLD(words(factor), a, v); return v }

// idct8 generates the transform of the columns and then the rows of a block.
func idct8() {
	dst, stride, x := block("avx2IDCT8")
	x = transpose(transform8(x, 13-2))
	clip(x[:])
	x = transform8(x, 13+2+3)
	left, right := samples(x[0], x[1], x[2], x[3]), samples(x[4], x[5], x[6], x[7])
	rows := [2]vector{YMM(), YMM()} // two in each half: 0, 1, 4, 5 and 2, 3, 6, 7
	VPUNPCKLDQ(right, left, rows[0])
	VPUNPCKHDQ(right, left, rows[1])
	for half := range 2 {
		for _, r := range rows {
			two := r.AsX()
			if half == 1 {
				two = upper(r).AsX()
			}
			VMOVQ(two, Mem{Base: dst})
			VPEXTRQ(U8(1), two, Mem{Base: dst, Index: stride, Scale: 1})
			LEAQ(Mem{Base: dst, Index: stride, Scale: 2}, dst)
		}
	}
	VZEROUPPER()
	RET()
}

// idct4 is idct8 at half the size.
func idct4() {
	dst, stride, x := block("avx2IDCT4")
	t := transpose4(transform4(x, 13-2+1))
	clip(t[:])
	for i, v := range t { // columns 4 to 7 are in the upper half, 0 to 3 in the lower
		x[i], x[i+4] = v, upper(v)
	}
	v := transform4(x, 13+2+3+1)
	rows := samples(v[0], v[1], v[2], v[3]).AsX()
	for i := range 4 {
		VPEXTRD(U8(i), rows, Mem{Base: dst})
		ADDQ(stride, dst)
	}
	VZEROUPPER()
	RET()
}

// block begins a function that transforms a block and loads its rows.
func block(name string) (dst, stride Register, x [8]vector) {
	TEXT(name, NOSPLIT, "func(dst []uint8, stride int, b *[64]int16)")
	Pragma("noescape")
	dst, stride = Load(Param("dst").Base(), GP64()), Load(Param("stride"), GP64())
	b := Load(Param("b"), GP64())
	for i := range x {
		x[i] = YMM()
		VPMOVSXWD(Mem{Base: b, Disp: 16 * i}, x[i])
	}
	return dst, stride, x
}

// samples shifts four columns to 0..255, clips them to bytes and transposes them to rows of four bytes in each half.
func samples(a, b, c, d vector) vector {
	offset := load(words(128<<16 | 128))
	for _, pair := range [][2]vector{{a, b}, {c, d}} {
		VPACKSSDW(pair[1], pair[0], pair[0])
		VPADDSW(offset, pair[0], pair[0])
	}
	VPACKUSWB(c, a, a)
	VPSHUFB(pattern("columnsToRows", [16]int{0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15}), a, a)
	return a
}

// upper returns the upper half of v in the lower half.
func upper(v vector) vector {
	u := YMM()
	VEXTRACTI128(U8(1), v, u.AsX())
	return u
}

// transform8 is the Go function of that name without the transpose and the clipping.
func transform8(x [8]vector, shift int) [8]vector {
	t := products(x[2], x[6], [2]int{4433 + 6270, 4433}, [2]int{4433, 4433 - 15137})
	t3, t2 := t[0], t[1]
	t0, t1 := plus(x[0], x[4]), minus(x[0], x[4])
	for _, t := range []vector{t0, t1} {
		VPSLLD(U8(16), t, t) // overflow like words of 16 bits
		VPSRAD(U8(16-13), t, t)
		VPADDD(words(1<<(shift-1)), t, t)
	}
	even := [4]vector{plus(t0, t3), plus(t1, t2), minus(t1, t2), minus(t0, t3)}

	z := products(plus(x[7], x[3]), plus(x[5], x[1]), [2]int{9633 - 16069, 9633}, [2]int{9633, 9633 - 3196})
	outer := products(x[7], x[1], [2]int{2446 - 7373, -7373}, [2]int{-7373, 12299 - 7373})
	inner := products(x[5], x[3], [2]int{16819 - 20995, -20995}, [2]int{-20995, 25172 - 20995})
	odd := [4]vector{plus(outer[1], z[1]), plus(inner[1], z[0]), plus(inner[0], z[1]), plus(outer[0], z[0])}
	var out [8]vector
	for i := range 4 {
		out[i], out[7-i] = plus(even[i], odd[i]), minus(even[i], odd[i])
	}
	for _, v := range out {
		VPSRAD(U8(shift), v, v)
	}
	return out
}

// products returns sums of products of a and b, of which only the low words count, with pairs of factors.
func products(a, b vector, factors ...[2]int) (sums []vector) {
	both := YMM()
	VPSLLD(U8(16), b, both)
	VPBLENDW(U8(0xaa), both, a, both)
	for _, f := range factors {
		v := YMM()
		VPMADDWD(words(int(int32(f[1]<<16|f[0]&0xffff))), both, v)
		sums = append(sums, v)
	}
	return sums
}

// clip clips numbers to words of 16 bits.
func clip(x []vector) {
	for _, v := range x {
		VPMINSD(words(32767), v, v)
		VPMAXSD(words(-32768), v, v)
	}
}

// transform4 is the Go function of that name followed by descale, without the clipping.
func transform4(x [8]vector, shift int) [4]vector {
	t0 := YMM()
	VPSLLD(U8(13+1), x[0], t0)
	VPADDD(words(1<<(shift-1)), t0, t0)
	t2 := products(x[2], x[6], [2]int{15137, -6270})[0]
	far := products(x[7], x[5], [2]int{-1730, 11893}, [2]int{-4176, -4926})
	near := products(x[3], x[1], [2]int{-17799, 8697}, [2]int{7373, 20995})
	o1, o0 := plus(far[0], near[0]), plus(far[1], near[1])
	e0, e1 := plus(t0, t2), minus(t0, t2)
	out := [4]vector{plus(e0, o0), plus(e1, o1), minus(e1, o1), minus(e0, o0)}
	for _, v := range out {
		VPSRAD(U8(shift), v, v)
	}
	return out
}

// transpose turns columns into rows.
func transpose(x [8]vector) (out [8]vector) {
	top, bottom := transpose4([4]vector(x[:4])), transpose4([4]vector(x[4:]))
	for i := range 4 {
		out[i], out[i+4] = YMM(), bottom[i]
		VPERM2I128(U8(0x20), bottom[i], top[i], out[i])
		VPERM2I128(U8(0x31), bottom[i], top[i], out[i+4])
	}
	return out
}

// transpose4 turns columns into rows in each half.
func transpose4(x [4]vector) [4]vector {
	swap := func(i, k int, low, high func(ops ...Op)) {
		v := YMM()
		low(x[k], x[i], v)
		high(x[k], x[i], x[k])
		x[i] = v
	}
	swap(0, 1, VPUNPCKLDQ, VPUNPCKHDQ)
	swap(2, 3, VPUNPCKLDQ, VPUNPCKHDQ)
	swap(0, 2, VPUNPCKLQDQ, VPUNPCKHQDQ)
	swap(1, 3, VPUNPCKLQDQ, VPUNPCKHQDQ)
	x[1], x[2] = x[2], x[1]
	return x
}

// fromYCC writes n pixels, a multiple of 8, and 4 bytes after them.
func fromYCC() {
	TEXT("avx2FromYCC", NOSPLIT, "func(out, luma, blue, red []uint8, n int)")
	Pragma("noescape")
	out, n, i := Load(Param("out").Base(), GP64()), Load(Param("n"), GP64()), GP64()
	base := map[string]Register{}
	for _, name := range []string{"luma", "blue", "red"} {
		base[name] = Load(Param(name).Base(), GP64())
	}
	order := load(pattern("planesToPixels", [16]int{0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, -1, -1, -1, -1}))
	half, middle := load(words(1<<15)), load(words(128))
	XORQ(i, i)
	Label("pixels")
	read := func(name string) vector {
		v := YMM()
		VPMOVZXBD(Mem{Base: base[name], Index: i, Scale: 1}, v)
		return v
	}
	luma, blue, red := read("luma"), minus(read("blue"), middle), minus(read("red"), middle)
	channel := func(v vector) vector {
		VPADDD(half, v, v)
		VPSRAD(U8(16), v, v)
		VPADDD(luma, v, v)
		return v
	}
	r := channel(times(red, 91881))
	g := channel(plus(times(blue, -22554), times(red, -46802)))
	b := channel(times(blue, 116130))
	VPACKSSDW(g, r, r)
	VPACKSSDW(b, b, b)
	VPACKUSWB(b, r, r)
	VPSHUFB(order, r, r)
	second := XMM()
	VEXTRACTI128(U8(1), r, second)
	VMOVDQU(r.AsX(), Mem{Base: out})
	VMOVDQU(second, Mem{Base: out, Disp: 12})
	ADDQ(I8(24), out)
	ADDQ(I8(8), i)
	CMPQ(i, n)
	JLT(LabelRef("pixels"))
	VZEROUPPER()
	RET()
}

// expand writes the pixels of n samples, a multiple of 16, starting at the second. One more sample must follow.
func expand() {
	TEXT("avx2Expand", NOSPLIT, "func(out, near, far []uint8, left, right uint16, n int)")
	Pragma("noescape")
	out, n, i := Load(Param("out").Base(), GP64()), Load(Param("n"), GP64()), GP64()
	near, far := Load(Param("near").Base(), GP64()), Load(Param("far").Base(), GP64())
	bias := func(name string) vector {
		word, v := GP32(), YMM()
		Load(Param(name), word)
		VMOVD(word, v.AsX())
		VPBROADCASTW(v.AsX(), v)
		return v
	}
	left, right := bias("left"), bias("right")
	XORQ(i, i)
	Label("samples")
	// sum is 3*near + far for the samples from i + at on.
	sum := func(at int) vector {
		n, f := YMM(), YMM()
		VPMOVZXBW(Mem{Base: near, Index: i, Scale: 1, Disp: at}, n)
		VPMOVZXBW(Mem{Base: far, Index: i, Scale: 1, Disp: at}, f)
		VPADDW(n, f, f)
		VPADDW(n, n, n)
		VPADDW(n, f, f)
		return f
	}
	before, here, after, three := sum(0), sum(1), sum(2), YMM()
	VPADDW(here, here, three)
	VPADDW(here, three, three)
	for _, side := range [][2]vector{{before, left}, {after, right}} {
		VPADDW(three, side[0], side[0])
		VPADDW(side[1], side[0], side[0])
		VPSRLW(U8(4), side[0], side[0])
	}
	VPSLLW(U8(8), after, after)
	VPOR(after, before, before)
	VMOVDQU(before, Mem{Base: out, Index: i, Scale: 2, Disp: 2})
	ADDQ(I8(16), i)
	CMPQ(i, n)
	JLT(LabelRef("samples"))
	VZEROUPPER()
	RET()
}
