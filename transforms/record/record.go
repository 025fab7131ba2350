package record

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/arrowipc"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Batch]())
	beam.RegisterCoder(reflect.TypeFor[*Batch](), Encode, Decode)
}

// Mem is the allocator for all records of this package.
var Mem memory.Allocator = memory.NewGoAllocator()

// Batch is one Arrow record as a Beam element; PCollections hold *Batch. Like every Beam element it must not be
// modified after it is emitted.
type Batch struct{ arrow.Record }

// New wraps a record. The record must not be released afterwards.
func New(rec arrow.Record) *Batch { return &Batch{rec} }

// Encode encodes a batch as an Arrow IPC stream of one record; equal batches encode to equal bytes. It is the encoder
// of the Beam coder.
func Encode(b *Batch) ([]byte, error) {
	if b == nil || b.Record == nil {
		return nil, errors.New("record: cannot encode a batch without a record; make it with record.New or record.Of")
	}
	rec, err := Compact(b.Record)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := ipc.NewWriter(&buf, ipc.WithSchema(rec.Schema()), ipc.WithAllocator(Mem))
	if err := errors.Join(w.Write(rec), w.Close()); err != nil {
		return nil, fmt.Errorf("record: encoding a record with the columns %s: %w", describe(rec.Schema()), err)
	}
	return buf.Bytes(), nil
}

// Compact copies a record into new buffers that hold exactly its rows. Equal records are then written as equal bytes,
// wherever they were sliced from; otherwise Arrow's writer pads with neighboring rows, and fails on an empty slice of a
// string column.
func Compact(rec arrow.Record) (arrow.Record, error) {
	if rec.NumRows() == 0 {
		return array.NewRecordBuilder(Mem, rec.Schema()).NewRecord(), nil
	}
	whole, err := join([]arrow.Record{rec})
	if err != nil {
		return nil, fmt.Errorf("record: copying: %w", err)
	}
	return whole, nil
}

// Decode decodes the output of [Encode]: an Arrow IPC stream that holds exactly one record. It is the decoder of the
// Beam coder. Truncated and damaged streams are errors, but the values are not looked at.
func Decode(data []byte) (b *Batch, err error) {
	err = arrowipc.Guard(func() error {
		b, err = decode(data)
		return err
	})
	return b, err
}

func decode(data []byte) (*Batch, error) {
	r, err := arrowipc.OpenStream(data)
	if err != nil {
		return nil, fmt.Errorf("record: decoding %d bytes as an Arrow IPC stream: %w", len(data), err)
	}
	rec, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("record: decoding the record of an Arrow IPC stream of %d bytes: %w", len(data), err)
	}
	rec.Retain() // the reader releases its own reference on the next Read
	if _, err := r.Read(); err != io.EOF {
		return nil, fmt.Errorf("record: an Arrow IPC stream of %d bytes holds more than one record", len(data))
	}
	return New(rec), nil
}
