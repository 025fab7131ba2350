package arrowio

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[writeFn]())
	beam.RegisterDoFn(reflect.TypeFor[listFn]())
	beam.RegisterDoFn(reflect.TypeFor[readFn]())
}

// Write writes each batch of in, a PCollection<*record.Batch>, to a file of its
// own in dir and returns the PCollection<string> of the paths. A file is named
// by the hash of its content, so a retried or repeated run writes the same
// files, whatever the runner; batches with equal schema and rows share one.
func Write(s beam.Scope, dir string, in beam.PCollection) beam.PCollection {
	s = s.Scope("arrowio.Write")
	return beam.ParDo(s, &writeFn{Dir: dir}, in)
}

type writeFn struct{ Dir string }

func (fn *writeFn) ProcessElement(ctx context.Context, b *record.Batch) (string, error) {
	data, err := encode(b.Schema(), []arrow.Record{b.Record})
	path := fmt.Sprintf("%s/%016x.arrow", strings.TrimSuffix(fn.Dir, "/"), xxh3.Hash(data))
	if err == nil {
		err = files.WriteBytes(ctx, path, data)
	}
	if err != nil {
		return "", fmt.Errorf("arrowio: writing %s: %w", path, err)
	}
	return path, nil
}

// Read reads every *.arrow file of a folder, in name order where the runner
// keeps it, into a PCollection<*record.Batch>, one element a record. A folder
// that is missing or has no such file fails the pipeline.
func Read(s beam.Scope, dir string) beam.PCollection {
	s = s.Scope("arrowio.Read")
	paths := beam.ParDo(s, &listFn{Dir: dir}, beam.Impulse(s))
	return beam.ParDo(s, &readFn{}, beam.Reshuffle(s, paths))
}

type listFn struct{ Dir string }

func (fn *listFn) ProcessElement(ctx context.Context, _ []byte, emit func(string)) error {
	paths, err := list(ctx, fn.Dir)
	for _, path := range paths {
		emit(path)
	}
	return err
}

type readFn struct{}

func (*readFn) ProcessElement(ctx context.Context, path string, emit func(*record.Batch)) error {
	return Each(ctx, path, func(b *record.Batch) error {
		emit(b)
		return nil
	})
}

// Each gives every record of an Arrow IPC file to yield, in order, and stops at
// its first error. The batches must not be used after Each returns.
func Each(ctx context.Context, path string, yield func(*record.Batch) error) (err error) {
	f, err := OpenFile(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	for i := range f.NumRecords() {
		rec, err := f.Record(i)
		if err != nil {
			return err
		}
		if err := yield(record.New(rec)); err != nil {
			return err
		}
	}
	return nil
}
