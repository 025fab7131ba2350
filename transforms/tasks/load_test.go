package tasks_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

const fixtures = "../../testdata/fixtures"

var groceries = []string{"Banana", "Carrots", "Lime"}

// load loads a split as evaluate does.
func load(t *testing.T, path string, classes []string) *tasks.Images {
	t.Helper()
	im, err := tasks.Load(t.Context(), path, 4, classes)
	require.NoError(t, err)
	require.Len(t, im.Pixels, im.Len()*4*4*3)
	return im
}

// TestFixtures loads the same 18 images from every kind of source.
func TestFixtures(t *testing.T) {
	folder := load(t, fixtures+"/folder/train", nil)
	require.Equal(t, groceries, folder.Classes)
	require.Equal(t, []int64{0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2}, folder.Labels)
	require.Empty(t, folder.Bad)
	first, err := os.ReadFile(fixtures + "/folder/train/Carrots/Carrots_001.jpg")
	require.NoError(t, err)
	square, err := imageio.DecodeSquare(first, 4)
	require.NoError(t, err)
	require.Equal(t, square.Pix, folder.At(6))

	require.Equal(t, folder, load(t, fixtures+"/tiny.parquet", nil))
	require.Equal(t, folder, load(t, fixtures+"/folder/train/", nil))
	archive := load(t, fixtures+"/webdataset.tar", nil)
	require.Equal(t, []string{"0", "1", "2"}, archive.Classes, "it has numbers only")
	require.Equal(t, folder.Pixels, archive.Pixels)
	require.Equal(t, folder.Labels, archive.Labels)
	for _, path := range []string{"/idx", "/idx/train-images-idx3-ubyte.gz"} {
		idx := load(t, fixtures+path, nil)
		require.Equal(t, folder.Labels, idx.Labels)
		require.Equal(t, []string{"0", "1", "2"}, idx.Classes)
	}
	test := load(t, fixtures+"/folder/test", folder.Classes)
	require.Equal(t, folder.Labels, test.Labels)
	require.NotEqual(t, folder.Pixels, test.Pixels)
	// A split of one kind serves as the test images of another.
	require.Equal(t, folder.Labels, load(t, fixtures+"/tiny.parquet", folder.Classes).Labels)
	require.Equal(t, folder.Labels, load(t, fixtures+"/webdataset.tar", folder.Classes).Labels)
}

func TestTestdataTasks(t *testing.T) {
	found, err := find("../../testdata/tasks")
	require.NoError(t, err)
	classes := map[string]int{"blood_cells": 3, "emoji": 9, "fashion_mnist": 10, "grocery": 81, "omniglot": 75, "quickdraw": 3}
	for _, task := range found {
		require.NoError(t, tasks.Check(t.Context(), task))
		train := load(t, task.Train, nil)
		require.Len(t, train.Classes, classes[task.Name])
		test := load(t, task.Test, train.Classes)
		require.Equal(t, train.Classes, test.Classes)
		require.Empty(t, append(train.Bad, test.Bad...))
	}
	// The first and the last class of a file whose classes are not sorted by name.
	train := load(t, "../../testdata/tasks/fashion_mnist-train.parquet", nil)
	require.Equal(t, "Ankle boot", train.Classes[0])
}

// pixel is an image of one color.
func pixel(shade uint8) []byte {
	im := image.NewGray(image.Rect(0, 0, 4, 4))
	for i := range im.Pix {
		im.Pix[i] = shade
	}
	var b bytes.Buffer
	if err := png.Encode(&b, im); err != nil {
		panic(err)
	}
	return b.Bytes()
}

// folder writes images by their names.
func folder(t *testing.T, dir string, names ...string) string {
	for i, name := range names {
		require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, name), pixel(uint8(i))))
	}
	return dir
}

// table writes a Parquet file of images with labels; -1 is null. names are the class names in its metadata.
func table(t *testing.T, labels []int64, names []string) string {
	meta, err := json.Marshal(map[string]any{"info": map[string]any{"features": map[string]any{"label": map[string]any{"names": names}}}})
	require.NoError(t, err)
	metadata := arrow.NewMetadata([]string{"huggingface"}, []string{string(meta)})
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary},
		{Name: "label", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
	}, &metadata)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i, l := range labels {
		b.Field(0).(*array.BinaryBuilder).Append(pixel(uint8(i)))
		if l < 0 {
			b.Field(1).AppendNull()
		} else {
			b.Field(1).(*array.Int64Builder).Append(l)
		}
	}
	path := filepath.Join(t.TempDir(), "some.parquet")
	require.NoError(t, arrowio.SaveParquet(t.Context(), path, b.NewRecord()))
	return path
}

