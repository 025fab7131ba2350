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
