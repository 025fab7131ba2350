package classes_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/internal/classes"
	"github.com/sdr-ml/sdr/transforms/record"
)

type named struct {
	Label string  `arrow:"label"`
	Other float32 `arrow:"other"`
}

type numbered struct {
	Label int64 `arrow:"label"`
}

func TestOf(t *testing.T) {
	set, numbers, err := classes.Of(record.Of([]numbered{{7}, {2}, {7}, {10}}), "label")
	require.NoError(t, err)
	require.Equal(t, []int64{1, 0, 1, 2}, numbers)
	require.Equal(t, 3, set.Len())
	require.Equal(t, "[10 2]", set.Column([]int64{2, 0}).String())

	set, numbers, err = classes.Of(record.Of([]named{{"dog", 1}, {"ant", 2}, {"dog", 3}}), "label")
	require.NoError(t, err)
	require.Equal(t, []int64{1, 0, 1}, numbers)
	require.Equal(t, 2, set.Len())
	require.Equal(t, `["ant" "dog"]`, set.Column([]int64{0, 1}).String())
}

type several struct {
	Label []int32 `arrow:"label"`
}

func TestLists(t *testing.T) {
	rows := record.Of([]several{{[]int32{2, 0}}, {nil}, {[]int32{5}}})
	sets, n, ok, err := classes.Lists(record.New(rows.NewSlice(1, 3)), "label")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 6, n)
	require.Equal(t, [][]int64{nil, {5}}, sets)
	for _, column := range []string{"other", "none"} {
		_, _, ok, err = classes.Lists(record.Of([]named{{"a", 1}}), column)
		require.NoError(t, err)
		require.False(t, ok)
	}
	_, _, ok, err = classes.Lists(record.Of([]several{{[]int32{2, 0}}, {[]int32{3, -1}}}), "label")
	require.True(t, ok)
	require.EqualError(t, err, `column "label": a label of row 1 is -1; want numbers from 0`)
	type odd struct {
		Label []float64 `arrow:"label"`
	}
	_, _, ok, err = classes.Lists(record.Of([]odd{{[]float64{1}}}), "label")
	require.True(t, ok)
	require.ErrorContains(t, err, `column "label" holds list<item: float64`)

	type scored struct {
		Scores []float64 `arrow:"scores"`
	}
	got, err := record.Rows[scored](classes.WithScores(rows, []float32{1, 2, 3, 4, 5, 6}, 2))
	require.NoError(t, err)
	require.Equal(t, []scored{{[]float64{1, 2}}, {[]float64{3, 4}}, {[]float64{5, 6}}}, got)
}

func TestErrors(t *testing.T) {
	_, _, err := classes.Of(record.Of([]numbered{{1}, {-1}}), "label")
	require.EqualError(t, err, `column "label": the label of row 1 is -1; want numbers from 0, or a column of names`)
	_, _, err = classes.Of(record.Of([]named{{"a", 1}, {"", 2}}), "label")
	require.EqualError(t, err, `column "label": the label of row 1 is empty`)
	_, _, err = classes.Of(record.Of([]named{{"a", 1}}), "other")
	require.EqualError(t, err, `column "other" holds float32; want labels as int64 or utf8`)
	_, _, err = classes.Of(record.Of([]named{{"a", 1}}), "class")
	require.EqualError(t, err, `expected one column "class" of labels, got 0`)
}
