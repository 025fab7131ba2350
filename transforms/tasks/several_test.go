package tasks_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// writeNames writes a Parquet file of images with lists of names.
func writeNames(t *testing.T, path string, images ...[]string) {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "labels", Type: arrow.ListOf(arrow.BinaryTypes.String)},
	}, nil))
	for i, names := range images {
		b.Field(0).(*array.BinaryBuilder).Append(pixel(uint8(i)))
		b.Field(1).(*array.ListBuilder).Append(true)
		b.Field(1).(*array.ListBuilder).ValueBuilder().(*array.StringBuilder).AppendValues(names, nil)
	}
	require.NoError(t, arrowio.SaveParquet(t.Context(), path, b.NewRecord()))
}

// Images may have several classes, if the task says what is measured then.
func TestSeveralClasses(t *testing.T) {
	dir := t.TempDir()
	train, test := filepath.Join(dir, "street-train.parquet"), filepath.Join(dir, "street-test.parquet")
	writeNames(t, train, []string{"tree"}, []string{"car", "tree"}, nil, []string{"dog", "car"})
	writeNames(t, test, []string{"dog"}, []string{"tree", "dog"})

	found, _, err := tasks.Find(t.Context(), dir)
	require.NoError(t, err)
	require.ErrorContains(t, tasks.Check(t.Context(), found[0]), `the images have lists of classes, but the metric is top1; write "metric: map11" to a file`)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "street.yaml"), []byte("metric: map11\n"), 0o644))
	found, _, err = tasks.Find(t.Context(), dir)
	require.NoError(t, err)
	require.Equal(t, tasks.MeanAP, found[0].Metric)
	require.NoError(t, tasks.Check(t.Context(), found[0]))

	im := load(t, train, nil)
	require.Equal(t, []string{"car", "dog", "tree"}, im.Classes)
	require.Equal(t, [][]int64{{2}, {0, 2}, {1, 0}}, im.Sets)
	require.Equal(t, []int64{2, 0, 1}, im.Labels)
	require.Equal(t, 3, im.Len())
	require.Equal(t, []string{train + ", row 2: it has no class"}, im.Bad)
	require.Equal(t, []int64{0, 2}, im.ClassesOf(1))
	require.Equal(t, [][]int64{{1}, {2, 1}}, load(t, test, im.Classes).Sets)
	half := load(t, train+"[1::2]", nil)
	require.Equal(t, [][]int64{{0, 2}, {1, 0}}, half.Sets)

	single := &tasks.Images{Labels: []int64{3, 5}}
	require.Equal(t, []int64{5}, single.ClassesOf(1))
	require.Equal(t, [][]int64{{3}, {5}}, tasks.Members(single.Labels, single.Sets))

	writeNames(t, test, []string{"dog"}, []string{"bus"})
	_, err = tasks.Load(t.Context(), test, 4, im.Classes)
	require.ErrorContains(t, err, `class "bus" is not among the 3 classes of the training images`)
	writeNames(t, test, []string{"dog"}, []string{"tree", ""})
	_, err = tasks.Load(t.Context(), test, 4, im.Classes)
	require.ErrorContains(t, err, test+", row 1: one of its labels is missing")
}
