package knn

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[searchFn]()) }

// SearchConfig configures [Search].
type SearchConfig struct {
	// Column is the name of the column of vectors; empty means "feature".
	Column string
	// K is the number of neighbors, at least 1. With fewer rows, all of them are returned.
	K int
}

// Validate returns an error if a field is out of range.
func (c SearchConfig) Validate() error {
	if c.K < 1 {
		return fmt.Errorf("knn: K is %d, must be at least 1", c.K)
	}
	return nil
}

func (c SearchConfig) column() string { return cmp.Or(c.Column, "feature") }

// The columns that Search adds to a query's, and the prefix of a neighbor's own columns.
const (
	rank       = "rank"
	similarity = "similarity"
	prefix     = "neighbour_"
)

// Search finds, for every row of queries, the K rows of base with the highest cosine similarity; both are
// PCollection<*record.Batch>. It returns a PCollection<*record.Batch> with one batch per batch of queries and one row
// per query and neighbor, nearest first. A row has
//
//   - the query's columns except the vectors;
//   - rank (int32, from 0) and similarity (float32);
//   - the neighbor's columns except the vectors, their names prefixed with neighbour_.
//
// Every worker holds all of base. If base has no rows, the result is empty. Search panics if cfg is invalid.
func Search(s beam.Scope, queries, base beam.PCollection, cfg SearchConfig) beam.PCollection {
	must(cfg.Validate())
	return beam.ParDo(s.Scope("knn.Search"), &searchFn{Config: cfg}, queries, beam.SideInput{Input: base})
}

type searchFn struct {
	Config SearchConfig

	base record.Side[*record.Batch]
}

func (fn *searchFn) ProcessElement(w beam.Window, queries *record.Batch, base func(**record.Batch) bool, emit func(*record.Batch)) error {
	column := fn.Config.column()
	whole, err := fn.base.Get(w, func() (*record.Batch, error) { return record.Gather(base, column) })
	if err != nil {
		return fmt.Errorf("knn: base: %w", err)
	}
	if queries.NumRows() == 0 || whole == nil {
		return nil
	}
	found, err := fn.search(whole, queries)
	if err == nil {
		var out *record.Batch
		if out, err = join(record.Without(queries, column), record.Without(whole, column), found); err == nil {
			emit(out)
			return nil
		}
	}
	return fmt.Errorf("knn: %s: %w", record.Name(queries, column), err)
}

func (fn *searchFn) search(base, queries *record.Batch) (found *nearest.Neighbours, err error) {
	x, errX := record.Dense(base, fn.Config.column())
	q, errQ := record.Dense(queries, fn.Config.column())
	if err := errors.Join(errX, errQ); err != nil {
		return nil, err
	}
	err = compute.Run(func(*kernels.Pool) error {
		unit, err := nearest.Normalize(x)
		if err != nil {
			return fmt.Errorf("base: %w", err)
		}
		if q, err = nearest.Normalize(q); err != nil {
			return err
		}
		found, err = nearest.Search(unit, q, fn.Config.K)
		return err
	})
	return found, err
}

// join returns one row per query and neighbor.
func join(queries, base *record.Batch, found *nearest.Neighbours) (*record.Batch, error) {
	var query, neighbor []int
	ranks, similarities := array.NewInt32Builder(record.Mem), array.NewFloat32Builder(record.Mem)
	for i, at := range found.Index {
		if at >= 0 {
			query, neighbor = append(query, i/found.K), append(neighbor, int(at))
			ranks.Append(int32(i % found.K))
			similarities.Append(found.Similarity[i])
		}
	}
	names := []string{rank, similarity}
	for _, f := range base.Schema().Fields() {
		names = append(names, prefix+f.Name)
	}
	if err := record.Reserve(queries, names...); err != nil {
		return nil, err
	}
	out, err := record.Take(queries, query)
	if err != nil {
		return nil, err
	}
	beside, err := record.Take(base, neighbor)
	if err != nil {
		return nil, err
	}
	out = record.With(record.With(out, rank, ranks.NewArray()), similarity, similarities.NewArray())
	for i, column := range beside.Columns() {
		out = record.With(out, prefix+beside.ColumnName(i), column)
	}
	return out, nil
}
