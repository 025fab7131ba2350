package shards

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/sdr-ml/sdr/transforms/arrowipc"
	"github.com/sdr-ml/sdr/transforms/files"
)

// file is a shard whose pixels are used in place. Arrow's own reader would copy them, so it only validates the file and
// reads the schema.
type file struct {
	data    []byte
	release func() error
	reader  *ipc.FileReader
	size    int // height and width of its images
	column  int // index of the column image, which the column sum follows
	buffer  int // index of that column's first buffer
}

// openFile maps a local shard into memory and reads any other completely.
func openFile(ctx context.Context, path string) (f *file, err error) {
	f = &file{}
	if f.data, f.release, err = files.Map(ctx, path); err != nil {
		return nil, fmt.Errorf("opening shard %s: %w", path, err)
	}
	if err := f.inspect(); err != nil {
		return nil, errors.Join(fmt.Errorf("opening shard %s: %w", path, err), f.release())
	}
	return f, nil
}

// inspect finds the image column and the size in the schema.
func (f *file) inspect() (err error) {
	if f.reader, err = arrowipc.OpenFile(f.data); err != nil {
		return fmt.Errorf("not an Arrow IPC file: %w", err)
	}
	schema := f.reader.Schema()
	if err := checkFormat(schema); err != nil {
		return err
	}
	at := schema.FieldIndices("image")
	if len(at) != 1 {
		return errNoImages
	}
	f.column = at[0]
	for _, field := range schema.Fields()[:f.column] {
		if _, nested := field.Type.(arrow.NestedType); nested {
			return errNoImages
		}
		f.buffer += len(field.Type.Layout().Buffers)
	}
	pixels, ok := schema.Field(f.column).Type.(*arrow.FixedSizeBinaryType)
	if !ok {
		return errNoImages
	}
	if f.size, err = Size(schema); err != nil {
		return err
	}
	if sums := schema.FieldIndices("sum"); len(sums) != 1 || sums[0] != f.column+1 || schema.Field(sums[0]).Type.ID() != arrow.UINT64 {
		return errors.New("there is no column sum of type uint64 after the images: it is of an older version of sdr")
	}
	if pixels.ByteWidth != 3*f.size*f.size {
		return fmt.Errorf("images of %d bytes; want %d px x %d px x 3 = %d bytes", pixels.ByteWidth, f.size, f.size, 3*f.size*f.size)
	}
	return nil
}

// The layout of Arrow's flatbuffers: Footer and Block of File.fbs, Message and RecordBatch of Message.fbs. Field k of a
// table is at slot 4 + 2 k.
const (
	footerBatches    = 4 + 2*3
	messageKind      = 4 + 2*1
	messageHeader    = 4 + 2*2
	batchNodes       = 4 + 2*1
	batchBuffers     = 4 + 2*2
	batchCompression = 4 + 2*3

	kindRecordBatch = 3

	blockBytes  = 24 // offset int64, metadata length int32, padding, body length int64
	nodeBytes   = 16 // rows int64, nulls int64
	bufferBytes = 16 // offset in the body int64, length int64
)

// pixels returns the pixels of all images of a record batch, in place, after comparing them with their checksums.
func (f *file) pixels(batch int) (pixels []uint8, err error) {
	defer recovered(&err) // from invalid offsets
	if batch < 0 || batch >= f.reader.NumRecords() {
		return nil, fmt.Errorf("there is no record batch %d; the file has %d", batch, f.reader.NumRecords())
	}
	tail := len(f.data) - 10 // 4 bytes footer length, 6 bytes magic
	footer := root(f.data[tail-int(binary.LittleEndian.Uint32(f.data[tail:])) : tail])
	block := element(footer, footerBatches, batch, blockBytes)
	begin := int(footer.GetInt64(block))
	head := int(footer.GetInt32(block + 8))
	body := f.data[begin+head:][:footer.GetInt64(block+16)]

	message := root(f.data[begin+8 : begin+head]) // after a 4-byte marker and a 4-byte length
	if kind := message.GetByteSlot(messageKind, 0); kind != kindRecordBatch {
		return nil, fmt.Errorf("found a message of kind %d; want a record batch", kind)
	}
	var rec flatbuffers.Table
	message.Union(&rec, flatbuffers.UOffsetT(message.Offset(messageHeader)))
	if rec.Offset(batchCompression) != 0 {
		return nil, errors.New("compressed; pixels are used in place, so write shards uncompressed")
	}
	node := element(rec, batchNodes, f.column, nodeBytes)
	rows, nulls := int(rec.GetInt64(node)), rec.GetInt64(node+8)
	if nulls > 0 {
		return nil, fmt.Errorf("%d images are null", nulls)
	}
	values := func(buffer, bytes int) []uint8 {
		at := element(rec, batchBuffers, buffer+1, bufferBytes) // after the validity bitmap
		return body[rec.GetInt64(at):][:rec.GetInt64(at+8)][: rows*bytes : rows*bytes]
	}
	each := 3 * f.size * f.size
	pixels = values(f.buffer, each)
	sums := values(f.buffer+2, 8)
	for i := range rows {
		if err := Check(pixels[i*each:][:each], binary.LittleEndian.Uint64(sums[i*8:])); err != nil {
			return nil, fmt.Errorf("image %d: %w", i, err)
		}
	}
	return pixels, nil
}

// recovered turns a panic into an error.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged: %v", p)
	}
}

// root returns the root table of a flatbuffer.
func root(data []byte) flatbuffers.Table {
	return flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}
}

// element returns the position of element i in a vector of structs.
func element(t flatbuffers.Table, slot flatbuffers.VOffsetT, i, size int) flatbuffers.UOffsetT {
	at := flatbuffers.UOffsetT(t.Offset(slot))
	if at == 0 || i >= t.VectorLen(at) {
		panic(fmt.Sprintf("no element %d", i))
	}
	return t.Vector(at) + flatbuffers.UOffsetT(i*size)
}
