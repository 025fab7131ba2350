package kernels

import (
	"fmt"
	"os"
	"strings"
	"unsafe"
)

// isa is a set of micro-kernels for one instruction set.
type isa struct {
	name     string
	widths   widths       // by growing nr
	pairs    widths       // the same over pairs of bfloat16, see bf16.go
	pairPace float64      // multiply-adds of pairs in the time of one of widths
	fetch    float64      // cost in cycles of bringing one vector of a packed B to the registers
	winograd []transforms // by growing m

	// transpose copies n blocks of 8x8 floats: column i of a block, whose rows are srcRow bytes apart, becomes row i
	// of its copy, whose rows are dstRow bytes apart. Blocks follow each other along the rows of src and down the
	// columns of dst. It may be nil.
	transpose func(dst, src unsafe.Pointer, dstRow, srcRow, n int)

	// copy copies rows of so many vectors of eight floats, srcRow and dstRow bytes apart. It may be nil.
	copy func(dst, src unsafe.Pointer, dstRow, srcRow, vecs, rows int)

	// joinVectors makes n vectors of eight words: a word's halves are rounded floats, one from low and one from high.
	joinVectors func(dst, low, high unsafe.Pointer, n int)

	// joinNeighbourVectors makes n vectors of eight words: a word's halves are two neighbours of src, rounded.
	joinNeighbourVectors func(dst, src unsafe.Pointer, n int)

	// transposePairs is transpose with words made as joinNeighbourVectors makes them: of 8 columns of 16 floats.
	transposePairs func(dst, src unsafe.Pointer, dstRow, srcRow, n int)
}

// width is the family of micro-kernels of one number of columns.
type width struct {
	nr    int           // columns
	vecs  int           // vector registers that a row of C takes
	tiles []func(*tile) // tiles[m-1] has m rows
}

var portable = &isa{
	name:     "portable",
	widths:   portableWidths(tilePortable),
	pairs:    portableWidths(pairTilePortable),
	pairPace: 0.5,
	fetch:    0.75,
	winograd: portableTransforms(),
}

func portableWidths(f func(*tile)) widths {
	return widths{{nr: portableCols, vecs: portableCols, tiles: []func(*tile){f, f, f, f}}}
}

// active is what new pools use.
var active = choose(os.Getenv("SDR_CPU"))

// ISA names the instruction set whose kernels new pools use: "portable", "avx2", "avx512" or "bf16", which is avx512 with
// instructions for bfloat16. It is the best that the CPU has, unless the environment variable SDR_CPU names another.
func ISA() string { return active.name }

// ISAs names the instruction sets that this CPU has, the best one last.
func ISAs() []string {
	var names []string
	for _, s := range supported() {
		names = append(names, s.name)
	}
	return names
}

// choose returns the named instruction set, or the best one for "".
func choose(name string) *isa {
	all := supported()
	if name == "" {
		return all[len(all)-1]
	}
	for _, s := range all {
		if s.name == name {
			return s
		}
	}
	panic(fmt.Sprintf("kernels: environment variable SDR_CPU=%q: this CPU has %s; unset it or name one of these",
		name, strings.Join(ISAs(), ", ")))
}
