package imageio_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Images and labels of every type and in every column are read as pyarrow wrote them, or refused by name.
func TestTablesEqualPyarrow(t *testing.T) {
	text, err := os.ReadFile("testdata/tables.json")
	require.NoError(t, err)
	var cases map[string]struct {
		File []byte
		Path string
		Rows []struct {
			Data       []byte
			Label      int64
			Class      string
			Labels     []imageio.Label
			Damage     string
			LabelError string `json:"label_error"`
		}
		Error string
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 91)
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for _, beside := range []string{"beside.png", "sub/beside.png"} {
				write(t, filepath.Join(dir, beside), []byte(beside))
			}
			path := write(t, filepath.Join(dir, cmp.Or(c.Path, "x.parquet")), c.File)
			if c.Error != "" {
				_, err := imageio.Plan(t.Context(), []string{path}, 1)
				require.ErrorContains(t, err, "read "+path+": ")
				require.ErrorContains(t, err, c.Error)
				return
			}
			_, images := surveyed(t, path)
			require.Len(t, images, len(c.Rows))
			for i, want := range c.Rows {
				got := images[i]
				require.Equal(t, path, got.Source)
				require.EqualValues(t, i, got.Row)
				require.Equal(t, string(want.Data), string(got.Data))
				require.Equal(t, want.Label, got.Label, "row %d", i)
				require.Equal(t, want.Class, got.Class)
				require.False(t, got.LabelLost)
				if want.LabelError == "" {
					require.Equal(t, want.Labels, got.Labels)
				}
				require.Contains(t, got.Damage, want.Damage)
				require.Equal(t, want.Damage == "", got.Damage == "")
				require.Contains(t, got.LabelError, want.LabelError)
				require.Equal(t, want.LabelError == "", got.LabelError == "", got.LabelError)
			}
		})
	}
}

// Columns can be named, for images and for labels.
func TestColumns(t *testing.T) {
	inner := arrow.StructOf(arrow.Field{Name: "photo", Type: arrow.BinaryTypes.Binary}, arrow.Field{Name: "kind", Type: arrow.PrimitiveTypes.Int8})
	path := table(t, arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.BinaryTypes.String}, {Name: "mask", Type: arrow.BinaryTypes.Binary},
		{Name: "tags", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)}, {Name: "in", Type: inner}, {Name: "file", Type: arrow.BinaryTypes.String},
		{Name: "shot", Type: arrow.StructOf(arrow.Field{Name: "bytes", Type: arrow.BinaryTypes.Binary})},
	}, nil), 2, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.BinaryBuilder).AppendString("image")
		b.Field(1).(*array.StringBuilder).Append("ant")
		b.Field(2).(*array.BinaryBuilder).AppendString("mask")
		b.Field(3).AppendEmptyValue()
		b.Field(4).(*array.StructBuilder).Append(true)
		b.Field(4).(*array.StructBuilder).FieldBuilder(0).(*array.BinaryBuilder).AppendString("photo")
		b.Field(4).(*array.StructBuilder).FieldBuilder(1).(*array.Int8Builder).Append(int8(5 + i))
		b.Field(5).(*array.StringBuilder).Append("x.png")
		b.Field(6).(*array.StructBuilder).Append(true)
		b.Field(6).(*array.StructBuilder).FieldBuilder(0).(*array.BinaryBuilder).AppendString("shot")
	})
	write(t, filepath.Join(filepath.Dir(path), "x.png"), []byte("file"))
	for _, c := range []struct {
		columns imageio.Columns
		want    imageio.Image
		err     string
	}{
		{imageio.Columns{}, imageio.Image{Data: []byte("image"), Label: -1, Class: "ant"}, ""},
		{imageio.Columns{Image: "mask", Label: "in.kind"}, imageio.Image{Data: []byte("mask"), Label: 6}, ""},
		{imageio.Columns{Image: "in.photo", Label: imageio.NoLabels}, imageio.Image{Data: []byte("photo"), Label: -1}, ""},
		{imageio.Columns{Image: "shot.bytes"}, imageio.Image{Data: []byte("shot"), Label: -1, Class: "ant"}, ""},
		{imageio.Columns{Image: "shot"}, imageio.Image{Data: []byte("shot"), Label: -1, Class: "ant"}, ""},
		{imageio.Columns{Image: "file"}, imageio.Image{Data: []byte("file"), Label: -1, Class: "ant"}, ""},
		{imageio.Columns{Label: "tags"}, imageio.Image{Data: []byte("image"), Label: -1, Labels: []imageio.Label{}}, ""},
		{imageio.Columns{Label: "in"}, imageio.Image{Data: []byte("image"), Label: -1, LabelError: "column in holds in.photo: binary; want numbers or names of classes; give another column by --label-column, or - for none"}, ""},
		{imageio.Columns{Label: "none"}, imageio.Image{Data: []byte("image"), Label: -1, LabelError: "no column none of labels; the columns are image: binary, label: utf8, mask: binary, tags.list.element: list of int64, in.photo: binary, in.kind: int8, file: utf8, shot.bytes: binary"}, ""},
		{imageio.Columns{Image: "tags"}, imageio.Image{}, "no column tags of images; the columns are image: binary, label: utf8,"},
	} {
		splits, _, err := imageio.Survey(t.Context(), []string{path}, 9, c.columns)
		if c.err != "" {
			require.ErrorContains(t, err, "read "+path+": "+c.err)
			continue
		}
		require.NoError(t, err)
		var last imageio.Image
		require.NoError(t, imageio.ReadSplit(t.Context(), splits[0], func(im imageio.Image) error { last = im; return nil }))
		c.want.Source, c.want.Row = path, 1
		require.Equal(t, c.want, last)
	}
}

