package record_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[photo]())
	beam.RegisterType(reflect.TypeFor[untagged]())
	beam.RegisterFunction(countRows)
	beam.RegisterFunction(checkSize)
	beam.RegisterFunction(describePhoto)
}

type photo struct {
	Name    string    `arrow:"name"`
	Likes   int64     `arrow:"likes"`
	Data    []byte    `arrow:"data"`
	Feature []float32 `arrow:"feature"`
}

type untagged struct{ A int64 }

// photos makes n rows with data of a size.
func photos(n, bytes int) []photo {
	all := make([]photo, n)
	for i := range all {
		all[i] = photo{fmt.Sprintf("%d.jpg", i), int64(i), make([]byte, bytes), []float32{float32(i), -1}}
	}
	return all
}

func countRows(b *record.Batch) int { return int(b.NumRows()) }

// checkSize fails on a batch above the documented size.
func checkSize(b *record.Batch, emit func(int)) error {
	if data, err := record.Encode(b); err != nil || b.NumRows() > record.MaxStructs || b.NumRows() > 1 && len(data) > 9<<20 {
		return errors.Join(err, fmt.Errorf("%d rows of %d bytes", b.NumRows(), len(data)))
	}
	emit(1)
	return nil
}

func describePhoto(p photo) string {
	return fmt.Sprintf("%s %d %d %v", p.Name, p.Likes, len(p.Data), p.Feature)
}

// TestStructs sends rows through batches and back on both local runners, in
// bundles of one and of many rows.
func TestStructs(t *testing.T) {
	rows := photos(3000, 3)
	var want []any
	for _, p := range rows {
		want = append(want, describePhoto(p))
	}
	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		whole := beam.CreateList(s, rows)
		for _, in := range []beam.PCollection{whole, beam.Reshuffle(s, whole)} {
			batches := record.FromStructs[photo](s, in)
			beam.ParDo(s, checkSize, batches)
			passert.Equals(s, beam.ParDo(s, describePhoto, record.ToStructs[photo](s, batches)), want...)
		}
		passert.Equals(s, beam.ParDo(s, countRows, record.FromStructs[photo](s, whole)), 1024, 1024, 952)
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
	}
}

// TestStructsAreBounded has rows of a megabyte and of more than a batch holds.
func TestStructsAreBounded(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	batches := record.FromStructs[photo](s, beam.CreateList(s, photos(20, 1<<20)))
	passert.Equals(s, beam.ParDo(s, countRows, batches), 7, 7, 6)
	beam.ParDo(s, checkSize, batches)
	passert.Equals(s, beam.ParDo(s, countRows, record.FromStructs[photo](s, beam.CreateList(s, photos(2, 10<<20)))), 1, 1)
	_, err := beam.Run(t.Context(), "direct", p)
	require.NoError(t, err)
}

// TestStructsOfWindows keeps rows of different windows apart.
func TestStructsOfWindows(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	in := beam.WindowInto(s, window.NewFixedWindows(time.Minute), beam.CreateList(s, photos(3, 1)))
	passert.Equals(s, beam.WindowInto(s, window.NewGlobalWindows(), beam.ParDo(s, countRows, record.FromStructs[photo](s, in))), 1, 1, 1)
	_, err := beam.Run(t.Context(), "prism", p)
	require.NoError(t, err)
}

func TestStructsErrors(t *testing.T) {
	_, s := beam.NewPipelineWithRoot()
	require.PanicsWithValue(t, "record: field record_test.untagged.A needs a tag `arrow:\"column name\"`", func() {
		record.FromStructs[untagged](s, beam.Create(s, untagged{}))
	})
	require.PanicsWithValue(t, "record: rows must be structs, not string", func() { record.ToStructs[string](s, beam.Impulse(s)) })
	require.PanicsWithValue(t, "record: FromStructs[record_test.photo] on a PCollection<record_test.untagged>", func() {
		record.FromStructs[photo](s, beam.Create(s, untagged{}))
	})

	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		record.FromStructs[photo](s, beam.Create(s, photo{Feature: []float32{1}}, photo{Feature: []float32{1, 2}}))
		_, err := beam.Run(t.Context(), runner, p)
		require.ErrorContains(t, err, `record: column "feature": row 1 holds 2 values, row 0 holds 1`)

		p, s = beam.NewPipelineWithRoot()
		record.ToStructs[photo](s, beam.Create(s, record.Of([]count{{1}})))
		_, err = beam.Run(t.Context(), runner, p)
		require.ErrorContains(t, err, `record: expected one column "name" of type utf8, got 0 in the columns n int64`)
	}
}
