package parquet

import (
	"fmt"

	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/pierrec/lz4/v4"
)

// lz4Raw is the codec LZ4_RAW, which the library does not know.
const lz4Raw compress.Compression = 7

// unpackLZ4 makes the pages of a column that is compressed with [lz4Raw] pages that are not, of at most so many bytes.
func unpackLZ4(data []byte, most int64) ([]byte, error) {
	var out []byte
	for len(data) > 0 {
		h, err := readPageHeader(data)
		if err != nil {
			return nil, err
		}
		if h.size < 0 || h.packed < 0 || h.packed > len(data)-h.length || h.levels < 0 || h.levels > min(h.size, h.packed) {
			return nil, fmt.Errorf("a page of %d bytes, compressed %d of %d", h.size, h.packed, len(data)-h.length)
		}
		if most -= int64(h.size); most < 0 {
			return nil, fmt.Errorf("a page of %d bytes, more than its column has", h.size)
		}
		head, body := data[:h.length], data[h.length:h.length+h.packed]
		data = data[h.length+h.packed:]
		if !h.compressed {
			out = append(append(out, head...), body...)
			continue
		}
		page := make([]byte, h.size)
		copy(page, body[:h.levels])
		if rest := page[h.levels:]; len(rest) > 0 {
			if n, err := lz4.UncompressBlock(body[h.levels:], rest); err != nil {
				return nil, err
			} else if n != len(rest) {
				return nil, fmt.Errorf("a page of %d bytes where there should be %d", n, len(rest))
			}
		}
		out = append(out, head[:h.packedAt]...)
		out = append(out, varint(h.size)...)
		out = append(append(out, head[h.packedEnd:]...), page...)
	}
	return out, nil
}

// varint encodes a number as Thrift's compact protocol does, with the sign in the lowest bit.
func varint(v int) (b []byte) {
	u := uint64(v) << 1
	for ; u >= 0x80; u >>= 7 {
		b = append(b, byte(u)|0x80)
	}
	return append(b, byte(u))
}
