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

// ReadParquet reads the Parquet files that match a glob. It returns a PCollection<*record.Batch> with one element or
// more per file that has rows, in no order. A glob without a match fails the pipeline.
func ReadParquet(s beam.Scope, glob string) beam.PCollection {
	return read(s.Scope("arrowio.ReadParquet"), formatParquet, glob)
}

// ReadIPC is [ReadParquet] for Arrow IPC files, with one element per record.
func ReadIPC(s beam.Scope, glob string) beam.PCollection {
	return read(s.Scope("arrowio.ReadIPC"), formatIPC, glob)
}

func read(s beam.Scope, f format, glob string) beam.PCollection {
	paths := beam.ParDo(s, &listFn{Glob: glob}, beam.Impulse(s))
	return beam.ParDo(s, &readFn{Format: f}, beam.Reshuffle(s, paths))
}

// WriteParquet writes col, a PCollection<*record.Batch> of batches with the same schema, to one Parquet file, with one
// row group per batch, and returns a PCollection<string> of its path. It sorts the batches by a hash of their content,
// so the same batches produce the same file on every runner. One worker holds all batches in memory; [WriteDir] has no
// such limit. If col is empty, there is no schema, and no file is written.
func WriteParquet(s beam.Scope, path string, col beam.PCollection) beam.PCollection {
	return write(s.Scope("arrowio.WriteParquet"), formatParquet, path, col)
}

// WriteIPC is [WriteParquet] for an Arrow IPC file, with one record per batch.
func WriteIPC(s beam.Scope, path string, col beam.PCollection) beam.PCollection {
	return write(s.Scope("arrowio.WriteIPC"), formatIPC, path, col)
}

func write(s beam.Scope, f format, path string, col beam.PCollection) beam.PCollection {
	return beam.ParDo(s, &writeFn{Format: f, Path: path}, beam.Impulse(s), beam.SideInput{Input: col}) // grouped by a key, they would be one record of Flink's
}

// WriteDir writes each batch of col, a PCollection<*record.Batch>, to an Arrow IPC file of its own in dir, and returns
// a PCollection<string> of the paths. The name of a file is the hash of its content, so a retry or another run writes
// the same files on every runner; equal batches share a file.
func WriteDir(s beam.Scope, dir string, col beam.PCollection) beam.PCollection {
	s = s.Scope("arrowio.WriteDir")
	return beam.Reshuffle(s, beam.ParDo(s, &writeDirFn{Dir: dir}, col)) // prism spins while a stage runs whose output nobody takes
}

// format is a file format.
type format string

const (
	formatIPC     format = "ipc"
	formatParquet format = "parquet"
)

// each is [Each] for a file in the format.
func (f format) each(ctx context.Context, path string, yield func(*record.Batch) error) error {
	if f == formatIPC {
		return Each(ctx, path, yield)
	}
	recs, err := LoadParquet(ctx, path)
	if err != nil {
		return err
	}
	for _, rec := range recs {
		if err := yield(record.New(rec)); err != nil {
			return err
		}
	}
	return nil
}

// save writes records, at least one, to a file.
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

func (fn *writeFn) ProcessElement(ctx context.Context, _ []byte, batches func(**record.Batch) bool, emit func(string)) error {
	type hashed struct {
		arrow.Record
		hash uint64
	}
	var all []hashed
	var b *record.Batch
	for batches(&b) {
		data, err := record.Encode(b)
		if err != nil {
			return fmt.Errorf("arrowio: writing %s: %w", fn.Path, err)
		}
		all = append(all, hashed{b.Record, xxh3.Hash(data)})
	}
	slices.SortFunc(all, func(a, b hashed) int { return cmp.Compare(a.hash, b.hash) })
	recs := make([]arrow.Record, len(all))
	for i, h := range all {
		recs[i] = h.Record
	}
	if len(recs) == 0 {
		return nil
	}
	emit(fn.Path)
	return fn.Format.save(ctx, fn.Path, recs)
}

type writeDirFn struct{ Dir string }

func (fn *writeDirFn) ProcessElement(ctx context.Context, b *record.Batch) (string, error) {
	return WriteBatch(ctx, fn.Dir, b)
}

// WriteBatch writes a batch to an Arrow IPC file in dir whose name is the hash of its content, and returns its path: what
// [WriteDir] does for each batch.
func WriteBatch(ctx context.Context, dir string, b *record.Batch) (string, error) {
	data, err := encode(b.Schema(), []arrow.Record{b.Record})
	path := fmt.Sprintf("%s/%s", strings.TrimSuffix(dir, "/"), digestName(data))
	if err == nil {
		err = files.WriteBytes(ctx, path, data)
	}
	if err != nil {
		return "", fmt.Errorf("arrowio: writing %s: %w", path, err)
	}
	return path, nil
}

// LoadIPC reads the rows of the Arrow IPC files that match a glob, with the columns of T; see [record.Rows].
func LoadIPC[T any](ctx context.Context, glob string) ([]T, error) {
	paths, err := files.List(ctx, glob)
	if err != nil {
		return nil, err
	}
	var all []T
	for _, path := range paths {
		err := Each(ctx, path, func(b *record.Batch) error {
			rows, err := record.Rows[T](b)
			all = append(all, rows...)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
	}
	return all, nil
}

// Each calls yield with every record of an Arrow IPC file, in order, and stops at the first error. The batches stay
// valid after Each returns.
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
