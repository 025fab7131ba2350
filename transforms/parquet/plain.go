package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/schema"
)

// byteStreamSplit is the encoding BYTE_STREAM_SPLIT, which the library does not know.
const byteStreamSplit = parquet.Encoding(9)

// plain returns a data page with its values in the encoding PLAIN, where the library does not read them in the page's own:
// BYTE_STREAM_SPLIT, or DELTA_BINARY_PACKED, of whose int64 with nulls it reads no more than the first rows that are
// asked for. Other pages stay as they are.
func plain(page file.Page, column *schema.Column) (file.Page, error) {
	var decode func(data []byte, width, most int) ([]byte, error)
	switch parquet.Encoding(page.Encoding()) {
	case parquet.Encodings.DeltaBinaryPacked:
		decode = addDeltas
	case byteStreamSplit:
		decode = joinStreams
	default:
		return page, nil
	}
	width := column.PhysicalType().ByteSize()
	if column.PhysicalType() == parquet.Types.FixedLenByteArray {
		width = column.TypeLength()
	}
	if n := int64(page.NumValues()); width < 1 || n > maxPage/int64(width) {
		return nil, fmt.Errorf("a page of %d values of %d bytes", n, width)
	}
	data := page.Data()
	values, err := levels(page, column)
	if err != nil {
		return nil, err
	}
	decoded, err := decode(data[values:], width, int(page.NumValues()))
	if err != nil {
		return nil, err
	}
	decoded = append(data[:values:values], decoded...)
	size := int32(len(decoded))
	switch p := page.(type) {
	case *file.DataPageV1:
		return file.NewDataPageV1(memory.NewBufferBytes(decoded), p.NumValues(), parquet.Encodings.Plain, p.DefinitionLevelEncoding(), p.RepetitionLevelEncoding(), size), nil
	case *file.DataPageV2:
		return file.NewDataPageV2(memory.NewBufferBytes(decoded), p.NumValues(), p.NumNulls(), p.NumRows(), parquet.Encodings.Plain,
			p.DefinitionLevelByteLen(), p.RepetitionLevelByteLen(), size, false), nil
	}
	return nil, errors.New("values of a page that has none")
}

// levels returns how many bytes of a data page are those of its repetition and definition levels, which the values follow.
func levels(page file.Page, column *schema.Column) (size int, err error) {
	data := page.Data()
	switch p := page.(type) {
	case *file.DataPageV1:
		for _, l := range []struct {
			most     int16
			encoding parquet.Encoding
		}{
			{column.MaxRepetitionLevel(), p.RepetitionLevelEncoding()}, {column.MaxDefinitionLevel(), p.DefinitionLevelEncoding()},
		} {
			switch {
			case l.most == 0:
			case l.encoding != parquet.Encodings.RLE:
				return 0, fmt.Errorf("levels in the encoding %v", l.encoding)
			case len(data)-size < 4:
				return 0, errors.New("levels that end early")
			default:
				size += 4 + int(binary.LittleEndian.Uint32(data[size:]))
			}
			if size > len(data) {
				return 0, errors.New("levels that end early")
			}
		}
	case *file.DataPageV2:
		size = int(p.RepetitionLevelByteLen()) + int(p.DefinitionLevelByteLen())
	}
	if size < 0 || size > len(data) {
		return 0, errors.New("levels that end early")
	}
	return size, nil
}

// joinStreams decodes BYTE_STREAM_SPLIT: the first bytes of all values, then their second ones, and so on.
func joinStreams(data []byte, width, most int) ([]byte, error) {
	n := len(data) / width
	if len(data)%width != 0 || n > most {
		return nil, fmt.Errorf("%d bytes of values of %d bytes", len(data), width)
	}
	values := make([]byte, 0, len(data))
	for i := range n {
		for b := range width {
			values = append(values, data[b*n+i])
		}
	}
	return values, nil
}

var errDeltas = errors.New("damaged DELTA_BINARY_PACKED values")

// addDeltas decodes DELTA_BINARY_PACKED: blocks of differences from one value to the next, less the least one of the block,
// in miniblocks with so many bits each.
func addDeltas(data []byte, width, most int) ([]byte, error) {
	number := func() (v uint64) {
		v, n := binary.Uvarint(data)
		data = data[max(n, 0):]
		if n <= 0 {
			v, data = 0, nil
		}
		return v
	}
	signed := func() int64 {
		v := number()
		return int64(v>>1) ^ -int64(v&1)
	}
	block, minis, total, value := number(), number(), number(), signed()
	if minis == 0 || block%minis != 0 || block > maxPage || block/minis%8 != 0 || total > uint64(most) || width != 4 && width != 8 {
		return nil, errDeltas
	}
	values := make([]byte, 0, total*uint64(width))
	add := func() {
		if width == 4 {
			values = binary.LittleEndian.AppendUint32(values, uint32(value))
		} else {
			values = binary.LittleEndian.AppendUint64(values, uint64(value))
		}
	}
	if total > 0 {
		add()
	}
	whole, size := int(total)*width, int(block/minis)
	for len(values) < whole {
		least := signed()
		if uint64(len(data)) < minis || size == 0 {
			return nil, errDeltas
		}
		bits := data[:minis]
		data = data[minis:]
		for _, b := range bits {
			n := min(size, (whole-len(values))/width)
			if n == 0 {
				break // those of no values have any number of bits
			}
			if need := (n*int(b) + 7) / 8; b > 64 || len(data) < need {
				return nil, errDeltas
			}
			for i := range n {
				value += least + int64(bitsAt(data, i*int(b), int(b)))
				add()
			}
			data = data[min(len(data), size*int(b)/8):]
		}
	}
	return values, nil
}

// bitsAt returns n bits from the given one on, the lowest first.
func bitsAt(data []byte, at, n int) (v uint64) {
	for got := 0; got < n; {
		take := min(8-at%8, n-got)
		v |= uint64(data[at/8]>>(at%8)&(1<<take-1)) << got
		at, got = at+take, got+take
	}
	return v
}
