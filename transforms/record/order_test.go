package record_test

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/record"
)

// iterate is a GroupByKey or side-input iterator of batches.
func iterate(batches []*record.Batch) func(**record.Batch) bool {
	return func(b **record.Batch) bool {
		if len(batches) == 0 {
			return false
		}
		*b, batches = batches[0], batches[1:]
		return true
	}
}

// TestGather cuts rows, many of them alike, into batches of any size and order: what
// is gathered has the same bytes, and every row.
func TestGather(t *testing.T) {
	type row struct {
		Name    string    `arrow:"name"`
		N       int64     `arrow:"n"`
		Feature []float32 `arrow:"feature"`
	}
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			few := rapid.IntRange(0, 2)
			return row{rapid.SampledFrom([]string{"a", "b", "ab"}).Draw(t, "name"), int64(few.Draw(t, "n")), []float32{float32(few.Draw(t, "x")), 1}}
		}), 1, 30).Draw(t, "rows")
		shuffled := append([]row{}, rows...)
		rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0)).Shuffle(len(rows), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		batches := []*record.Batch{record.Of(rows[:0])}
		for from := 0; from < len(rows); {
			to := from + rapid.IntRange(1, len(rows)-from).Draw(t, "batch")
			batches = append(batches, record.Of(shuffled[from:to]))
			from = to
		}
		want, err := record.Gather(iterate([]*record.Batch{record.Of(rows)}), "feature")
		require.NoError(t, err)
		got, err := record.Gather(iterate(batches), "feature")
		require.NoError(t, err)
		wanted, err := record.Encode(want)
		require.NoError(t, err)
		data, err := record.Encode(got)
		require.NoError(t, err)
		require.Equal(t, wanted, data)
		all, err := record.Rows[row](got)
		require.NoError(t, err)
		require.ElementsMatch(t, rows, all)
	})
	none, err := record.Gather(iterate(nil), "feature")
	require.NoError(t, err)
	require.Nil(t, none)
}

// TestTake takes rows in any order and as often as asked.
func TestTake(t *testing.T) {
	b := record.Of([]count{{0}, {1}, {2}, {3}, {4}})
	for _, rows := range [][]int{{}, {3}, {1, 2, 3}, {4, 4, 0, 1, 0}} {
		got, err := record.Take(record.New(b.NewSlice(0, 5)), rows)
		require.NoError(t, err)
		all, err := record.Rows[count](got)
		require.NoError(t, err)
		want := []count{}
		for _, i := range rows {
			want = append(want, count{int64(i)})
		}
		require.Equal(t, want, all)
	}
}
