package jpeg

import (
	"bytes"
	"errors"
)

// lookBits is the number of bits in a table lookup. With more bits, building the tables would take longer than they
// save on small images.
const lookBits = 9

// huffman is a Huffman table.
type huffman struct {
	// defined reports whether this image defines the table: it may be left from an earlier one.
	defined bool
	// spec is the part of the segment that defines the table.
	spec []byte
	// look maps the next lookBits bits to what they begin with.
	look [1 << lookBits]entry
	// limit is, for each length, the code after the last one of that length, left-aligned in 16 bits. offset + code is the
	// code's index into symbols.
	limit   [18]uint32
	offset  [17]int32
	symbols [256]uint8
}

var errHuffman = errors.New("damaged Huffman table")

func (d *decoder) huffmanTables(segment []byte) error {
	for len(segment) > 0 {
		if len(segment) < 17 {
			return errHuffman
		}
		class, index, n := segment[0]>>4, segment[0]&15, 17
		for _, count := range segment[1:17] {
			n += int(count)
		}
		if class > 1 || index > 3 || n > 17+256 || n > len(segment) {
			return errHuffman
		}
		h := &d.dc[index]
		if class == 1 {
			h = &d.ac[index]
		}
		if !bytes.Equal(h.spec, segment[1:n]) {
			if err := h.build(segment[1:n]); err != nil {
				return err
			}
		}
		h.defined = true
		segment = segment[n:]
	}
	return nil
}

// entry is the result of a table lookup. Bits 0..4 are the length of the code, 0 if it is longer than lookBits; bits
// 5..9 the length of the code and the value after it; bits 10..17 the symbol; and bits 18..31 the signed value, 0 if
// lookBits do not contain all of it.
type entry int32

func (e entry) length() int   { return int(e & 31) }
func (e entry) whole() int    { return int(e >> 5 & 31) }
func (e entry) symbol() uint8 { return uint8(e >> 10) }
func (e entry) run() int      { return int(e >> 14 & 15) }
func (e entry) value() int32  { return int32(e >> 18) }

// build builds the table from spec: 16 counts, the number of codes of each length, and the symbols in code order.
func (h *huffman) build(spec []byte) error {
	h.spec = nil
	symbols := spec[16:]
	copy(h.symbols[:], symbols)
	look := h.look[:]
	code, index := uint32(0), 0
	for length := 1; length <= 16; length++ {
		h.offset[length] = int32(index) - int32(code)
		count := int(spec[length-1])
		code += uint32(count)
		if code > 1<<length {
			return errHuffman
		}
		if length <= lookBits { // codes are in order, so entries are, too
			for _, symbol := range symbols[index : index+count] {
				look = enter(look, length, symbol)
			}
		}
		index += count
		h.limit[length] = code << (16 - length)
		code <<= 1
	}
	clear(look)
	h.spec = bytes.Clone(spec)
	return nil
}

// enter fills the entries that begin with a code and returns the entries after them.
func enter(look []entry, length int, symbol uint8) []entry {
	rest, size := lookBits-length, int(symbol&15)
	e := entry(symbol)<<10 | entry(length)
	if size == 0 || size > rest {
		for i := range 1 << rest {
			look[i] = e
		}
		return look[1<<rest:]
	}
	e |= entry(length+size) << 5
	each := 1 << (rest - size)
	for bits := range uint32(1) << size {
		e := e | entry(extend(bits, size))<<18
		for i := range each {
			look[i] = e
		}
		look = look[each:]
	}
	return look
}

// extend returns the signed value of a coefficient's bits (EXTEND of the JPEG standard).
func extend(bits uint32, size int) int32 {
	if size == 0 || bits>>(size-1) != 0 {
		return int32(bits)
	}
	return int32(bits) - 1<<size + 1
}