// TestParquetNumbers checks that a file's labels are used as class numbers, not the order of the class names that
// occur.
func TestParquetNumbers(t *testing.T) {
	names := []string{"zebra", "cow", "ant", "bee"}
	train := load(t, table(t, []int64{3, 0, 0, 3, 1}, names), nil)
	require.Equal(t, []int64{3, 0, 0, 3, 1}, train.Labels)
	require.Equal(t, []string{"zebra", "cow", "2", "bee"}, train.Classes)
	test := load(t, table(t, []int64{1, 1, 3}, names), train.Classes)
	require.Equal(t, []int64{1, 1, 3}, test.Labels, "a test split may lack classes")
	require.Equal(t, train.Classes, test.Classes)
	test = load(t, table(t, []int64{2}, names), train.Classes)
	require.Equal(t, []int64{2}, test.Labels, "a name that the training images do not tell")
	test = load(t, table(t, []int64{1}, nil), train.Classes)
	require.Equal(t, []int64{1}, test.Labels, "no names")

	swapped := table(t, []int64{0, 1}, []string{"cow", "zebra"})
	_, err := tasks.Load(t.Context(), swapped, 4, train.Classes)
	require.EqualError(t, err, swapped+`: label 0 is class "cow" here and "zebra" elsewhere; both splits must number their classes alike`)
	outside := table(t, []int64{0, 4}, nil)
	_, err = tasks.Load(t.Context(), outside, 4, train.Classes)
	require.EqualError(t, err, outside+": label 4; the training images have 0 to 3")
	ids := table(t, []int64{0, 1 << 40}, []string{"zebra"})
	_, err = tasks.Load(t.Context(), ids, 4, nil)
	require.EqualError(t, err, ids+": label 1099511627776; want class numbers from 0")

	train = load(t, table(t, []int64{7 << 40, 9, 10, 9}, nil), nil)
	require.Equal(t, []string{"9", "10", "7696581394432"}, train.Classes, "numbers far apart are names")
	require.Equal(t, []int64{2, 0, 1, 0}, train.Labels)
	require.Equal(t, []int64{1, 0}, load(t, table(t, []int64{10, 9}, nil), train.Classes).Labels)
}

// TestNumbersAndNames matches the numbers of test images with the names of the training images' classes: these are such
// numbers, or else numbered in their order.
func TestNumbersAndNames(t *testing.T) {
	train := load(t, folder(t, t.TempDir(), "0/1.png", "1/2.png", "10/3.png", "2/4.png"), nil)
	require.Equal(t, []string{"0", "1", "10", "2"}, train.Classes)
	require.Equal(t, []int64{2, 3, 0}, load(t, table(t, []int64{10, 2, 0}, nil), train.Classes).Labels)
	unknown := table(t, []int64{3}, nil)
	_, err := tasks.Load(t.Context(), unknown, 4, train.Classes)
	require.EqualError(t, err, unknown+`: class "3" is not among the 4 classes of the training images ("0", ...)`)

	var logged bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	animals := tasks.Task{Train: folder(t, t.TempDir(), "cat/1.png", "dog/2.png"), Test: table(t, []int64{1, 0, 1}, nil)}
	require.NoError(t, tasks.Check(t.Context(), animals))
	require.Contains(t, logged.String(), "these are counted from 0 (cat) in their order")
	require.Equal(t, []int64{1, 0, 1}, load(t, animals.Test, load(t, animals.Train, nil).Classes).Labels)

	years := folder(t, t.TempDir(), "2019/1.png", "2020/2.png")
	list := filepath.Join(years, "birds.csv")
	require.NoError(t, os.WriteFile(list, []byte("path,species\n2019/1.png,cat\n2020/2.png,dog\n"), 0o644))
	require.NoError(t, tasks.Check(t.Context(), tasks.Task{Train: list}))
	require.Contains(t, logged.String(), "the folders of its paths are the classes; the columns species could hold them; give one by --label-column")
}

