package tasks_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// TestTaskColumn finds the tasks in a file by the names in its column task and loads the rows of each.
func TestTaskColumn(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.PrimitiveTypes.Int64}, {Name: "task", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	row := 0
	add := func(task string, rows int) {
		for range rows {
			b.Field(0).(*array.BinaryBuilder).Append(pixel(uint8(row)))
			b.Field(1).(*array.Int64Builder).Append(int64(row % 2))
			b.Field(2).(*array.StringBuilder).Append(task)
			row++
		}
	}
	add("birds", 3)
	add("torn", 2)
	add("flowers", 300) // more than are read at once
	add("../birds", 2)
	add("torn", 2)
	path := filepath.Join(t.TempDir(), "all.parquet")
	require.NoError(t, arrowio.SaveParquet(t.Context(), path, b.NewRecord()))

	found, faulty, err := tasks.FindTraining(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, []tasks.Task{
		{Name: "birds", Train: path + "[0:3:1]", Metric: tasks.Top1}, {Name: "flowers", Train: path + "[5:305:1]", Metric: tasks.Top1},
	}, found)
	require.Len(t, faulty, 2)
	require.Equal(t, "torn", faulty[0].Name)
	require.ErrorContains(t, faulty[0].Err, "its rows are in several places, such as 3 and 307; sort the file by the column task")
	require.ErrorContains(t, faulty[1].Err, `the name of the task of row 305 is "../birds"`)

	birds, flowers := load(t, found[0].Train, nil), load(t, found[1].Train, nil)
	require.Equal(t, []int64{0, 1, 0}, birds.Labels)
	require.Equal(t, 300, flowers.Len())
	whole := load(t, path, nil)
	for i := range 300 {
		require.Equal(t, whole.At(5+i), flowers.At(i), fmt.Sprint(i))
	}

	type numbered struct {
		Image []byte `arrow:"image"`
		Label int64  `arrow:"label"`
		Task  int32  `arrow:"task"`
	}
	numbers := filepath.Join(t.TempDir(), "numbers.parquet")
	require.NoError(t, arrowio.SaveParquet(t.Context(), numbers, record.Of([]numbered{{pixel(1), 0, 3}, {pixel(2), 1, 3}, {pixel(3), 0, 12}})))
	found, faulty, err = tasks.FindTraining(t.Context(), numbers)
	require.NoError(t, err)
	require.Empty(t, faulty)
	require.Equal(t, []tasks.Task{
		{Name: "3", Train: numbers + "[0:2:1]", Metric: tasks.Top1}, {Name: "12", Train: numbers + "[2:3:1]", Metric: tasks.Top1},
	}, found)

	require.Equal(t, whole.At(7), load(t, path+"[5:10:2]", []string{"0", "1"}).At(1))
	_, err = tasks.Load(t.Context(), path+"[400:410:1]", 8, nil)
	require.ErrorContains(t, err, "no images in the slice [400:410:1]; the path has 309")
	for name, files := range map[string]string{"a file without the column": table(t, []int64{0, 1}, nil), "a glob": filepath.Dir(path) + "/a*.parquet"} {
		found, faulty, err := tasks.FindTraining(t.Context(), files)
		require.NoError(t, err, name)
		require.Empty(t, faulty, name)
		require.Len(t, found, 1, name)
	}
	_, _, err = tasks.FindTraining(t.Context(), "[")
	require.ErrorContains(t, err, "syntax error in pattern")
	_, _, err = tasks.FindTraining(t.Context(), t.TempDir()+"/none*")
	require.ErrorContains(t, err, "there are none")
}
