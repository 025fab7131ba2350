// Package tensorboard writes event files, which TensorBoard shows: records of the protocol buffers tensorflow.Event and
// tensorflow.Summary (tensorboard/compat/proto), framed as TFRecord.
package tensorboard

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
	"os"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sdr-ml/sdr/transforms/files"
)

// Field numbers of the messages.
const (
	eventWallTime    = 1 // double
	eventStep        = 2 // int64
	eventFileVersion = 3 // string
	eventSummary     = 5 // Summary
	eventSessionLog  = 7 // SessionLog

	summaryValue     = 1 // Summary.Value
	valueTag         = 1 // string
	valueSimpleValue = 2 // float

	sessionLogStatus = 1 // enum
	sessionStart     = 1 // of which this is START
)

// Scalar is a value with its tag, the name of its chart.
type Scalar struct {
	Tag   string
	Value float64
}

// Writer appends events to a file. Its methods must not be called from several goroutines.
type Writer struct {
	file io.WriteCloser
	path string
	err  error
}

// Create creates an event file in a folder, on any Beam filesystem; on an object store it is uploaded every 30 seconds and
// when it is closed. A TensorBoard that has read other files of the folder forgets their values: a file holds the whole
// history, from step 0 on, and others are removed.
func Create(ctx context.Context, dir string) (*Writer, error) {
	others, err := files.List(ctx, files.Join(files.Quote(dir), "events.out.tfevents.*"))
	if err != nil {
		return nil, err
	}
	host, _ := os.Hostname()
	now := time.Now()
	// Readers take the files of a folder in the order of their names.
	path := files.Join(dir, fmt.Sprintf("events.out.tfevents.%020d.%s.%d", now.UnixNano(), host, os.Getpid()))
	file, err := files.Append(ctx, path)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file, path: path}
	w.write(event(now, 0, eventFileVersion, []byte("brain.Event:2")))
	start := protowire.AppendVarint(protowire.AppendTag(nil, sessionLogStatus, protowire.VarintType), sessionStart)
	w.write(event(now, 0, eventSessionLog, start))
	for _, other := range others {
		if w.err == nil {
			w.err = files.Remove(ctx, other)
		}
	}
	if w.err != nil {
		return nil, errors.Join(w.err, file.Close())
	}
	return w, nil
}

// Add appends the values of a step, as of a time.
func (w *Writer) Add(at time.Time, step int64, scalars ...Scalar) error {
	var summary []byte
	for _, s := range scalars {
		value := protowire.AppendString(protowire.AppendTag(nil, valueTag, protowire.BytesType), s.Tag)
		value = protowire.AppendFixed32(protowire.AppendTag(value, valueSimpleValue, protowire.Fixed32Type), math.Float32bits(float32(s.Value)))
		summary = protowire.AppendBytes(protowire.AppendTag(summary, summaryValue, protowire.BytesType), value)
	}
	w.write(event(at, step, eventSummary, summary))
	return w.err
}

// Close ends the file.
func (w *Writer) Close() error { return w.file.Close() }

// event encodes an Event with one field besides time and step.
func event(at time.Time, step int64, field protowire.Number, content []byte) []byte {
	e := protowire.AppendFixed64(protowire.AppendTag(nil, eventWallTime, protowire.Fixed64Type), math.Float64bits(float64(at.UnixMicro())/1e6))
	e = protowire.AppendVarint(protowire.AppendTag(e, eventStep, protowire.VarintType), uint64(step))
	return protowire.AppendBytes(protowire.AppendTag(e, field, protowire.BytesType), content)
}

// write appends a record: its length, that number's checksum, the content and its checksum. It writes all at once, so
// that a reader finds whole records.
func (w *Writer) write(content []byte) {
	r := binary.LittleEndian.AppendUint64(nil, uint64(len(content)))
	r = binary.LittleEndian.AppendUint32(r, masked(r))
	r = append(r, content...)
	r = binary.LittleEndian.AppendUint32(r, masked(content))
	if w.err != nil {
		return
	}
	if _, err := w.file.Write(r); err != nil {
		w.err = fmt.Errorf("write %s: %w", w.path, err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// masked is the checksum of a TFRecord: a CRC-32C, masked since it may be one of data that contain such.
func masked(data []byte) uint32 {
	c := crc32.Checksum(data, castagnoli)
	return (c>>15 | c<<17) + 0xa282ead8
}
