package jpeg

import (
	"bytes"
	"errors"
	"slices"
)

// lookBits is the number of bits in a table lookup. With more bits, building the tables would take longer than they
// save on small images.
const lookBits = 9

// huffman is a Huffman table.
type huffman struct {
	// defined reports whether this image defines the table: it may be left from an earlier one.
	defined bool
	// spec is the part of the segment that defines the table, and err what is wrong with it: that matters when the table is
	// used.
	spec []byte
	err  error
	// wide is whether a symbol is more than 15, which a DC coefficient cannot have.
	wide bool
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
			h.err = h.build(segment[1:n])
		}
		h.defined = true
		segment = segment[n:]
	}
	return nil
}

// table returns the table with a number, which in a sequential image may be one of the usual ones.
func (d *decoder) table(tables *[4]huffman, number uint8, usual [2][]byte) *huffman {
	if int(number) >= len(tables) {
		return new(huffman)
	}
	h := &tables[number]
	if !h.defined && !d.progressive && int(number) < len(usual) {
		if !bytes.Equal(h.spec, usual[number]) {
			h.err = h.build(usual[number])
		}
		h.defined = true
	}
	return h
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
	clear(h.symbols[copy(h.symbols[:], symbols):])
	h.wide = len(symbols) > 0 && slices.Max(symbols) > 15
	look := h.look[:]
	code, index := uint32(0), 0
	for length := 1; length <= 16; length++ {
		h.offset[length] = int32(index) - int32(code)
		count := int(spec[length-1])
		code += uint32(count)
		if code >= 1<<length { // a code of ones only is not allowed
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

// usual are the Huffman tables of the JPEG standard, for the DC and AC coefficients of luma and of chroma. Frames of videos
// rely on them.
var usual = [2][2][]byte{
	{
		append([]byte{0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
		append([]byte{0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0}, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11),
	},
	{
		append([]byte{0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d}, usualLuma...),
		append([]byte{0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77}, usualChroma...),
	},
}

const (
	usualLuma = "\x01\x02\x03\x00\x04\x11\x05\x12\x21\x31\x41\x06\x13\x51\x61\x07\x22\x71\x14\x32\x81\x91\xa1\x08\x23\x42\xb1" +
		"\xc1\x15\x52\xd1\xf0\x24\x33\x62\x72\x82\x09\x0a\x16\x17\x18\x19\x1a\x25\x26\x27\x28\x29\x2a\x34\x35\x36\x37" +
		"\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69\x6a" +
		"\x73\x74\x75\x76\x77\x78\x79\x7a\x83\x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a\xa2\xa3" +
		"\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca\xd2\xd3" +
		"\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe1\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf1\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa"
	usualChroma = "\x00\x01\x02\x03\x11\x04\x05\x21\x31\x06\x12\x41\x51\x07\x61\x71\x13\x22\x32\x81\x08\x14\x42\x91\xa1\xb1\xc1" +
		"\x09\x23\x33\x52\xf0\x15\x62\x72\xd1\x0a\x16\x24\x34\xe1\x25\xf1\x17\x18\x19\x1a\x26\x27\x28\x29\x2a\x35\x36" +
		"\x37\x38\x39\x3a\x43\x44\x45\x46\x47\x48\x49\x4a\x53\x54\x55\x56\x57\x58\x59\x5a\x63\x64\x65\x66\x67\x68\x69" +
		"\x6a\x73\x74\x75\x76\x77\x78\x79\x7a\x82\x83\x84\x85\x86\x87\x88\x89\x8a\x92\x93\x94\x95\x96\x97\x98\x99\x9a" +
		"\xa2\xa3\xa4\xa5\xa6\xa7\xa8\xa9\xaa\xb2\xb3\xb4\xb5\xb6\xb7\xb8\xb9\xba\xc2\xc3\xc4\xc5\xc6\xc7\xc8\xc9\xca" +
		"\xd2\xd3\xd4\xd5\xd6\xd7\xd8\xd9\xda\xe2\xe3\xe4\xe5\xe6\xe7\xe8\xe9\xea\xf2\xf3\xf4\xf5\xf6\xf7\xf8\xf9\xfa"
)
