package jpeg

import (
	"encoding/binary"
	"io"
)

// bits reads the entropy-coded data between two markers.
type bits struct {
	data []byte
	at   int // index of the next byte
	// acc holds the next bits, first bit highest. left of them are valid; the bits after them are zero or already those of
	// the next byte.
	acc  uint64
	left int
	// lent is the number of zero bits added after the end of the data.
	lent int
}

// fill refills acc to at least 56 bits. After the end of the data, which is a marker or the end of the file, it adds zeros.
func (b *bits) fill() {
	if b.at+8 <= len(b.data) {
		next := binary.BigEndian.Uint64(b.data[b.at:])
		if (^next-0x0101010101010101)&next&0x8080808080808080 == 0 { // no byte is 0xff
			b.acc |= next >> b.left
			b.at += (63 - b.left) >> 3
			b.left |= 56
			return
		}
	}
	for b.left <= 56 {
		next := uint64(0)
		switch {
		case b.at < len(b.data) && b.data[b.at] != 0xff:
			next = uint64(b.data[b.at])
			b.at++
		default:
			marker, end := b.marker()
			if marker != 0 || end == len(b.data) {
				b.lent += 8
				break
			}
			next = 0xff
			b.at = end
		}
		b.acc |= next << (56 - b.left)
		b.left += 8
	}
}

// marker returns the marker at the next byte, which is 0xff and may be repeated, and the index after it. 0 is not a marker
// but stands for a byte of 0xff, or for the end of the file.
func (b *bits) marker() (marker byte, end int) {
	for end = b.at; end < len(b.data) && b.data[end] == 0xff; end++ {
		continue
	}
	if end == len(b.data) {
		return 0, end
	}
	return b.data[end], end + 1
}

// overdrawn reports whether more bits were used than there are before a marker. Before the end of the file that is an
// error.
func (b *bits) overdrawn() (bool, error) {
	if b.left >= b.lent {
		return false, nil
	}
	if marker, _ := b.marker(); marker == 0 {
		return false, io.ErrUnexpectedEOF
	}
	return true, nil
}

// take returns the next size bits, at most 16.
func (b *bits) take(size int) uint32 {
	if b.left < size {
		b.fill()
	}
	v := uint32(b.acc >> 48 >> (16 - size))
	b.acc <<= size
	b.left -= size
	return v
}

// symbol returns the next Huffman-coded symbol, and leaves at least 15 bits after it. Where there is no code it returns 0,
// as libjpeg does, and false.
func (b *bits) symbol(h *huffman) (symbol uint8, ok bool) {
	if b.left < 32 {
		b.fill()
	}
	if e := h.look[b.acc>>(64-lookBits)]; e != 0 {
		b.acc <<= e.length()
		b.left -= e.length()
		return e.symbol(), true
	}
	return b.longSymbol(h)
}

// longSymbol is symbol for codes longer than lookBits.
func (b *bits) longSymbol(h *huffman) (symbol uint8, ok bool) {
	next := uint32(b.acc >> 48)
	for length := lookBits + 1; length <= 16; length++ {
		if next < h.limit[length] {
			b.acc <<= length
			b.left -= length
			return h.symbols[uint8(int32(next>>(16-length))+h.offset[length])], true
		}
	}
	b.acc <<= 17
	b.left -= 17
	return 0, false
}
