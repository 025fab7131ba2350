package record

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
)

// Take returns a copy of the rows with the given indices, in that order, like Arrow's take; an index may repeat.
func Take(b *Batch, rows []int) (*Batch, error) {
	if len(rows) == 0 {
		return New(b.NewSlice(0, 0)), nil
	}
	var parts []arrow.Record
	for from := 0; from < len(rows); {
		to := from + 1
		for to < len(rows) && rows[to] == rows[to-1]+1 {
			to++
		}
		parts = append(parts, b.NewSlice(int64(rows[from]), int64(rows[to-1]+1)))
		from = to
	}
	rec, err := join(parts)
	if err != nil {
		return nil, fmt.Errorf("record: copying rows: %w", err)
	}
	return New(rec), nil
}

// Concat copies batches with the same schema into one.
func Concat(batches []*Batch) (*Batch, error) {
	if len(batches) == 0 {
		return nil, fmt.Errorf("record: cannot concatenate zero batches")
	}
	first := batches[0].Schema()
	parts := make([]arrow.Record, len(batches))
	for i, b := range batches {
		if !b.Schema().Equal(first) {
			return nil, fmt.Errorf("record: batches have different columns: %s; %s", describe(first), describe(b.Schema()))
		}
		parts[i] = b.Record
	}
	rec, err := join(parts)
	if err != nil {
		return nil, fmt.Errorf("record: joining batches: %w", err)
	}
	return New(rec), nil
}

// join copies records with the same schema, at least one, into one.
func join(parts []arrow.Record) (arrow.Record, error) {
	schema, rows := parts[0].Schema(), int64(0)
	for _, part := range parts {
		rows += part.NumRows()
	}
	columns := make([]arrow.Array, schema.NumFields())
	for i, field := range schema.Fields() {
		pieces := make([]arrow.Array, len(parts))
		for j, part := range parts {
			pieces[j] = part.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(pieces, Mem); err != nil {
			return nil, fmt.Errorf("column %q of type %v: %w", field.Name, field.Type, err)
		}
	}
	return array.NewRecord(schema, columns, rows), nil
}

// Gather concatenates the batches of a GroupByKey or side-input iterator, all with the same schema, and sorts the rows
// by content: by the text of their columns, then by the column vectors. The order is thus the same for every runner and
// batching. It returns nil if there are no rows.
func Gather(iter func(**Batch) bool, vectors string) (*Batch, error) {
	var batches []*Batch
	var b *Batch
	for iter(&b) {
		if b.NumRows() > 0 {
			batches = append(batches, b)
		}
	}
	if len(batches) == 0 {
		return nil, nil
	}
	whole, err := Concat(batches)
	if err != nil {
		return nil, err
	}
	keys, rows := make([]string, whole.NumRows()), make([]int, whole.NumRows())
	var key []byte
	for i := range keys {
		key = key[:0]
		for c, column := range whole.Columns() {
			if whole.ColumnName(c) != vectors {
				text := column.ValueStr(i)
				key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
			}
		}
		keys[i], rows[i] = string(key), i
	}
	data, width, err := matrix(whole, vectors)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(rows, func(a, b int) int {
		return cmp.Or(cmp.Compare(keys[a], keys[b]), slices.Compare(data[a*width:][:width], data[b*width:][:width]))
	})
	return Take(whole, rows)
}
