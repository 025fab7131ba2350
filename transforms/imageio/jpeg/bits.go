package jpeg

import (
	"encoding/binary"
	"errors"
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

// fill refills acc to at least 56 bits. After the end of the data it adds zeros; ended reports whether they were used.
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
		case b.at+1 < len(b.data) && b.data[b.at+1] == 0:
			next = 0xff
			b.at += 2
		default:
			b.lent += 8
		}
		b.acc |= next << (56 - b.left)
		b.left += 8
	}
}

// ended returns an error if more bits were used than there are.
func (b *bits) ended() error {
	if b.left >= b.lent {
		return nil
	}
	if b.at+1 >= len(b.data) {
		return io.ErrUnexpectedEOF
	}
	return errors.New("scan ends too early")
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

// symbol returns the next Huffman-coded symbol, and leaves at least 16 bits after it.
func (b *bits) symbol(h *huffman) (uint8, error) {
	if b.left < 32 {
		b.fill()
	}
	if e := h.look[b.acc>>(64-lookBits)]; e != 0 {
		b.acc <<= e.length()
		b.left -= e.length()
		return e.symbol(), nil
	}
	return b.longSymbol(h)
}

// longSymbol is symbol for codes longer than lookBits.
func (b *bits) longSymbol(h *huffman) (uint8, error) {
	next := uint32(b.acc >> 48)
	for length := lookBits + 1; length <= 16; length++ {
		if next < h.limit[length] {
			b.acc <<= length
			b.left -= length
			return h.symbols[uint8(int32(next>>(16-length))+h.offset[length])], nil
		}
	}
	return 0, errors.New("damaged Huffman code")
}
