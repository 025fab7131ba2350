package parquet

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/apache/thrift/lib/go/thrift"
)

// pageHeader is what is needed of a page's header (parquet.thrift), to check it and to unpack the page.
type pageHeader struct {
	length              int // of the header
	size, packed        int // of the page
	packedAt, packedEnd int // where packed is in the header
	levels              int // bytes in front of the page's compressed data
	compressed          bool
}

// readPageHeader reads the header that data begins with.
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