// Row groups outside a split cost no more than to find where it begins.
func TestManyGroups(t *testing.T) {
	const groups = 1000
	schema := arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}}, nil)
	path := table(t, schema, 3*groups, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.BinaryBuilder).AppendString(fmt.Sprint(i))
	})
	splits, err := imageio.Plan(t.Context(), []string{path}, 3)
	require.NoError(t, err)
	require.Len(t, splits, groups)
	opened := testing.AllocsPerRun(1, func() {
		_, err := imageio.Plan(t.Context(), []string{path}, 3*groups)
		require.NoError(t, err)
	})
	for _, split := range []imageio.Split{splits[0], splits[groups/2], splits[groups-1]} {
		var row int64
		require.Less(t, testing.AllocsPerRun(1, func() {
			row = split.Begin
			require.NoError(t, imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
				require.Equal(t, fmt.Sprint(row), string(im.Data))
				row++
				return nil
			}))
		}), opened+groups)
		require.Equal(t, split.End, row)
	}
}

// An image that a row names and that is missing is damaged, be it local or remote.
func TestParquetMissing(t *testing.T) {
	memfs.Write("memfs://table/there.png", []byte("there"))
	names := []string{"gone.png", "memfs://table/gone.png", "memfs://table/there.png"}
	path := table(t, arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.String}}, nil), len(names), func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.StringBuilder).Append(names[i])
	})
	_, images := surveyed(t, path)
	for i, name := range names[:2] {
		require.Equal(t, fmt.Sprintf("the row has no image, but the path of one, %q: no such file or directory", name), images[i].Damage)
	}
	require.Equal(t, "there", string(images[2].Data))
}

// The names of HuggingFace's classes are found, whatever the case of the column's name.
func TestClassNames(t *testing.T) {
	features := `{"info": {"features": {"Image": {"_type": "Image"}, "Label": {"_type": "ClassLabel", "names": ["ant", "bee"]}}}}`
	meta := arrow.NewMetadata([]string{"huggingface"}, []string{features})
	path := table(t, arrow.NewSchema([]arrow.Field{
		{Name: "Image", Type: arrow.BinaryTypes.Binary}, {Name: "Label", Type: arrow.PrimitiveTypes.Int64},
	}, &meta), 2, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.BinaryBuilder).AppendString("x")
		b.Field(1).(*array.Int64Builder).Append(int64(i))
	})
	for i, im := range readAll(t, 9, path) {
		require.EqualValues(t, i, im.Label)
		require.Equal(t, []string{"ant", "bee"}[i], im.Class)
	}
}

