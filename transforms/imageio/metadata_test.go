package imageio_test

import (
	"archive/zip"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// labelsIn returns the labels of the images at a path, and what was found there.
func labelsIn(t *testing.T, path string, columns imageio.Columns) (all []string, source imageio.Source) {
	t.Helper()
	splits, sources, err := imageio.Survey(t.Context(), []string{path}, 2, columns)
	require.NoError(t, err)
	for _, split := range splits {
		require.NoError(t, imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
			all = append(all, labelText(im))
			return nil
		}))
	}
	return all, sources[0]
}

// labelText is the name, the number and the error of an image's label.
func labelText(im imageio.Image) string {
	text := im.Class
	if im.Label >= 0 {
		text += strings.Repeat("#", int(im.Label))
	}
	return text + im.LabelError
}

// folder writes files of the names and texts, and images 1.png, 2.png, a/3.png and b/4.png, to a folder d.
func folder(t *testing.T, root, name, text string) string {
	dir := files.Join(root, "d")
	for _, image := range []string{"1.png", "2.png", "a/3.png", "b/4.png"} {
		require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, image), []byte(image)))
	}
	require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, name), []byte(text)))
	return dir
}

// archived returns the path of a zip archive of what is in a folder.
func archived(t *testing.T, dir string) string {
	file, err := os.Create(filepath.Join(t.TempDir(), "d.zip"))
	require.NoError(t, err)
	w := zip.NewWriter(file)
	require.NoError(t, w.AddFS(os.DirFS(dir)))
	require.NoError(t, w.Close())
	require.NoError(t, file.Close())
	return file.Name()
}

// Metadata files label the images of their folders and of those below, whatever the folders are named.
func TestMetadata(t *testing.T) {
	parquet := table(t, arrow.NewSchema([]arrow.Field{
		{Name: "label", Type: arrow.PrimitiveTypes.Float64, Nullable: true}, {Name: "file_name", Type: arrow.BinaryTypes.String},
	}, nil), 3, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.Float64Builder).Append([]float64{1, math.NaN(), 2}[i])
		b.Field(1).(*array.StringBuilder).Append([]string{"1.png", "a/3.png", "b/4.png"}[i])
	})
	rows, err := os.ReadFile(parquet)
	require.NoError(t, err)
	for i, c := range []struct {
		file, text, column string
		want               [4]string
	}{
		{"metadata.csv", "file_name,text,label\n1.png,\"a, b\",cat\nb/4.png,,dog\nmissing.png,,dog\na/3.png,,\nshort\n", "", [4]string{"cat", "", "", "dog"}},
		{"metadata.csv", "\ufefffile_name,kind,label\r\n1.png,x,cat\r\na/3.png,y,cat\r\n", "kind", [4]string{"x", "", "y", ""}},
		{"metadata.csv", "label,file_name\n3,1.png\n", "", [4]string{"###", "", "", ""}},
		{"b/metadata.csv", "file_name,label\n4.png,2\n", "", [4]string{"", "", "a", "##"}},
		{"x/metadata.csv", "file_name,label\n1.png,cat\n", "", [4]string{"", "", "a", "b"}},
		{"metadata.jsonl", `{"file_name": "1.png", "Class": "cat"}

			{damaged
			{"file_name": "./2.png", "class": 2}
			{"class": null, "file_name": "a/3.png"}
			{"file_name": "b/4.png", "class": true}`, "", [4]string{"cat", "##", "", "#"}},
		{"b/metadata.jsonl", `{"file_name": "4.png", "label": [1, 2]}`, "", [4]string{
			"", "", "a", "column label holds [1, 2]; want numbers or names of classes; give another column by --label-column, or - for none",
		}},
		{"metadata.parquet", string(rows), "", [4]string{"#", "", "", "##"}},
	} {
		for _, root := range []string{t.TempDir(), fmt.Sprintf("memfs://metadata/%d", i)} {
			dir := folder(t, root, c.file, c.text)
			got, source := labelsIn(t, dir, imageio.Columns{Label: c.column})
			require.Equal(t, c.want[:], got, c.text)
			require.Empty(t, source.Passed)
			require.Empty(t, source.Hint)
			require.Contains(t, slices.Collect(imageio.Files(t.Context(), []string{dir})), files.Join(dir, c.file))
			if files.IsLocal(dir) {
				got, source := labelsIn(t, archived(t, dir), imageio.Columns{Label: c.column})
				require.Equal(t, c.want[:], got, c.text)
				require.Empty(t, source.Passed)
			}
		}
	}
}

