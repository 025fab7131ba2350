package parquet

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/thrift/lib/go/thrift"
)

// checkFooter compares the counts in a file's footer with what is there: the library takes memory for as many columns,
// groups and pages as a damaged one promises. What else may be wrong is left to the library.
func checkFooter(source io.ReaderAt, size int64) error {
	var tail [8]byte // the footer's length, and the format's name
	if size < int64(len(tail)) {
		return nil
	}
	if _, err := source.ReadAt(tail[:], size-int64(len(tail))); err != nil {
		return err
	}
	length := int64(binary.LittleEndian.Uint32(tail[:]))
	if length > size-int64(len(tail)) || string(tail[4:]) != "PAR1" {
		return nil
	}
	footer := make([]byte, length)
	if _, err := source.ReadAt(footer, size-int64(len(tail))-length); err != nil {
		return err
	}
	if err := checkCounts(footer); err != nil {
		return fmt.Errorf("footer: %w", err)
	}
	return nil
}

// maxDepth is how many groups of columns may be inside one another: the library recurses into them, which no recover ends.
const maxDepth = 128

// checkCounts reads a footer, a FileMetaData of parquet.thrift, whose schema is the list of a tree's nodes, each in front of
// its children.
func checkCounts(footer []byte) error {
	ctx := context.Background()
	p := thrift.NewTCompactProtocolConf(&thrift.TMemoryBuffer{Buffer: bytes.NewBuffer(footer)}, nil)
	return eachField(ctx, p, func(id int16, t thrift.TType) error {
		if id != 2 || t != thrift.LIST {
			return p.Skip(ctx, t)
		}
		_, nodes, err := p.ReadListBegin(ctx)
		if err != nil {
			return err
		}
		children := 0
		var around []int // the groups that the next node is in: how many children are still to come
		for range nodes {
			own := 0
			err := eachField(ctx, p, func(id int16, t thrift.TType) error {
				if id != 5 || t != thrift.I32 {
					return p.Skip(ctx, t)
				}
				n, err := p.ReadI32(ctx)
				own = int(n)
				if children += own; n < 0 || children >= nodes {
					return errors.New("more columns in groups than there are")
				}
				return err
			})
			if err != nil {
				return err
			}
			if len(around) > 0 {
				around[len(around)-1]--
			}
			if own > 0 {
				around = append(around, own)
			}
			if len(around) > maxDepth {
				return fmt.Errorf("columns in more than %d groups", maxDepth)
			}
			for len(around) > 0 && around[len(around)-1] == 0 {
				around = around[:len(around)-1]
			}
		}
		return p.ReadListEnd(ctx)
	})
}
