package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
)

// dictionaryHeader is how much longer a column may be than its metadata says: old
// writers left the header of the dictionary page out (PARQUET-816).
const dictionaryHeader = 100

// pages reads the pages of a leaf column of a row group. The library's own stream
// would serve bytes behind the end of a damaged column, some of them for ever.
func (r *Reader) pages(group *metadata.RowGroupMetaData, index int) (file.PageReader, error) {
	meta, err := group.ColumnChunk(index)
	if err != nil {
		return nil, err
	}
	if meta.CryptoMetadata() != nil {
		return nil, errors.New("the column is encrypted")
	}
	start, length := meta.DataPageOffset(), meta.TotalCompressedSize()
	if at := meta.DictionaryPageOffset(); meta.HasDictionaryPage() && at > 0 {
		start = min(start, at)
	}
	if start < 0 || length < 0 || length > r.size-start {
		return nil, fmt.Errorf("%d bytes from %d on in a file of %d", length, start, r.size)
	}
	data := make([]byte, min(length+dictionaryHeader, r.size-start))
	if _, err := r.source.ReadAt(data, start); err != nil {
		return nil, err
	}
	most := meta.TotalUncompressedSize() + 1<<16 // buffers are rounded up
	codec := meta.Compression()
	if codec == lz4Raw {
		if data, err = unpackLZ4(data[:length], most); err != nil {
			return nil, fmt.Errorf("LZ4_RAW: %w", err)
		}
		codec = compress.Codecs.Uncompressed
	}
	pages, err := file.NewPageReader(&stream{wholePages(data)}, meta.NumValues(), codec, bounded{mem, most}, nil)
	return filled{pages}, err
}

// wholePages returns the pages of a column up to the first that is not whole: the library takes memory for what a
// header promises before it looks whether that is there.
func wholePages(data []byte) []byte {
	at := 0
	for at < len(data) {
		h, err := readPageHeader(data[at:])
		if err != nil || h.packed < 0 || h.packed > len(data)-at-h.length {
			break
		}
		at += h.length + h.packed
	}
	return data[:at]
}

// bounded is an allocator of buffers no larger than a column, which no page of it
// exceeds.
type bounded struct {
	memory.Allocator
	most int64
}

// Allocate implements [memory.Allocator].
func (b bounded) Allocate(size int) []byte { return b.Reallocate(size, nil) }

// Reallocate implements [memory.Allocator].
func (b bounded) Reallocate(size int, data []byte) []byte {
	if int64(size) > b.most {
		panic(fmt.Sprintf("a page of %d bytes in a column of %d", size, b.most))
	}
	return b.Allocator.Reallocate(size, data)
}

// stream gives the bytes of a column; it is a parquet.BufferedReader.
type stream struct{ rest []byte }

// Peek returns the next n bytes, or those that there are and io.EOF.
func (s *stream) Peek(n int) ([]byte, error) {
	if n > len(s.rest) {
		return s.rest, io.EOF
	}
	return s.rest[:n], nil
}

// Discard passes over n bytes.
func (s *stream) Discard(n int) (int, error) {
	skipped, err := s.Peek(n)
	s.rest = s.rest[len(skipped):]
	return len(skipped), err
}

// Read reads the next bytes.
func (s *stream) Read(p []byte) (int, error) {
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// filled passes over data pages without values, which end a column for the library.
type filled struct{ file.PageReader }

// Next goes on to the next page with values.
func (p filled) Next() bool {
	for p.PageReader.Next() {
		_, dictionary := p.Page().(*file.DictionaryPage)
		if dictionary || p.Page().NumValues() > 0 {
			return true
		}
	}
	return false
}
