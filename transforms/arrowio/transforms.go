package arrowio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/zeebo/xxh3"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[listFn]())
	beam.RegisterDoFn(reflect.TypeFor[readFn]())
	beam.RegisterDoFn(reflect.TypeFor[writeFn]())
	beam.RegisterDoFn(reflect.TypeFor[writeDirFn]())
}

// ReadParquet reads the Parquet files that a glob matches into a
// PCollection<*record.Batch>, one or more elements for each file with rows. Files
// are read side by side, so elements have no order. A glob without a match fails
// the pipeline.
func ReadParquet(s beam.Scope, glob string) beam.PCollection {
	return read(s.Scope("arrowio.ReadParquet"), formatParquet, glob)
}

// ReadIPC is [ReadParquet] for Arrow IPC files, one element for each record.
func ReadIPC(s beam.Scope, glob string) beam.PCollection {
	return read(s.Scope("arrowio.ReadIPC"), formatIPC, glob)
}

func read(s beam.Scope, f format, glob string) beam.PCollection {
	paths := beam.ParDo(s, &listFn{Glob: glob}, beam.Impulse(s))
	return beam.ParDo(s, &readFn{Format: f}, beam.Reshuffle(s, paths))
}

// WriteParquet writes all batches of col, a PCollection<*record.Batch> of one
// schema, as one Parquet file, a row group a batch, and returns a
// PCollection<string> of its path. The batches are ordered by a hash of what they
// hold, so that the same batches give the same file on every runner. One worker
// holds them all in memory; [WriteDir] has no such limit. Without a batch there is
// no schema, and no file is written.
func WriteParquet(s beam.Scope, path string, col beam.PCollection) beam.PCollection {
	return write(s.Scope("arrowio.WriteParquet"), formatParquet, path, col)
}

// WriteIPC is [WriteParquet] for an Arrow IPC file, a record a batch.
func WriteIPC(s beam.Scope, path string, col beam.PCollection) beam.PCollection {
	return write(s.Scope("arrowio.WriteIPC"), formatIPC, path, col)
}

func write(s beam.Scope, f format, path string, col beam.PCollection) beam.PCollection {
	return beam.ParDo(s, &writeFn{Format: f, Path: path}, beam.GroupByKey(s, beam.AddFixedKey(s, col)))
}

// WriteDir writes each batch of col, a PCollection<*record.Batch>, to an Arrow IPC
// file of its own in dir and returns the PCollection<string> of the paths. A file
// is named by the hash of its content, so a retried or repeated run writes the
// same files, whatever the runner; batches with equal schema and rows share one.
func WriteDir(s beam.Scope, dir string, col beam.PCollection) beam.PCollection {
	return beam.ParDo(s.Scope("arrowio.WriteDir"), &writeDirFn{Dir: dir}, col)
}

// format is a kind of file.
type format string

const (
	formatIPC     format = "ipc"
	formatParquet format = "parquet"
)

// each gives every record of a file to yield.
func (f format) each(ctx context.Context, path string, yield func(*record.Batch) error) error {
	if f == formatIPC {
		return Each(ctx, path, yield)
	}
	recs, err := LoadParquet(ctx, path)
	for _, rec := range recs {
		err = cmp.Or(err, yield(record.New(rec)))
	}
	return err
}

// save writes a file of at least one record.
func (f format) save(ctx context.Context, path string, recs []arrow.Record) error {
	if f == formatIPC {
		return WriteFile(ctx, path, recs[0].Schema(), recs...)
	}
	return SaveParquet(ctx, path, recs...)
}

type listFn struct{ Glob string }

func (fn *listFn) ProcessElement(ctx context.Context, _ []byte, emit func(string)) error {
	paths, err := files.List(ctx, fn.Glob)
	if err != nil {
		return fmt.Errorf("arrowio: %w", err)
	}
	if len(paths) == 0 {
		return fmt.Errorf("arrowio: no file matches %s; check the path, and that what writes the files has run", fn.Glob)
	}
	for _, path := range paths {
		emit(path)
	}
	return nil
}

type readFn struct{ Format format }

func (fn *readFn) ProcessElement(ctx context.Context, path string, emit func(*record.Batch)) error {
	return fn.Format.each(ctx, path, func(b *record.Batch) error {
		emit(b)
		return nil
	})
}

type writeFn struct {
	Format format
	Path   string
}

func (fn *writeFn) ProcessElement(ctx context.Context, _ int, batches func(**record.Batch) bool) (string, error) {
	type hashed struct {
		arrow.Record
		hash uint64
	}
	var all []hashed
	var b *record.Batch
	for batches(&b) {
		data, err := record.Encode(b)
		if err != nil {
			return "", fmt.Errorf("arrowio: writing %s: %w", fn.Path, err)
		}
		all = append(all, hashed{b.Record, xxh3.Hash(data)})
	}
	slices.SortFunc(all, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	recs := make([]arrow.Record, len(all))
	for i, h := range all {
		recs[i] = h.Record
	}
	return fn.Path, fn.Format.save(ctx, fn.Path, recs)
}

type writeDirFn struct{ Dir string }

func (fn *writeDirFn) ProcessElement(ctx context.Context, b *record.Batch) (string, error) {
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

// Each gives every record of an Arrow IPC file to yield, in order, and stops at
// its first error. The batches stay good after Each returns.
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
