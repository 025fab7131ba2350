// Package arrowipc opens files and streams in Arrow's IPC format that may be damaged. Arrow's readers trust the lengths in
// them: wrong ones make them panic, or take more memory than there is, which ends the program. Here both are errors.
package arrowipc

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	flatbuffers "github.com/google/flatbuffers/go"
)

// Guard makes an error of a panic. Call the readers' methods in it.
func Guard(work func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("damaged: %v", p)
		}
	}()
	return work()
}

// OpenFile opens the content of a file. Nothing is known of the values in its records.
func OpenFile(data []byte) (r *ipc.FileReader, err error) {
	err = Guard(func() error {
		checkFile(data)
		if r, err = ipc.NewFileReader(bytes.NewReader(data), ipc.WithAllocator(limit(len(data)))); err == nil {
			r.NumRecords() // panics here rather than later
		}
		return err
	})
	return r, err
}

// OpenStream opens the content of a stream. Nothing is known of the values in its records.
func OpenStream(data []byte) (r *ipc.Reader, err error) {
	err = Guard(func() error {
		checkStream(data)
		r, err = ipc.NewReader(bytes.NewReader(data), ipc.WithAllocator(limit(len(data))))
		return err
	})
	return r, err
}

// limited panics when asked for more memory at once than most.
type limited struct {
	memory.Allocator
	most int
}

// limit returns an allocator for reading a number of bytes, which may be compressed.
func limit(size int) memory.Allocator { return limited{memory.NewGoAllocator(), 1<<28 + 64*size} }

// Allocate implements [memory.Allocator].
func (l limited) Allocate(size int) []byte { return l.Allocator.Allocate(l.check(size)) }

// Reallocate implements [memory.Allocator].
func (l limited) Reallocate(size int, b []byte) []byte {
	return l.Allocator.Reallocate(l.check(size), b)
}

func (l limited) check(size int) int {
	if size < 0 || size > l.most {
		panic(fmt.Sprintf("a buffer of %d bytes is more than the limit of %d", size, l.most))
	}
	return size
}

// The layout of Arrow's flatbuffers: Schema and Field of Schema.fbs, Message of Message.fbs and Footer of File.fbs. Field
// k of a table is at slot 4 + 2 k.
const (
	messageHeader  = 4 + 2*2
	messageBody    = 4 + 2*3
	footerSchema   = 4 + 2*1
	footerDicts    = 4 + 2*2
	footerRecords  = 4 + 2*3
	schemaFields   = 4 + 2*1
	schemaMetadata = 4 + 2*2
	fieldChildren  = 4 + 2*5
	fieldMetadata  = 4 + 2*6
)

// The layout of a Block of File.fbs, which says where a message is.
const (
	blockSize     = 24
	blockMetadata = 8  // int32, after the offset in the file, int64
	blockBody     = 16 // int64
)

// checkFile panics if the schema in a file's footer is longer than that, or if a message is not within the file.
func checkFile(data []byte) {
	data = slices.Clip(data) // what follows in memory is none of the file's
	tail := len(data) - 10   // 4 bytes footer length, 6 bytes magic
	footer := root(data[tail-int(binary.LittleEndian.Uint32(data[tail:])) : tail])
	check(footer, footer.Indirect(slot(footer, footerSchema)))
	for _, at := range []flatbuffers.VOffsetT{footerDicts, footerRecords} {
		offset := flatbuffers.UOffsetT(footer.Offset(at))
		if offset == 0 {
			continue
		}
		begin := footer.Vector(offset)
		for range footer.VectorLen(offset) {
			block := footer.Bytes[begin:][:blockSize]
			rest := data[binary.LittleEndian.Uint64(block):]
			rest = rest[binary.LittleEndian.Uint32(block[blockMetadata:]):]
			_ = rest[:binary.LittleEndian.Uint64(block[blockBody:])]
			begin += blockSize
		}
	}
}

// checkStream panics if the schema in a stream's first message is longer than that, or if a message is longer than what is
// left of the stream.
func checkStream(data []byte) {
	data = slices.Clip(data)
	for first := true; first || len(data) >= 4; first = false {
		if binary.LittleEndian.Uint32(data) == 1<<32-1 { // streams of old versions lack this mark
			data = data[4:]
		}
		size := binary.LittleEndian.Uint32(data)
		if data = data[4:]; size == 0 && !first {
			return // the end, whatever follows
		}
		message := root(data[:size])
		if first {
			check(message, message.Indirect(slot(message, messageHeader)))
		}
		body := message.GetInt64Slot(messageBody, 0)
		data = data[size:][body:]
	}
}

// root returns the root table of a flatbuffer.
func root(data []byte) flatbuffers.Table {
	return flatbuffers.Table{Bytes: data, Pos: flatbuffers.GetUOffsetT(data)}
}

// slot returns the position of a table's field; it panics if there is none.
func slot(t flatbuffers.Table, at flatbuffers.VOffsetT) flatbuffers.UOffsetT {
	offset := flatbuffers.UOffsetT(t.Offset(at))
	if offset == 0 {
		panic(fmt.Sprintf("there is no field at slot %d", at))
	}
	return t.Pos + offset
}

// maxDepth is how deeply fields may be nested, as in a verifier of flatbuffers: a field may be made its own child.
const maxDepth = 64

// check panics if the vectors of a schema are longer than the buffer that has the schema at a position, or its fields are
// nested too deeply.
func check(in flatbuffers.Table, schema flatbuffers.UOffsetT) {
	left := len(in.Bytes) // of the buffer, which tables may share
	length := func(t flatbuffers.Table, at flatbuffers.VOffsetT, size int) (offset flatbuffers.UOffsetT, n int) {
		if offset = flatbuffers.UOffsetT(t.Offset(at)); offset > 0 {
			n = t.VectorLen(offset)
		}
		if n > left/size {
			panic(fmt.Sprintf("a vector of %d elements in %d bytes", n, len(in.Bytes)))
		}
		left -= n * size
		return offset, n
	}
	var fields func(t flatbuffers.Table, at flatbuffers.VOffsetT, depth int)
	fields = func(t flatbuffers.Table, at flatbuffers.VOffsetT, depth int) {
		if depth > maxDepth {
			panic(fmt.Sprintf("fields are nested in more than %d others", maxDepth))
		}
		offset, n := length(t, at, flatbuffers.SizeUOffsetT)
		for i := range n {
			field := flatbuffers.Table{Bytes: t.Bytes, Pos: t.Indirect(t.Vector(offset) + flatbuffers.UOffsetT(i*flatbuffers.SizeUOffsetT))}
			length(field, fieldMetadata, flatbuffers.SizeUOffsetT)
			fields(field, fieldChildren, depth+1)
		}
	}
	top := flatbuffers.Table{Bytes: in.Bytes, Pos: schema}
	length(top, schemaMetadata, flatbuffers.SizeUOffsetT)
	fields(top, schemaFields, 0)
}