// Rows that are not used are counted, with the first of them, in folders and zip archives.
func TestMetadataRows(t *testing.T) {
	rows := table(t, arrow.NewSchema([]arrow.Field{
		{Name: "file_name", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "label", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)},
	}, nil), 4, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.StringBuilder).Append([]string{"1.png", "2.png", "1.png", "2.png"}[i])
		b.Field(1).(*array.ListBuilder).Append(true)
		b.Field(1).(*array.ListBuilder).ValueBuilder().(*array.Int64Builder).Append(int64(i / 3))
	})
	lists, err := os.ReadFile(rows)
	require.NoError(t, err)
	for _, c := range []struct{ file, text, want string }{
		{"metadata.csv", "file_name,label\n1.png,cat\n./2.png,dog\na\\3.png,cat\n1.png,cat\nb/4,\n", ""},
		{"metadata.csv", "file_name,label,text\n1.png,cat,a nice, sweet one\n2.png,cat,a \"plain\" one\n3.png,cat,one\na/3.png,cat,one\nb/4.png,dog\n",
			`3 rows are damaged (first: line 2: 4 columns, but the header has 3), 1 row names no image that is there (first: 3.png); paths are relative to the file, and their case matters`},
		{"metadata.csv", "file_name,label\n1.PNG,cat\n2.PNG,cat\n", "2 rows name no image that is there (first: 1.PNG); paths are relative to the file, and their case matters"},
		{"metadata.csv", "file_name,label\n1.png,cat\n2.png,cat\n1.png,dog\n2.png,\n2.png,cat\n", "3 rows contradict earlier ones of the same images, and are taken (first: 1.png)"},
		{"a/metadata.csv", "file_name,label\n3.png,cat\na/3.png,cat\n../1.png,cat\n", "2 rows name no image that is there (first: a/3.png); paths are relative to the file, and their case matters"},
		{"metadata.jsonl", "{\"file_name\": \"1.png\", \"label\": 1\n\n[]\n{\"label\": 1}\n{\"file_name\": \"2.png\", \"label\": 1}\n",
			"3 rows are damaged (first: line 1: unexpected end of JSON input)"},
		{"metadata.parquet", string(lists), "1 row contradicts an earlier one of the same image, and is taken (first: 2.png)"},
	} {
		for _, root := range []string{t.TempDir(), "memfs://rows/" + c.want} {
			dir := folder(t, root, c.file, c.text)
			paths := []string{dir}
			if files.IsLocal(dir) {
				paths = append(paths, archived(t, dir))
			}
			for _, path := range paths {
				_, source := labelsIn(t, path, imageio.Columns{})
				if c.want == "" {
					require.Empty(t, source.Rows)
					continue
				}
				separator := "!"
				if path == dir {
					separator = "/"
				}
				require.Equal(t, []string{path + separator + c.file + ": " + c.want}, source.Rows)
				require.Contains(t, source.Summary(imageio.Tally{}), "; "+source.Rows[0])
			}
		}
	}
	dir := folder(t, t.TempDir(), "metadata.csv", "file_name,label\n1.png,cat\n2.png,cat\na/3.png,cat\n")
	write(t, dir+"/metadata.jsonl", []byte("ignored"))
	write(t, dir+"/a/metadata.csv", []byte("file_name,label\n3.png,dog\n"))
	_, source := labelsIn(t, dir, imageio.Columns{})
	require.Empty(t, source.Rows)
	for i := range 7 {
		write(t, fmt.Sprintf("%s/%d/metadata.csv", dir, i), []byte("file_name,label\nnone.png,cat\n"))
	}
	_, source = labelsIn(t, dir, imageio.Columns{})
	require.Len(t, source.Rows, 7)
	require.Equal(t, 5, strings.Count(source.Summary(imageio.Tally{}), "none.png"))
	require.Contains(t, source.Summary(imageio.Tally{}), "; and rows of 2 more metadata files")
}