// A column of type null, which pandas writes where all labels are missing, is one without labels.
func TestNullLabels(t *testing.T) {
	splits, _, err := imageio.Survey(t.Context(), []string{"../parquet/testdata/default.parquet"}, 99, imageio.Columns{Image: "image", Label: "null"})
	require.NoError(t, err)
	require.NoError(t, imageio.ReadSplit(t.Context(), splits[0], func(im imageio.Image) error {
		require.EqualValues(t, -1, im.Label)
		require.Empty(t, im.Class)
		require.Empty(t, im.LabelError)
		return nil
	}))
}

// A table without images is passed over in a folder, and an error if it is given itself; a damaged one is damaged in both.
func TestOtherTables(t *testing.T) {
	path := table(t, arrow.NewSchema([]arrow.Field{{Name: "feature", Type: arrow.ListOf(arrow.PrimitiveTypes.Float32)}}, nil), 3, func(b *array.RecordBuilder, _ int) {
		b.Field(0).AppendEmptyValue()
	})
	dir := filepath.Dir(path)
	_, err := imageio.Plan(t.Context(), []string{dir}, 9)
	require.ErrorContains(t, err, dir+" holds no images, but passed over 1 tables without images; "+path+" has no column image: ")
	require.ErrorContains(t, err, "; its columns are feature.list.element: list of float32; give")
	_, err = imageio.Plan(t.Context(), []string{path}, 9)
	require.ErrorContains(t, err, "read "+path+": no column image")
	write(t, filepath.Join(dir, "a.png"), []byte("a"))
	source, images := surveyed(t, dir)
	require.Len(t, images, 1)
	require.Equal(t, imageio.Passed{"tables without images": 1}, source.Passed)
	write(t, filepath.Join(dir, "b.parquet"), []byte("PAR1"))
	_, images = surveyed(t, dir)
	require.Len(t, images, 2)
	require.Contains(t, images[1].Damage, "not a sound Parquet file")
}

// damagePage damages the page of a file that begins with a text, and returns the sound file.
func damagePage(t *testing.T, path, text string) (sound []byte) {
	sound, err := os.ReadFile(path)
	require.NoError(t, err)
	at := bytes.Index(sound, []byte(text))
	require.Positive(t, at)
	data := bytes.Clone(sound)
	for i := at - 20; i < at; i++ { // a header and the start of compressed data
		data[i] = 0xff
	}
	write(t, path, data)
	return sound
}

// Damaged labels cost no images.
func TestParquetDamagedLabels(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.BinaryTypes.String}}, nil)
	path := table(t, schema, 11, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.BinaryBuilder).Append(fmt.Appendf(nil, "image %03d", i))
		b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("class %03d", i))
	})
	damagePage(t, path, "class 003")
	_, images := surveyed(t, path)
	require.Len(t, images, 11)
	for i, im := range images {
		require.Equal(t, fmt.Sprintf("image %03d", i), string(im.Data))
		require.Empty(t, im.Damage)
		lost := i >= 3 && i < 6 // the second row group
		require.Equal(t, lost, im.LabelLost)
		require.Equal(t, lost, im.Class == "", im.Class)
	}
}

// A damaged row group costs the rest of its own rows, which are named, and no others.
func TestParquetDamagedGroup(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.PrimitiveTypes.Int64}}, nil)
	want := func(i int) string { return fmt.Sprintf("image %03d %x", i, bytes.Repeat([]byte{byte(i)}, 50)) }
	path := table(t, schema, 11, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.BinaryBuilder).Append([]byte(want(i)))
		b.Field(1).(*array.Int64Builder).Append(int64(i))
	})
	sound := damagePage(t, path, "image 003")
	_, images := surveyed(t, path)
	require.Len(t, images, 11)
	for i, im := range images {
		require.EqualValues(t, i, im.Row)
		require.Equal(t, path, im.Source)
		if i >= 3 && i < 6 {
			require.Contains(t, im.Damage, "row group 1: ")
			require.Nil(t, im.Data)
		} else {
			require.Equal(t, want(i), string(im.Data))
			require.EqualValues(t, i, im.Label)
			require.Empty(t, im.Damage)
		}
	}
	for cut := len(sound) - 1; cut > 0; cut -= 7 { // the list of its row groups is at the end of a file
		write(t, path, sound[:cut])
		_, err := imageio.Plan(t.Context(), []string{path}, 9)
		require.ErrorContains(t, err, "read "+path+": not a sound Parquet file")
	}
}