// TestNumbersAmongNames takes numbers for names where the same file has names, too.
func TestNumbersAmongNames(t *testing.T) {
	dir := folder(t, t.TempDir(), "1.png", "2.png", "3.png", "4.png")
	list := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	train := load(t, list("train.csv", "1.png,B\n2.png,7\n3.png,10\n4.png,B\n"), nil)
	require.Equal(t, []string{"10", "7", "B"}, train.Classes)
	require.Equal(t, []int64{2, 1, 0, 2}, train.Labels)
	require.Equal(t, []int64{1, 2}, load(t, list("test.csv", "1.png,7\n2.png,B\n"), train.Classes).Labels)
	floats := load(t, list("floats.csv", "1.png,1.0\n2.png,0.0\n3.png,\n"), nil)
	require.Equal(t, []int64{1, 0}, floats.Labels)
	require.Len(t, floats.Bad, 1)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "shards"), 0o755))
	for i, text := range []string{"../1.png,B\n", "../2.png,7\n"} {
		list(fmt.Sprintf("shards/train-%d.csv", i), text)
	}
	_, err := tasks.Load(t.Context(), filepath.Join(dir, "shards/train-*.csv"), 4, nil)
	require.ErrorContains(t, err, "some images have numeric labels, others only class names", "files that say it differently")
}

// TestSplitsInOneFile refuses archives and tables that hold the test images, too.
func TestSplitsInOneFile(t *testing.T) {
	for _, in := range []string{"", "data/"} {
		path := archive(t, in+"train/cat/1.png", string(pixel(1)), in+"train/dog/2.png", string(pixel(2)), in+"valid/cat/3.png", string(pixel(3)))
		_, err := tasks.Load(t.Context(), path, 4, nil)
		require.EqualError(t, err, path+": its folders train and valid look like splits; unpack it, and give the folder that they are in")
	}
	type row struct {
		Image []byte `arrow:"image"`
		Label int64  `arrow:"label"`
		Split string `arrow:"split"`
	}
	path := filepath.Join(t.TempDir(), "all.parquet")
	save := func(splits ...string) {
		var rows []row
		for i, split := range splits {
			rows = append(rows, row{pixel(uint8(i)), int64(i % 2), split})
		}
		require.NoError(t, arrowio.SaveParquet(t.Context(), path, record.Of(rows)))
	}
	save("train", "train", "test")
	_, err := tasks.Open(t.Context(), path)
	require.EqualError(t, err, path+": its column split has rows of train and test; write each split to a file of its own")
	save("train", "train", "")
	_, err = tasks.Open(t.Context(), path)
	require.NoError(t, err)
}

// TestEmptyShard passes over shards without rows.
func TestEmptyShard(t *testing.T) {
	dir := t.TempDir()
	for name, labels := range map[string][]int64{"train-0.parquet": {0, 1, 0}, "train-1.parquet": {}, "train-2.parquet": {1}} {
		require.NoError(t, os.Rename(table(t, labels, nil), filepath.Join(dir, name)))
	}
	require.Equal(t, []int64{0, 1, 0, 1}, load(t, filepath.Join(dir, "train-*.parquet"), nil).Labels)
	empty := filepath.Join(dir, "train-1.parquet")
	_, err := tasks.Load(t.Context(), empty, 4, nil)
	require.ErrorContains(t, err, empty+" holds no images; give folders")
}

// TestFolderNames takes classes from the first folder level below the split.
func TestFolderNames(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "memfs://" + t.Name()} {
		train := folder(t, files.Join(dir, "train"), "dog/1.png", "cat/2.png", "cat/deep/er/3.png", "ant/4.png")
		im := load(t, train, nil)
		require.Equal(t, []string{"ant", "cat", "dog"}, im.Classes)
		require.Equal(t, []int64{0, 1, 1, 2}, im.Labels)
		require.Equal(t, []uint8{3, 1, 2, 0}, []uint8{im.At(0)[0], im.At(1)[0], im.At(2)[0], im.At(3)[0]})

		test := folder(t, files.Join(dir, "test"), "dog/1.png", "cat/2.png")
		require.Equal(t, []int64{1, 2}, load(t, test, im.Classes).Labels, "numbered as the training images")
		more := folder(t, files.Join(dir, "more"), "cow/1.png", "cat/2.png")
		_, err := tasks.Load(t.Context(), more, 4, im.Classes)
		require.EqualError(t, err, more+`: class "cow" is not among the 3 classes of the training images ("ant", ...)`)
	}
	t.Chdir(folder(t, t.TempDir(), "dog/1.png", "cat/2.png"))
	require.Equal(t, []string{"cat", "dog"}, load(t, ".", nil).Classes)
}

