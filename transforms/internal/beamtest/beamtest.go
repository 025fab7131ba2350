// Package beamtest collects the output of a pipeline in a test. Runners must run it in the process of the test, like
// prism with loopback and the direct runner.
package beamtest

import (
	"reflect"
	"slices"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[keepFn]()) }

// kept collects the batches that pipelines of this process produce, by keepFn's Key.
var kept = struct {
	sync.Mutex
	batches map[string][]*record.Batch
}{batches: map[string][]*record.Batch{}}

type keepFn struct{ Key string }

func (fn *keepFn) ProcessElement(b *record.Batch) {
	kept.Lock()
	defer kept.Unlock()
	kept.batches[fn.Key] = append(kept.batches[fn.Key], b)
}

// Keep collects col, a PCollection<*record.Batch>. After the run, the function that it returns returns the batches, in
// order of arrival, once.
func Keep(s beam.Scope, col beam.PCollection) func() []*record.Batch {
	key := uuid.NewString()
	beam.ParDo0(s, &keepFn{Key: key}, col)
	return func() []*record.Batch {
		kept.Lock()
		defer kept.Unlock()
		defer delete(kept.batches, key)
		return kept.batches[key]
	}
}

// Rows returns the rows of batches, sorted by compare.
func Rows[T any](t require.TestingT, batches []*record.Batch, compare func(a, b T) int) []T {
	var all []T
	for _, b := range batches {
		rows, err := record.Rows[T](b)
		require.NoError(t, err)
		all = append(all, rows...)
	}
	slices.SortFunc(all, compare)
	return all
}

// Split cuts rows into batches of a size.
func Split[T any](rows []T, size int) []*record.Batch {
	var batches []*record.Batch
	for part := range slices.Chunk(rows, size) {
		batches = append(batches, record.Of(part))
	}
	return batches
}

// Create returns a PCollection of batches that the runner may process in any order.
func Create(s beam.Scope, batches []*record.Batch) beam.PCollection {
	return beam.Reshuffle(s, beam.CreateList(s, batches))
}