// A table without labels is named with the columns that could be that of labels: those of classes, if its metadata tell.
func TestColumnsOfLabels(t *testing.T) {
	features := `{"info": {"features": {"coarse": {"_type": "ClassLabel", "names": ["a", "b"]}, "fine": {"_type": "ClassLabel", "names": ["c"]}}}}`
	one := strings.Replace(features, "ClassLabel", "Value", 1)
	for _, c := range []struct{ metadata, label, could string }{
		{features, "", "the columns coarse: int64, fine: int64 could hold them; give one by --label-column"},
		{"", "", "the columns id: utf8, coarse: int64, fine: int64 could hold them; give one by --label-column"},
		{one, "", ""},
		{features, "fine", ""},
		{features, imageio.NoLabels, ""},
		{features, "none", ""},
	} {
		metadata := arrow.NewMetadata([]string{"huggingface"}, []string{c.metadata})
		path := table(t, arrow.NewSchema([]arrow.Field{
			{Name: "id", Type: arrow.BinaryTypes.String},
			{Name: "image", Type: arrow.StructOf(arrow.Field{Name: "bytes", Type: arrow.BinaryTypes.Binary}, arrow.Field{Name: "path", Type: arrow.BinaryTypes.String})},
			{Name: "thumbnail", Type: arrow.BinaryTypes.Binary},
			{Name: "coarse", Type: arrow.PrimitiveTypes.Int64}, {Name: "fine", Type: arrow.PrimitiveTypes.Int64},
		}, &metadata), 1, func(b *array.RecordBuilder, _ int) {
			for _, column := range b.Fields() {
				column.AppendEmptyValue()
			}
		})
		_, source := labelsIn(t, path, imageio.Columns{Label: c.label})
		if c.could != "" {
			c.could = path + " has no labels: " + c.could
		}
		require.Equal(t, c.could, source.Hint)
	}
}

// Columns such as category are those of labels only where no other column is by its name or by the metadata, and if they fit.
func TestClassColumns(t *testing.T) {
	breed := `{"info": {"features": {"breed": {"_type": "ClassLabel", "names": ["ant", "bee"]}}}}`
	for _, c := range []struct {
		metadata, name string
		kind           arrow.DataType
		want           string
	}{
		{"", "category", arrow.BinaryTypes.String, "x"},
		{"", "class_name", arrow.BinaryTypes.String, "x"},
		{"", "Label_Name", arrow.BinaryTypes.String, "x"},
		{"", "category_id", arrow.BinaryTypes.String, ""},
		{breed, "category", arrow.BinaryTypes.String, "bee#"},
		{"", "category", arrow.FixedWidthTypes.Date32, ""},
		{"", "category", arrow.ListOf(arrow.BinaryTypes.String), ""},
		{"", "category", arrow.StructOf(arrow.Field{Name: "name", Type: arrow.BinaryTypes.String}), ""},
	} {
		metadata := arrow.NewMetadata([]string{"huggingface"}, []string{c.metadata})
		path := table(t, arrow.NewSchema([]arrow.Field{
			{Name: c.name, Type: c.kind}, {Name: "breed", Type: arrow.PrimitiveTypes.Int64}, {Name: "image", Type: arrow.BinaryTypes.Binary},
		}, &metadata), 1, func(b *array.RecordBuilder, _ int) {
			if text, ok := b.Field(0).(*array.StringBuilder); ok {
				text.Append("x")
			} else {
				b.Field(0).AppendEmptyValue()
			}
			b.Field(1).(*array.Int64Builder).Append(1)
			b.Field(2).(*array.BinaryBuilder).Append([]byte("image"))
		})
		got, _ := labelsIn(t, path, imageio.Columns{})
		require.Equal(t, []string{c.want}, got, c)
	}
}