// archive writes a tar of files.
func archive(t *testing.T, members ...string) string {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := 0; i < len(members); i += 2 {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: members[i], Mode: 0o644, Size: int64(len(members[i+1]))}))
		_, err := w.Write([]byte(members[i+1]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	path := filepath.Join(t.TempDir(), "some.tar")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

// TestNestedFolders takes the same classes from a folder and from archives of it, in which it is inside another one: the first
// folders below that which all images are in. A class without an image at a depth, or a single class, makes no difference.
func TestNestedFolders(t *testing.T) {
	for _, c := range []struct {
		names   []string
		classes []string
		labels  []int64
		bad     int
	}{
		{[]string{"cat/deep/er/1.png", "cat/deep/2.png", "dog/3.png"}, []string{"cat", "dog"}, []int64{0, 0, 1}, 0},
		{[]string{"cat/a/1.png", "cat/b/2.png", "dog/a/3.png"}, []string{"cat", "dog"}, []int64{0, 0, 1}, 0},
		{[]string{"1.png", "cat/2.png", "dog/3.png"}, []string{"cat", "dog"}, []int64{0, 1}, 1},
	} {
		dir := t.TempDir()
		paths := []string{folder(t, dir+"/train", c.names...), dir + "/train.zip"}
		var zipped bytes.Buffer
		w := zip.NewWriter(&zipped)
		var members []string
		for i, name := range c.names {
			f, err := w.Create("./pets/train/" + name)
			require.NoError(t, err)
			_, err = f.Write(pixel(uint8(i)))
			require.NoError(t, err)
			members = append(members, "pets/train/"+name, string(pixel(uint8(i))))
		}
		require.NoError(t, w.Close())
		require.NoError(t, os.WriteFile(paths[1], zipped.Bytes(), 0o644))
		for _, path := range append(paths, archive(t, members...)) {
			im := load(t, path, nil)
			require.Equal(t, c.classes, im.Classes, path)
			require.Equal(t, c.labels, im.Labels, path)
			require.Len(t, im.Bad, c.bad, path)
		}
	}
	classes := []string{"cat", "dog"}
	require.Equal(t, []int64{1}, load(t, archive(t, "dog/1.png", string(pixel(1))), classes).Labels)
}

func TestArchiveNames(t *testing.T) {
	im := load(t, archive(t, "a.png", string(pixel(0)), "a.cls", "dog", "b.png", string(pixel(1)), "b.cls", "cat"), nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
	require.Equal(t, []int64{1, 0}, im.Labels)
	im = load(t, archive(t, "x/dog/a.png", string(pixel(0)), "x/cat/b.png", string(pixel(1))), nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
}

// TestZip takes classes from the members' folders and leaves out unreadable members.
func TestZip(t *testing.T) {
	dir := t.TempDir()
	pack := func(name string, members ...string) string {
		var b bytes.Buffer
		w := zip.NewWriter(&b)
		for i, m := range members {
			f, err := w.Create(m)
			require.NoError(t, err)
			_, err = f.Write(pixel(uint8(i)))
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644))
		return filepath.Join(dir, name)
	}
	train := pack("pets-train.zip", "x/dog/a.png", "x/cat/b.png", "x/cat/c.png")
	test := pack("pets-test.zip", "cat/b.png", "dog/c.png")
	found, err := find(dir)
	require.NoError(t, err)
	require.Equal(t, []tasks.Task{{Name: "pets", Train: train, Test: test, Metric: tasks.Top1}}, found)
	im := load(t, train, nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
	require.Equal(t, []int64{1, 0, 0}, im.Labels)
	require.Equal(t, []int64{0, 1}, load(t, test, im.Classes).Labels)

	data, err := os.ReadFile(train)
	require.NoError(t, err)
	data[bytes.Index(data, []byte("x/cat/b.png"))+20] ^= 1 // in the local header's data
	require.NoError(t, os.WriteFile(train, data, 0o644))
	im = load(t, train, nil)
	require.Equal(t, []int64{1, 0}, im.Labels)
	require.Len(t, im.Bad, 1)
	require.Contains(t, im.Bad[0], train+"!x/cat/b.png, row 0: ")

	loose := pack("loose.zip", "a.png")
	require.ErrorContains(t, tasks.Check(t.Context(), tasks.Task{Train: loose}), loose+"!a.png has no label, since it is not in the folder of a class")
}

// TestLists takes labels from lists, as names or as numbers, and leaves out missing images.
func TestLists(t *testing.T) {
	dir := folder(t, t.TempDir(), "a/1.png", "a/2.png", "b/3.png")
	list := func(name, text string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
		return filepath.Join(dir, name)
	}
	train := list("pets-train.csv", "file,label\na/1.png,dog\na/2.png,cat\nmissing.png,cat\nb/3.png,dog\n")
	test := list("pets-test.tsv", "a/2.png\tdog\nb/3.png\tcat\n")
	list("README.txt", "Photos of pets.\n")
	found, err := find(dir)
	require.NoError(t, err)
	require.Equal(t, []tasks.Task{{Name: "pets", Train: train, Test: test, Metric: tasks.Top1}}, found)
	im := load(t, train, nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
	require.Equal(t, []int64{1, 0, 1}, im.Labels)
	require.Equal(t, []uint8{0, 1, 2}, []uint8{im.At(0)[0], im.At(1)[0], im.At(2)[0]})
	require.Equal(t, []string{filepath.Join(dir, "missing.png") + ", row 0: no such file or directory; line 4 of " + train + " names it"}, im.Bad)
	require.Equal(t, []int64{1, 0}, load(t, test, im.Classes).Labels)

	im = load(t, list("numbers.txt", "a/1.png 2\na/2.png 0\n"), nil)
	require.Equal(t, []int64{2, 0}, im.Labels)
	require.Equal(t, []string{"0", "1", "2"}, im.Classes)
	im = load(t, list("folders.txt", "b/3.png\na/2.png\n"), nil)
	require.Equal(t, []string{"a", "b"}, im.Classes)
	require.Equal(t, []int64{1, 0}, im.Labels)

	kinds := tasks.Task{Train: list("kinds.csv", "photo,label,kind\na/1.png,0,dog\na/2.png,1,cat\n") + "[0:2:1]"}
	im = load(t, kinds.With(imageio.Columns{Image: "photo", Label: "kind"}).Train, nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
	require.Equal(t, []int64{1, 0}, im.Labels)
	_, err = tasks.Load(t.Context(), kinds.With(imageio.Columns{Image: "photo", Label: "none"}).Train, 4, nil)
	require.ErrorContains(t, err, "no column none of labels; the columns are photo, label, kind")

	some := load(t, list("some.csv", "a/1.png,dog\na/2.png,\nb/3.png,cat\n"), nil)
	require.Equal(t, []int64{1, 0}, some.Labels)
	require.Equal(t, []string{filepath.Join(dir, "a/2.png") + ", row 0 has no label"}, some.Bad)
	none := list("none.csv", "a/1.png,dog\na/2.png,\nb/3.png,\n")
	_, err = tasks.Load(t.Context(), none, 4, nil)
	require.ErrorContains(t, err, filepath.Join(dir, "a/2.png")+", row 0 has no label; a task needs a folder for each class")
}

// TestNoLabels checks that unlabeled images from any kind of source are rejected with the file and a remedy.
func TestNoLabels(t *testing.T) {
	flat := folder(t, t.TempDir(), "1.png", "2.png")
	both := folder(t, t.TempDir(), "cat/1.png", "dog/2.png", "loose.png", "loose2.png", "loose3.png")
	null := table(t, []int64{0, -1, -1}, nil)
	loose := archive(t, "a.png", string(pixel(0)))
	idx := t.TempDir()
	pixels, err := os.ReadFile(fixtures + "/idx/train-images-idx3-ubyte.gz")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(idx, "train-images-idx3-ubyte.gz"), pixels, 0o644))
	for path, file := range map[string]string{
		flat: filepath.Join(flat, "1.png"), both: filepath.Join(both, "loose.png"), null: null + ", row 1",
		loose: loose + "!a.png", idx: filepath.Join(idx, "train-images-idx3-ubyte.gz"),
		filepath.Join(flat, "1.png"): filepath.Join(flat, "1.png"), "../../testdata/pool/emoji.parquet": "emoji.parquet, row 0",
	} {
		_, err := tasks.Load(t.Context(), path, 4, nil)
		require.ErrorContains(t, err, "has no label")
		require.ErrorContains(t, err, "; a task needs a folder for each class")
		require.ErrorContains(t, err, file)
		if path != both && path != null { // in these the first image has a label
			require.ErrorContains(t, tasks.Check(t.Context(), tasks.Task{Train: path}), file)
		}
	}
	for _, path := range []string{fixtures + "/folder/train", fixtures + "/tiny.parquet", fixtures + "/webdataset.tar", fixtures + "/idx"} {
		require.NoError(t, tasks.Check(t.Context(), tasks.Task{Train: path}))
	}
	require.ErrorContains(t, tasks.Check(t.Context(), tasks.Task{Train: filepath.Join(flat, "none")}), "does not exist")
}

// TestOneClass loads images that all have one class, such as a folder of folders.
func TestOneClass(t *testing.T) {
	for _, path := range []string{
		folder(t, t.TempDir(), "photos/1.png", "photos/2.png"), table(t, []int64{2, 2}, nil), archive(t, "x/a.png", string(pixel(0)), "x/b.png", string(pixel(1))),
	} {
		_, err := tasks.Load(t.Context(), path, 4, nil)
		require.ErrorContains(t, err, path+": all images have the class ")
		require.ErrorContains(t, err, "a task needs at least two")
	}
	load(t, table(t, []int64{2, 2}, nil), []string{"a", "b", "c"}) // fine as test images
	null := load(t, table(t, []int64{0, -1, 1}, nil), nil)
	require.Equal(t, []int64{0, 1}, null.Labels)
	require.Len(t, null.Bad, 1, "a row without a label costs itself and no more")
}

func TestMixedLabels(t *testing.T) {
	dir := folder(t, t.TempDir(), "cat/1.png", "dog/2.png")
	data, err := os.ReadFile(table(t, []int64{0, 1}, nil))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "more.parquet"), data, 0o644))
	_, err = tasks.Load(t.Context(), dir, 4, nil)
	require.EqualError(t, err, dir+": some images have numeric labels, others only class names")
}

// TestBad checks that unreadable images are left out and listed.
func TestBad(t *testing.T) {
	dir := folder(t, t.TempDir(), "cat/1.png", "cat/3.png", "dog/1.png")
	bad := []string{filepath.Join(dir, "cat", "2.jpg"), filepath.Join(dir, "dog", "0.png")}
	for i, name := range []string{"corrupt.jpg", "truncated.png"} {
		data, err := os.ReadFile(filepath.Join(fixtures, "odd", name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(bad[i], data, 0o644))
	}
	im := load(t, dir, nil)
	require.Equal(t, []int64{0, 0, 1}, im.Labels)
	require.Equal(t, []uint8{0, 1, 2}, []uint8{im.At(0)[0], im.At(1)[0], im.At(2)[0]})
	require.Len(t, im.Bad, 2)
	for i, b := range im.Bad {
		require.Contains(t, b, bad[i]+", row 0: ")
	}
	for _, name := range []string{"cat/1.png", "cat/3.png", "dog/1.png"} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	}
	_, err := tasks.Load(t.Context(), dir, 4, nil)
	require.ErrorContains(t, err, fmt.Sprintf("%s: none of its 5 images can be read; first error: %s", dir, filepath.Join(dir, "cat", "1.png")))
}

// TestDamage checks that what cannot be read of a damaged collection is left out and listed, and does not count as
// unlabeled.
func TestDamage(t *testing.T) {
	whole := archive(t, "a.png", string(pixel(0)), "a.cls", "dog", "b.png", string(pixel(1)), "b.cls", "cat", "c.png", string(pixel(2)))
	data, err := os.ReadFile(whole)
	require.NoError(t, err)
	at := bytes.Index(data, []byte("c.png"))
	require.NoError(t, os.WriteFile(whole, data[:at+600], 0o644))
	require.NoError(t, tasks.Check(t.Context(), tasks.Task{Train: whole}))
	im := load(t, whole, nil)
	require.Equal(t, []int64{1, 0}, im.Labels)
	require.Len(t, im.Bad, 2) // with the end of the archive
	require.Equal(t, whole+"!c.png, row 0: its label is lost in a damaged part of the file", im.Bad[0])
	require.NoError(t, os.WriteFile(whole, data[:at+530], 0o644))
	im = load(t, whole, nil)
	require.Len(t, im.Bad, 1)
	require.Contains(t, im.Bad[0], whole+"!c.png, row 0: byte ")

	dir := folder(t, t.TempDir(), "cat/1.png", "dog/2.png")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "cat", "shard.tar"), []byte("no archive"), 0o644))
	require.NoError(t, os.Symlink("/nowhere/0.png", filepath.Join(dir, "cat", "0.png")))
	require.NoError(t, os.Symlink("/nowhere", filepath.Join(dir, "cow")))
	im = load(t, dir, nil)
	require.Equal(t, []string{"cat", "dog"}, im.Classes)
	require.Len(t, im.Bad, 3)
}