// Letters may be composed in names of files or not, whatever they are in a metadata file; classes have them composed.
func TestComposed(t *testing.T) {
	composed, decomposed := norm.NFC.String("Äpfel"), norm.NFD.String("Äpfel")
	for i, names := range [][2]string{{composed, decomposed}, {decomposed, composed}} {
		for _, root := range []string{t.TempDir(), fmt.Sprintf("memfs://composed/%d", i)} {
			dir := folder(t, root, "metadata.csv", "file_name,label\n"+names[0]+"/5.png,"+names[0]+"\n")
			require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, names[1], "5.png"), []byte("5")))
			classes := files.Join(root, "classes")
			require.NoError(t, files.WriteBytes(t.Context(), files.Join(classes, names[1], "5.png"), []byte("5")))
			paths := []string{dir, classes}
			if files.IsLocal(root) {
				paths = append(paths, archived(t, dir), archived(t, classes))
			}
			for _, path := range paths {
				got, source := labelsIn(t, path, imageio.Columns{})
				require.Contains(t, got, composed)
				require.Empty(t, source.Rows)
			}
		}
	}
}

// The row in the nearest metadata file counts.
func TestNearestMetadata(t *testing.T) {
	dir := folder(t, t.TempDir(), "metadata.csv", "file_name,label\n1.png,far\na/3.png,far\nb/4.png,far\n")
	write(t, dir+"/a/metadata.jsonl", []byte(`{"file_name": "3.png", "label": "near"}`))
	write(t, dir+"/b/metadata.csv", []byte("file_name,label\n5.png,near\n"))
	got, _ := labelsIn(t, dir, imageio.Columns{})
	require.Equal(t, []string{"far", "", "near", "far"}, got)
}

// A metadata file that has changed is read again.
func TestMetadataChanged(t *testing.T) {
	dir := folder(t, t.TempDir(), "metadata.csv", "file_name,label\n1.png,cat\n")
	for _, label := range []string{"cat", "lion"} {
		write(t, dir+"/metadata.csv", []byte("file_name,label\n1.png,"+label+"\n"))
		got, _ := labelsIn(t, dir, imageio.Columns{})
		require.Equal(t, []string{label, "", "", ""}, got)
	}
}

// A metadata file without labels is passed over, and named with its columns.
func TestMetadataWithoutLabels(t *testing.T) {
	for _, c := range []struct{ file, text, column, hint string }{
		{"metadata.csv", "file_name,text\n1.png,cat\n", "", "no column label, labels, cls, class, target, fine_label, class_name, label_name or category; the columns are file_name, text; give that of labels by --label-column"},
		{"metadata.csv", "file_name,label\n1.png,cat\n", "kind", "no column kind; the columns are file_name, label; give that of labels by --label-column"},
		{"metadata.csv", "file_name,label\n1.png,cat\n", imageio.NoLabels, "labels are not wanted: --label-column is -"},
		{"metadata.csv", "path,label\n1.png,cat\n", "", "no column file_name; the columns are path, label"},
		{"metadata.csv", "", "", "no header"},
		{"metadata.jsonl", "[1, 2]", "", "no column file_name; the columns are "},
		{"metadata.jsonl", `{"file_name": "1.png", "text": "cat"}`, "", "no column label, labels, cls, class, target, fine_label, class_name, label_name or category; the columns are file_name, text; give that of labels by --label-column"},
	} {
		dir := folder(t, t.TempDir(), c.file, c.text)
		got, source := labelsIn(t, dir, imageio.Columns{Label: c.column})
		require.Equal(t, []string{"", "", "a", "b"}, got)
		require.Equal(t, filepath.Join(dir, c.file)+" has no labels: "+c.hint, source.Hint)
		archive := archived(t, dir)
		got, inZip := labelsIn(t, archive, imageio.Columns{Label: c.column})
		require.Equal(t, []string{"", "", "a", "b"}, got)
		require.Equal(t, archive+"!metadata"+filepath.Ext(c.file)+" has no labels: "+c.hint, inZip.Hint)
		require.Contains(t, source.Summary(imageio.Tally{}), "; passed over 1 metadata files without labels (a metadata file labels the images "+
			"that its column file_name names, relative to it); "+source.Hint)
	}
}
