package arrowio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"regexp"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/ipc"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/transforms/arrowipc"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

// WriteFile writes records as an Arrow IPC file (the random-access format), atomically, like [files.Write]. Equal
// records produce equal bytes. A record with another schema is an error.
func WriteFile(ctx context.Context, path string, schema *arrow.Schema, recs ...arrow.Record) error {
	data, err := encode(schema, recs)
	if err == nil {
		err = files.WriteBytes(ctx, path, data)
	}
	if err != nil {
		return fmt.Errorf("arrowio: writing %s: %w", path, err)
	}
	return nil
}

// encode returns the content of an Arrow IPC file.
func encode(schema *arrow.Schema, recs []arrow.Record) ([]byte, error) {
	var f memFile
	w, err := ipc.NewFileWriter(&f, ipc.WithSchema(schema), ipc.WithAllocator(record.Mem))
	if err != nil {
		return nil, err
	}
	for i, rec := range recs {
		compact, err := record.Compact(rec)
		if err == nil {
			err = w.Write(compact)
		}
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
	}
	err = w.Close()
	return f.Bytes(), err
}

// memFile is an io.WriteSeeker for ipc.NewFileWriter, which seeks only to learn the position.
type memFile struct{ bytes.Buffer }

func (f *memFile) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekCurrent {
		return 0, errors.ErrUnsupported
	}
	return int64(f.Len()), nil
}

// File is an Arrow IPC file open for random access. Its methods, except Close, may be called concurrently.
type File struct {
	path    string
	reader  *ipc.FileReader
	release func() error
}

// OpenFile opens an Arrow IPC file. It maps a local file into memory and reads any other completely. A file that
// [WriteDir] has named is compared with its name. Damaged files are errors, and those that ask for far more memory than
// they have bytes.
func OpenFile(ctx context.Context, path string) (*File, error) {
	data, release, err := files.Map(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("arrowio: opening %s: %w", path, err)
	}
	f := &File{path: path, release: release}
	if err := f.check(data); err != nil {
		return nil, errors.Join(err, release())
	}
	if f.reader, err = arrowipc.OpenFile(data); err != nil {
		return nil, errors.Join(fmt.Errorf("arrowio: opening %s as an Arrow IPC file: %w", path, err), release())
	}
	return f, nil
}

// digestName returns the name of a file by its content.
func digestName(data []byte) string { return fmt.Sprintf("%016x.arrow", xxh3.Hash(data)) }

var isDigestName = regexp.MustCompile(`^[0-9a-f]{16}[.]arrow$`).MatchString

// check compares a file that is named by its content with its name.
func (f *File) check(data []byte) error {
	if name := path.Base(f.path); isDigestName(name) && digestName(data) != name {
		return fmt.Errorf("arrowio: %s is damaged: its content is not that of its name; remove it, and --resume makes it again", f.path)
	}
	return nil
}

// NumRecords returns the number of records in the file.
func (f *File) NumRecords() int { return f.reader.NumRecords() }

// Schema returns the schema of the records.
func (f *File) Schema() *arrow.Schema { return f.reader.Schema() }

// Record reads record i, counted from 0. The record must not be used after Close.
func (f *File) Record(i int) (rec arrow.Record, err error) {
	if i < 0 || i >= f.NumRecords() {
		return nil, fmt.Errorf("arrowio: %s has no record %d, only %d records", f.path, i, f.NumRecords())
	}
	err = arrowipc.Guard(func() error {
		rec, err = f.reader.RecordAt(i)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("arrowio: reading record %d of %s: %w", i, f.path, err)
	}
	return rec, nil
}

// Close closes the file; its records must not be used afterwards.
func (f *File) Close() error { return errors.Join(f.reader.Close(), f.release()) }