// TestUnusableLabels checks that labels of a wrong kind are named, and not taken for missing ones.
func TestUnusableLabels(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).(*array.BinaryBuilder).Append(pixel(0))
	b.Field(1).(*array.ListBuilder).Append(true)
	b.Field(1).(*array.ListBuilder).ValueBuilder().(*array.Int64Builder).AppendValues([]int64{0, 1, 0}, nil)
	lists := filepath.Join(t.TempDir(), "lists.parquet")
	require.NoError(t, arrowio.SaveParquet(t.Context(), lists, b.NewRecord()))

	idx := filepath.Join(t.TempDir(), "train-images-idx3-ubyte")
	require.NoError(t, os.WriteFile(idx, []byte("\x00\x00\x08\x03\x00\x00\x00\x02\x00\x00\x00\x01\x00\x00\x00\x01ab"), 0o644))
	labels := filepath.Join(filepath.Dir(idx), "train-labels-idx1-ubyte")
	require.NoError(t, os.WriteFile(labels, []byte("\x00\x00\x08\x01\x00\x00\x00\x03\x00\x01\x02"), 0o644))
	for path, want := range map[string]string{
		lists: lists + ", row 0: column label holds the class 0 twice; want lists of the classes of an image, each once",
		idx:   idx + ", row 0: labels " + labels + ": 3 labels for 2 images",
	} {
		require.ErrorContains(t, tasks.Check(t.Context(), tasks.Task{Train: path}), want)
		_, err := tasks.Load(t.Context(), path, 4, nil)
		require.ErrorContains(t, err, want)
	}
	require.NoError(t, os.WriteFile(labels, []byte("\x00\x00\x08\x01\x00\x00\x00\x01\x00"), 0o644))
	_, err := tasks.Load(t.Context(), idx, 4, nil)
	require.ErrorContains(t, err, idx+", row 1 has no label; a task needs")
}

