package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/thrift/lib/go/thrift"
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

// pageHeader is what unpacking a page needs of its header (parquet.thrift).
type pageHeader struct {
	length              int // of the header
	size, packed        int // of the page
	packedAt, packedEnd int // where packed is in the header
	levels              int // bytes in front of the page's compressed data
	compressed          bool
}

// varint encodes a number as Thrift's compact protocol does, with the sign in the lowest bit.
func varint(v int) (b []byte) {
	u := uint64(v) << 1
	for ; u >= 0x80; u >>= 7 {
		b = append(b, byte(u)|0x80)
	}
	return append(b, byte(u))
}

func readPageHeader(data []byte) (h pageHeader, err error) {
	ctx := context.Background()
	rest := &thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(data)}
	p := thrift.NewTCompactProtocolConf(rest, nil)
	at := func() int { return len(data) - rest.Len() }
	number := func(to *int) error {
		v, err := p.ReadI32(ctx)
		*to = int(v)
		return err
	}
	h.compressed = true
	err = eachField(ctx, p, func(id int16, t thrift.TType) error {
		switch {
		case id == 2 && t == thrift.I32:
			return number(&h.size)
		case id == 3 && t == thrift.I32:
			h.packedAt = at()
			err := number(&h.packed)
			h.packedEnd = at()
			return err
		case id == 8 && t == thrift.STRUCT: // DataPageHeaderV2
			return eachField(ctx, p, func(id int16, t thrift.TType) (err error) {
				var levels int
				switch {
				case (id == 5 || id == 6) && t == thrift.I32: // definition and repetition levels
					err = number(&levels)
					h.levels += levels
					if levels < 0 {
						return errors.New("negative length of levels")
					}
				case id == 7 && t == thrift.BOOL:
					h.compressed, err = p.ReadBool(ctx)
				default:
					err = p.Skip(ctx, t)
				}
				return err
			})
		}
		return p.Skip(ctx, t)
	})
	if err == nil && h.packedAt == 0 {
		err = errors.New("no size")
	}
	if err != nil {
		return h, fmt.Errorf("header of a page: %w", err)
	}
	h.length = at()
	return h, nil
}

// eachField calls visit with the fields of a Thrift struct, which it has to read.
func eachField(ctx context.Context, p thrift.TProtocol, visit func(id int16, t thrift.TType) error) error {
	if _, err := p.ReadStructBegin(ctx); err != nil {
		return err
	}
	for {
		_, t, id, err := p.ReadFieldBegin(ctx)
		if err != nil {
			return err
		}
		if t == thrift.STOP {
			return p.ReadStructEnd(ctx)
		}
		if err := visit(id, t); err != nil {
			return err
		}
		if err := p.ReadFieldEnd(ctx); err != nil {
			return err
		}
	}
}
