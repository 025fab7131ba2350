package record

import (
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[fromStructsFn]())
	beam.RegisterDoFn(reflect.TypeFor[toStructsFn]())
}

// Upper limits of a batch from [FromStructs]; a larger row gets a batch of its own.
const (
	MaxStructs = 1024    // rows
	maxBytes   = 8 << 20 // of strings, bytes and numbers
)

// FromStructs turns col, a PCollection<T>, into a PCollection<*record.Batch> with the columns that [Of] makes from T. A
// batch holds rows of one bundle, at most [MaxStructs] of them and about 8 MiB; outside the global window, every row is
// a batch of its own. How rows are split into batches, and their order, are up to the runner.
//
// Vectors of one column that are empty or differ in length fail the pipeline. FromStructs panics if T cannot be a row
// or col is not a PCollection<T>. As for every Beam transform on structs, register T in an init function with
// beam.RegisterType.
func FromStructs[T any](s beam.Scope, col beam.PCollection) beam.PCollection {
	t := reflect.TypeFor[T]()
	columns(t) // panics on a type that cannot be a row
	if got := col.Type().Type(); got != t {
		panic(fmt.Sprintf("record: FromStructs[%v] on a PCollection<%v>", t, got))
	}
	return beam.ParDo(s.Scope("record.FromStructs"), &fromStructsFn{}, col)
}

// ToStructs turns col, a PCollection<*record.Batch>, into a PCollection<T> of its rows, as [Rows] reads them: it
// ignores columns that T does not name; a missing column, a column of another type or a null fails the pipeline.
// ToStructs panics if T cannot be a row; register T as for [FromStructs].
func ToStructs[T any](s beam.Scope, col beam.PCollection) beam.PCollection {
	t := reflect.TypeFor[T]()
	columns(t)
	return beam.ParDo(s.Scope("record.ToStructs"), &toStructsFn{Type: beam.EncodedType{T: t}}, col, beam.TypeDefinition{Var: beam.TType, T: t})
}

// fromStructsFn collects the rows of a bundle, of any struct type.
type fromStructsFn struct {
	rows  reflect.Value // a slice of rows
	bytes int
}

func (fn *fromStructsFn) ProcessElement(w beam.Window, row beam.T, emit func(*Batch)) error {
	value := reflect.ValueOf(row)
	size := sizeOf(value)
	if fn.len() == MaxStructs || fn.len() > 0 && fn.bytes+size > maxBytes {
		if err := fn.FinishBundle(emit); err != nil {
			return err
		}
	}
	if !fn.rows.IsValid() {
		fn.rows = reflect.MakeSlice(reflect.SliceOf(value.Type()), 0, 1)
	}
	fn.rows, fn.bytes = reflect.Append(fn.rows, value), fn.bytes+size
	if _, global := w.(window.GlobalWindow); !global {
		return fn.FinishBundle(emit)
	}
	return nil
}

// FinishBundle emits the collected rows, if there are any.
func (fn *fromStructsFn) FinishBundle(emit func(*Batch)) error {
	if fn.len() == 0 {
		return nil
	}
	b, err := write(fn.rows)
	fn.rows, fn.bytes = reflect.Value{}, 0
	if err != nil {
		return err
	}
	emit(b)
	return nil
}

func (fn *fromStructsFn) len() int {
	if !fn.rows.IsValid() {
		return 0
	}
	return fn.rows.Len()
}

// sizeOf estimates the size of a row in a batch, in bytes.
func sizeOf(row reflect.Value) (bytes int) {
	for i := range row.NumField() {
		bytes += 8
		switch f := row.Field(i); f.Kind() {
		case reflect.String:
			bytes += f.Len()
		case reflect.Slice:
			bytes += f.Len() * int(f.Type().Elem().Size())
		}
	}
	return bytes
}

// toStructsFn emits the rows of a batch.
type toStructsFn struct{ Type beam.EncodedType }

func (fn *toStructsFn) ProcessElement(b *Batch, emit func(beam.T)) error {
	n := int(b.NumRows())
	rows := reflect.MakeSlice(reflect.SliceOf(fn.Type.T), n, n)
	if err := read(b, rows); err != nil {
		return err
	}
	for i := range n {
		emit(rows.Index(i).Interface())
	}
	return nil
}
