package parquet

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/arrow/go/v15/parquet"
	"github.com/apache/arrow/go/v15/parquet/compress"
	"github.com/apache/arrow/go/v15/parquet/file"
	"github.com/apache/arrow/go/v15/parquet/metadata"
	"github.com/apache/arrow/go/v15/parquet/schema"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

// dictionaryHeader is how much longer a column may be than its metadata says: old
// writers left the header of the dictionary page out (PARQUET-816).
const dictionaryHeader = 100

// pages reads the pages of a leaf column of a row group. The library's own stream
// would serve bytes behind the end of a damaged column, some of them for ever.
func (r *Reader) pages(group *metadata.RowGroupMetaData, index int) (*filled, error) {
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
	most := min(meta.TotalUncompressedSize(), maxPage) + 1<<16 // buffers are rounded up
	codec := meta.Compression()
	if codec == lz4Raw {
		if data, err = unpackLZ4(data[:length], meta.TotalUncompressedSize()+1<<16); err != nil {
			return nil, fmt.Errorf("LZ4_RAW: %w", err)
		}
		codec = compress.Codecs.Uncompressed
	}
	pages, err := file.NewPageReader(newStream(data, codec), meta.NumValues(), codec, bounded{mem, most}, nil)
	return &filled{PageReader: pages, column: r.file.MetaData().Schema.Column(index)}, err
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
type stream struct {
	data    []byte
	at      int // the next byte
	codec   compress.Compression
	checked map[int]pageHeader // the compressed pages that are checked, by where their compressed data begin
}

// newStream returns the pages of a column up to the first that is not whole: the library takes memory for what a
// header promises before it looks whether that is there.
func newStream(data []byte, codec compress.Compression) *stream {
	s := &stream{codec: codec, checked: map[int]pageHeader{}}
	end := 0
	for end < len(data) {
		h, err := readPageHeader(data[end:])
		if err != nil || h.packed < 0 || h.packed > len(data)-end-h.length {
			break
		}
		if h.compressed && h.levels >= 0 && h.levels < h.packed {
			s.checked[end+h.length+h.levels] = h
		}
		end += h.length + h.packed
	}
	s.data = data[:end]
	return s
}

// Peek returns the next n bytes, or those that there are and io.EOF.
func (s *stream) Peek(n int) ([]byte, error) {
	if rest := s.data[s.at:]; n > len(rest) {
		return rest, io.EOF
	}
	return s.data[s.at : s.at+n], nil
}

// Discard passes over n bytes.
func (s *stream) Discard(n int) (int, error) {
	skipped, err := s.Peek(n)
	s.at += len(skipped)
	return len(skipped), err
}

// Read reads the next bytes.
func (s *stream) Read(p []byte) (int, error) {
	if h, ok := s.checked[s.at]; ok {
		if err := verify(s.codec, s.data[s.at:s.at+h.packed-h.levels], h.size); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.data[s.at:])
	s.at += n
	if n == 0 && len(p) > 0 {
		return 0, io.EOF
	}
	return n, nil
}

// verify checks compressed data of at most so many bytes, as far as the library does not: it takes memory for what data of
// Snappy and Zstandard promise, and leaves out the checksum of gzip. It says itself what else is wrong.
func verify(codec compress.Compression, data []byte, most int) error {
	var size int64
	var err error
	switch codec {
	case compress.Codecs.Gzip:
		var r *gzip.Reader
		if r, err = gzip.NewReader(bytes.NewReader(data)); err == nil {
			_, err = io.CopyN(io.Discard, r, int64(most)+1)
		}
		if errors.Is(err, gzip.ErrChecksum) {
			return err
		}
	case compress.Codecs.Snappy:
		var n int
		n, err = snappy.DecodedLen(data)
		size = int64(n)
	case compress.Codecs.Zstd:
		if size, err = zstdSize(data, most); err != nil {
			return err
		}
	}
	if err == nil && size > int64(most) {
		return fmt.Errorf("a page of %d bytes that unpacks to %d", most, size)
	}
	return nil
}

// zstdSize returns what Zstandard data unpack to: what they promise, if they are one frame that does, else what they hold, up
// to one byte more than most.
func zstdSize(data []byte, most int) (int64, error) {
	var h zstd.Header
	if err := h.Decode(data); err == nil && h.HasFCS && oneFrame(h, data) {
		return int64(min(h.FrameContentSize, math.MaxInt64)), nil
	}
	r, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	return io.Copy(io.Discard, io.LimitReader(r, int64(most)+1))
}

// oneFrame reports whether a frame is all there is: its blocks, each behind 3 bytes (RFC 8878, 3.1.1.2), and its checksum.
func oneFrame(h zstd.Header, data []byte) bool {
	at := h.HeaderSize
	for last := false; !last && at+3 <= len(data); {
		head := int(data[at]) | int(data[at+1])<<8 | int(data[at+2])<<16
		last = head&1 != 0
		at += 3
		if repeated := head>>1&3 == 1; repeated {
			at++
		} else {
			at += head >> 3
		}
	}
	if h.HasCheckSum {
		at += 4
	}
	return at == len(data)
}

// maxPage is the size of the largest page that is unpacked, in bytes, and maxLoad what rows that are read together may take:
// compressed, much more fits into a small file.
const (
	maxPage = 1 << 28
	maxLoad = 1 << 27
)

// errLoad is the error for rows that take more than maxLoad bytes together.
var errLoad = fmt.Errorf("rows of more than %d bytes", maxLoad)

// filled passes over data pages without values, which end a column for the library, and bounds what is read at once and
// what dictionaries promise. Its pages are in encodings that the library reads.
type filled struct {
	file.PageReader
	column  *schema.Column
	page    file.Page
	longest int // value of the dictionary, in bytes, if values have a variable length
	loaded  int // bytes of pages since the last call of begin
	rows    int64
	err     error
}

// Page returns the page that Next went on to.
func (p *filled) Page() file.Page { return p.page }

// begin says that a number of rows will be read.
func (p *filled) begin(rows int64) error {
	p.loaded, p.rows = 0, rows
	return p.check()
}

// check returns an error if several rows may be too large together.
func (p *filled) check() error {
	if p.rows > 1 && (p.loaded > maxLoad || p.rows > maxLoad/int64(max(p.longest, 1))) {
		p.err = errLoad
	}
	return p.err
}

// Next goes on to the next page with values.
func (p *filled) Next() bool {
	for p.PageReader.Next() {
		page := p.PageReader.Page()
		if page, p.err = plain(page, p.column); p.err != nil {
			return false
		}
		p.page = page
		p.loaded += len(page.Data())
		_, dictionary := page.(*file.DictionaryPage)
		if n := int(page.NumValues()); dictionary && n > max(len(page.Data()), 1) { // the library takes memory for all of them
			p.err = fmt.Errorf("a dictionary of %d values in %d bytes", n, len(page.Data()))
			return false
		}
		if dictionary && p.column.PhysicalType() == parquet.Types.ByteArray {
			p.longest = longest(page.Data())
		}
		if p.check() != nil {
			return false
		}
		if dictionary || page.NumValues() > 0 {
			return true
		}
	}
	return false
}

// Err returns why there is no next page.
func (p *filled) Err() error { return cmp.Or(p.err, p.PageReader.Err()) }

// longest returns the length of the longest of values that each follow their length, as those of variable length do.
func longest(values []byte) (n int) {
	for len(values) >= 4 {
		size := int(binary.LittleEndian.Uint32(values))
		n, values = max(n, size), values[min(4+size, len(values)):]
	}
	return n
}