func TestHalves(t *testing.T) {
	whole := load(t, fixtures+"/folder/train", nil)
	halves := tasks.Halves(tasks.Task{Train: fixtures + "/folder/train", Test: "unread"})
	even, odd := load(t, halves.Train, nil), load(t, halves.Test, whole.Classes)
	require.Equal(t, whole.Len(), even.Len()+odd.Len())
	for i := range whole.Len() {
		half := []*tasks.Images{even, odd}[i%2]
		require.Equal(t, whole.At(i), half.At(i/2))
		require.Equal(t, whole.Labels[i], half.Labels[i/2])
	}
	require.NoError(t, tasks.Check(t.Context(), tasks.Task{Train: halves.Test}))
	third := load(t, fixtures+"/folder/train[5::3]", whole.Classes)
	require.Equal(t, whole.At(8), third.At(1))
	_, err := tasks.Load(t.Context(), fixtures+"/folder/train[99::2]", 8, nil)
	require.ErrorContains(t, err, "no images in the slice [99::2]")
}

// TestCheck finds what makes a task useless without decoding it all, wherever it is.
func TestCheck(t *testing.T) {
	picture, err := os.ReadFile(fixtures + "/folder/train/Banana/Banana_001.jpg")
	require.NoError(t, err)
	made := func(files map[string][]byte) tasks.Task {
		dir := t.TempDir()
		for name, data := range files {
			path := filepath.Join(dir, name)
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, data, 0o644))
		}
		return tasks.Task{Name: "a", Train: filepath.Join(dir, "train"), Test: filepath.Join(dir, "test")}
	}
	broken := []byte("\xff\xd8 no more")
	sound := map[string][]byte{
		"train/a/1.jpg": broken, "train/b/1.jpg": picture, "train/c/1.jpg": picture,
		"test/a/1.jpg": picture, "test/b/1.jpg": broken,
	}
	task := made(sound)
	require.NoError(t, tasks.Check(t.Context(), task))
	train, err := tasks.Load(t.Context(), task.Train, 8, nil)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b", "c"}, train.Classes, "a class is known even if its images are broken")
	test, err := tasks.Load(t.Context(), task.Test, 8, train.Classes)
	require.NoError(t, err)
	require.Equal(t, []int64{0}, test.Labels)
	for file, problem := range map[string]string{
		"test/d/1.jpg": `class "d" is not among the 3 classes of the training images`,
	} {
		files := maps.Clone(sound)
		files[file] = picture
		require.ErrorContains(t, tasks.Check(t.Context(), made(files)), problem)
	}
	for _, split := range []string{"train", "test"} {
		files := maps.Clone(sound)
		files[split+"/readme.jpg"] = picture
		stray := made(files)
		require.NoError(t, tasks.Check(t.Context(), stray), "a stray image costs itself and no more")
		path := map[string]string{"train": stray.Train, "test": stray.Test}[split]
		require.Contains(t, load(t, path, train.Classes).Bad[1], filepath.Join(path, "readme.jpg")+" has no label, since it is not in the folder of a class")
		files = maps.Clone(sound)
		for name := range files {
			if strings.HasPrefix(name, split) {
				files[name] = broken
			}
		}
		require.ErrorContains(t, tasks.Check(t.Context(), made(files)), "can be read; first error: ")
	}
}

