package kernels

import (
	"fmt"
	"os"
	"strings"
	"unsafe"
)

// isa is the set of micro-kernels for one instruction set.
type isa struct {
	name      string
	widths    widths       // in ascending order of nr
	pairs     widths       // the same for pairs of bfloat16, see bf16.go
	pairSpeed float64      // multiply-adds per second of pairs, relative to widths
	fetch     float64      // cycles to load a vector of packed B
	winograd  []transforms // in ascending order of m
	channels  *width       // for depthwise convolutions, see depthwise.go

	// transpose transposes n blocks of 8x8 floats: column i of a block, whose rows are srcRow bytes apart, becomes row
	// i of its copy, whose rows are dstRow bytes apart. Blocks are consecutive along the rows of src and the columns of
	// dst. It may be nil.
	transpose func(dst, src unsafe.Pointer, dstRow, srcRow, n int)

	// copy copies rows of vecs vectors of 8 floats, srcRow and dstRow bytes apart. It may be nil.
	copy func(dst, src unsafe.Pointer, dstRow, srcRow, vecs, rows int)

	// joinVectors makes n vectors of 8 words, each of one float from low and one from high, rounded.
	joinVectors func(dst, low, high unsafe.Pointer, n int)

	// joinNeighbourVectors makes n vectors of 8 words, each of two adjacent floats of src, rounded.
	joinNeighbourVectors func(dst, src unsafe.Pointer, n int)

	// transposePairs transposes n blocks of 8 columns of 16 floats and packs them into words as joinNeighbourVectors
	// does.
	transposePairs func(dst, src unsafe.Pointer, dstRow, srcRow, n int)
}

// width is the family of micro-kernels with the same number of columns.
type width struct {
	nr    int           // columns
	vecs  int           // vector registers per row of C
	tiles []func(*tile) // tiles[m-1] has m rows
}

var portable = &isa{
	name:      "portable",
	widths:    portableWidths(tilePortable),
	pairs:     portableWidths(pairTilePortable),
	pairSpeed: 0.5,
	fetch:     0.75,
	winograd:  portableTransforms(),
	channels:  &width{tiles: []func(*tile){channelsPortable, channelsPortable, channelsPortable, channelsPortable}},
}

func portableWidths(f func(*tile)) widths {
	return widths{{nr: portableCols, vecs: portableCols, tiles: []func(*tile){f, f, f, f}}}
}

// active is the set that new pools use.
var active = choose(os.Getenv("SDR_CPU"))

// ISA returns the name of the instruction set that new pools use: "portable", "avx2", "avx512" or "bf16", which is
// avx512 with bfloat16 instructions. It is the best that the CPU supports, unless the environment variable SDR_CPU
// names another.
func ISA() string { return active.name }

// ISAs returns the names of the instruction sets that this CPU supports, the best one last.
func ISAs() []string {
	var names []string
	for _, s := range supported() {
		names = append(names, s.name)
	}
	return names
}

// choose returns the named instruction set; the best one for "".
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
	panic(fmt.Sprintf("kernels: environment variable SDR_CPU=%q: this CPU supports %s; unset it or set it to one of these",
		name, strings.Join(ISAs(), ", ")))
}
