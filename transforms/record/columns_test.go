package record_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/record"
)

func TestColumns(t *testing.T) {
	type small struct {
		N int64  `arrow:"n"`
		S string `arrow:"s"`
	}
	type more struct {
		N int64   `arrow:"n"`
		S string  `arrow:"s"`
		D float64 `arrow:"d"`
	}
	type other struct {
		N float64 `arrow:"n"`
		S string  `arrow:"s"`
	}
	b := record.Of([]small{{1, "a"}, {2, "b"}})
	doubles := record.Of([]struct {
		D float64 `arrow:"d"`
	}{{.5}, {1.5}}).Column(0)
	rows, err := record.Rows[more](record.With(b, "d", doubles))
	require.NoError(t, err)
	require.Equal(t, []more{{1, "a", .5}, {2, "b", 1.5}}, rows)
	replaced := record.With(b, "n", doubles)
	got, err := record.Rows[other](replaced)
	require.NoError(t, err)
	require.Equal(t, []other{{.5, "a"}, {1.5, "b"}}, got)
	require.Equal(t, "n", replaced.ColumnName(0), "in the same place")

	left := record.Without(b, "n", "none")
	require.Len(t, left.Columns(), 1)
	require.Equal(t, "s", left.ColumnName(0))
	none := record.Without(b, "n", "s")
	require.EqualValues(t, 2, none.NumRows())
	before, err := record.Rows[small](b)
	require.NoError(t, err)
	require.Equal(t, []small{{1, "a"}, {2, "b"}}, before)
}