// With gives the columns to use of Parquet files, whatever their names.
func TestColumns(t *testing.T) {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "photo & [crop]", Type: arrow.BinaryTypes.Binary}, {Name: "thumb", Type: arrow.BinaryTypes.Binary},
		{Name: "label", Type: arrow.PrimitiveTypes.Int64}, {Name: "kind=a,b", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range 6 {
		b.Field(0).(*array.BinaryBuilder).Append(pixel(uint8(i)))
		b.Field(1).(*array.BinaryBuilder).Append(pixel(uint8(100 + i)))
		b.Field(2).(*array.Int64Builder).Append(int64(i % 2))
		b.Field(3).(*array.StringBuilder).Append([]string{"ant", "bee", "cow"}[i%3])
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "train-0.parquet")
	require.NoError(t, arrowio.SaveParquet(t.Context(), path, b.NewRecord()))

	of := tasks.Task{Name: "x", Train: path, Test: filepath.Join(dir, "train-*.parquet") + "[1:5:2]"}
	require.Equal(t, of, of.With(imageio.Columns{}))
	require.ErrorContains(t, tasks.Check(t.Context(), of), "several columns may be that of images")
	of = of.With(imageio.Columns{Image: "photo & [crop]", Label: "kind=a,b"})
	require.NoError(t, tasks.Check(t.Context(), of))
	train := load(t, of.Train, nil)
	require.Equal(t, []string{"ant", "bee", "cow"}, train.Classes)
	test := load(t, of.Test, train.Classes)
	require.Equal(t, []int64{1, 0}, test.Labels)
	require.Equal(t, []uint8{1, 3}, []uint8{test.At(0)[0], test.At(1)[0]})
	require.Equal(t, []int64{1, 0, 2}, load(t, tasks.Halves(of).Test, train.Classes).Labels)

	thumbs := tasks.Task{Train: path}.With(imageio.Columns{Image: "thumb"})
	require.Empty(t, thumbs.Test)
	im := load(t, thumbs.Train, nil)
	require.Equal(t, uint8(100), im.At(0)[0])
	require.Equal(t, []int64{0, 1, 0, 1, 0, 1}, im.Labels)
	_, err := tasks.Load(t.Context(), tasks.Task{Train: path}.With(imageio.Columns{Image: "thumb", Label: "-"}).Train, 4, nil)
	require.ErrorContains(t, err, path+", row 0 has no label")
	paths, err := tasks.Paths(t.Context(), of.Test)
	require.NoError(t, err)
	require.Equal(t, []string{path}, paths)
}

