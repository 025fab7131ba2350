package shards

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	flatbuffers "github.com/google/flatbuffers/go"

	"github.com/sdr-ml/sdr/transforms/files"
)

// file is a shard whose pixels are used where they lie. Arrow's reader, which
// would copy them, only checks the file and reads its schema. It believes the
// lengths there, so the content must come from a trusted source.
type file struct {
	data    []byte
	release func() error
	reader  *ipc.FileReader
	size    int // height and width of its images
	column  int // number of the column image
	buffer  int // number of that column's first buffer
}

// openFile maps a local shard into memory and reads others completely.
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

// inspect finds the images' column and size in the schema.
func (f *file) inspect() (err error) {
	defer recovered(&err) // Arrow's reader panics on some damage
	if f.reader, err = ipc.NewFileReader(bytes.NewReader(f.data)); err != nil {
		return fmt.Errorf("no Arrow IPC file: %w", err)
	}
	schema := f.reader.Schema()
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
	if pixels.ByteWidth != 3*f.size*f.size {
		return fmt.Errorf("images of %d bytes, %d px have %d", pixels.ByteWidth, f.size, 3*f.size*f.size)
	}
	return nil
}

// Where Arrow's flatbuffers keep things: Footer and Block of File.fbs, Message
// and RecordBatch of Message.fbs. A table's field k is at slot 4 + 2 k.
const (
	footerBatches    = 4 + 2*3
	messageKind      = 4 + 2*1
	messageHeader    = 4 + 2*2
	batchNodes       = 4 + 2*1
	batchBuffers     = 4 + 2*2
	batchCompression = 4 + 2*3

	kindRecordBatch = 3

	blockBytes  = 24 // offset int64, length of metadata int32, padding, length of body int64
	nodeBytes   = 16 // rows int64, nulls int64
	bufferBytes = 16 // offset in the body int64, length int64
)

// pixels returns those of all images of a record batch, in place.
func (f *file) pixels(batch int) (pixels []uint8, err error) {
	if batch < 0 || batch >= f.reader.NumRecords() {
		return nil, fmt.Errorf("there is no record %d, only %d records", batch, f.reader.NumRecords())
	}
	defer recovered(&err)    // of offsets that lead nowhere
	tail := len(f.data) - 10 // of 4 bytes length of the footer, 6 of magic
	footer := root(f.data[tail-int(binary.LittleEndian.Uint32(f.data[tail:])) : tail])
	block := element(footer, footerBatches, batch, blockBytes)
	begin := int(footer.GetInt64(block))
	head := int(footer.GetInt32(block + 8))
	body := f.data[begin+head:][:footer.GetInt64(block+16)]

	message := root(f.data[begin+8 : begin+head]) // behind 4 bytes that mark it, 4 of length
	if kind := message.GetByteSlot(messageKind, 0); kind != kindRecordBatch {
		return nil, fmt.Errorf("a message of kind %d instead of a record batch", kind)
	}
	var rec flatbuffers.Table
	message.Union(&rec, flatbuffers.UOffsetT(message.Offset(messageHeader)))
	if rec.Offset(batchCompression) != 0 {
		return nil, errors.New("compressed; images are used where they lie, so write them as they are")
	}
	node := element(rec, batchNodes, f.column, nodeBytes)
	rows, nulls := int(rec.GetInt64(node)), rec.GetInt64(node+8)
	if nulls > 0 {
		return nil, fmt.Errorf("%d images are null", nulls)
	}
	values := element(rec, batchBuffers, f.buffer+1, bufferBytes) // behind the buffer of nulls
	pixels = body[rec.GetInt64(values):][:rec.GetInt64(values+8)]
	return pixels[: rows*3*f.size*f.size : rows*3*f.size*f.size], nil
}

// recovered makes an error of a panic.
func recovered(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("damaged: %v", p)
	}
}

// root returns the table that a flatbuffer is of.
func root(data []byte) flatbuffers.Table {
	return flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}
}

// element returns the place of an element of a vector of structs.
func element(t flatbuffers.Table, slot flatbuffers.VOffsetT, i, size int) flatbuffers.UOffsetT {
	at := flatbuffers.UOffsetT(t.Offset(slot))
	if at == 0 || i >= t.VectorLen(at) {
		panic(fmt.Sprintf("no element %d", i))
	}
	return t.Vector(at) + flatbuffers.UOffsetT(i*size)
}