// TestMetadata takes labels from a metadata file of HuggingFace's imagefolder, and leaves out images without a row.
func TestMetadata(t *testing.T) {
	dir := folder(t, t.TempDir(), "train/x/1.png", "train/x/2.png", "train/y/3.png", "train/y/4.png", "test/1.png", "test/2.png")
	metadata := func(split, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, split, "metadata.csv"), []byte(text), 0o644))
	}
	metadata("train", "file_name,label,kind\nx/1.png,dog,0\nx/2.png,cat,1\ny/3.png,dog,1\n")
	metadata("test", "file_name,label,kind\n2.png,dog,1\n1.png,cat,1\n")
	found, err := find(dir)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.NoError(t, tasks.Check(t.Context(), found[0]))
	train := load(t, found[0].Train, nil)
	require.Equal(t, []string{"cat", "dog"}, train.Classes)
	require.Equal(t, []int64{1, 0, 1}, train.Labels)
	require.Len(t, train.Bad, 1)
	require.Contains(t, train.Bad[0], filepath.Join(dir, "train/y/4.png")+" has no label, since it is not in the folder of a class, nor named in a metadata file")
	require.Equal(t, []int64{0, 1}, load(t, found[0].Test, train.Classes).Labels)

	kinds := load(t, found[0].With(imageio.Columns{Label: "kind"}).Train, nil)
	require.Equal(t, []string{"0", "1"}, kinds.Classes)
	require.Equal(t, []int64{0, 1, 1}, kinds.Labels)

	metadata("test", "file_name,label\n2.PNG,dog\n1.png,cat\n")
	_, err = tasks.Load(t.Context(), found[0].Test+"[1:2:1]", 4, train.Classes)
	require.ErrorContains(t, err, "test/metadata.csv: 1 row names no image that is there (first: 2.PNG)")

	metadata("test", "file_name,kind\n2.png,0\n1.png,1\n")
	_, err = tasks.Load(t.Context(), found[0].Test, 4, train.Classes)
	require.ErrorContains(t, err, "test/metadata.csv has no labels: no column label, labels, cls, class, target, fine_label, class_name, label_name or category; the columns are file_name, kind; give that of labels by --label-column")
}
