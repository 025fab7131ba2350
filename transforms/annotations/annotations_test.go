package annotations

import (
	"archive/tar"
	"context"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the transform must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

const dog = `<annotation><filename>a.jpg</filename><size><width>50</width><height>40</height><depth>3</depth></size>
<object><name>dog</name><difficult>0</difficult><bndbox><xmin>1</xmin><ymin>11</ymin><xmax>50</xmax><ymax>40</ymax></bndbox>
<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part></object>
<object><name>cat</name><difficult>1</difficult><bndbox><xmin>0</xmin><ymin>2.5</ymin><xmax>10</xmax><ymax>9</ymax></bndbox></object>
</annotation>`

const nothing = `<annotation><size><width>5</width><height>4</height></size></annotation>`

var voc = map[string]string{
	"VOCdevkit/VOC2007/Annotations/a.xml": dog, "VOCdevkit/VOC2007/Annotations/b.xml": nothing,
	"VOCdevkit/VOC2007/JPEGImages/a.jpg": "image a", "VOCdevkit/VOC2007/JPEGImages/b.png": "image b",
	"VOCdevkit/VOC2007/ImageSets/Main/trainval.txt": "b\na\n", "VOCdevkit/VOC2007/ImageSets/Main/test.txt": "b\n",
	"VOCdevkit/VOC2007/ImageSets/Main/dog_test.txt": "b -1\n",
}

const instances = `{"images": [{"id": 9, "file_name": "x.jpg", "width": 50, "height": 40}, {"id": 3, "file_name": "y.jpg"}],
"categories": [{"id": 18, "name": "dog"}, {"id": 17, "name": "cat"}],
"annotations": [{"image_id": 3, "category_id": 18, "bbox": [1, 2, 3.5, 4], "area": 7, "iscrowd": 0},
{"image_id": 3, "category_id": 17, "bbox": [0, 0, 2, 2], "iscrowd": 1}]}`

var coco = map[string]string{
	"annotations/instances_val2017.json": instances, "annotations/captions_val2017.json": "{}",
	"val2017/x.jpg": "image x", "val2017/y.jpg": "image y",
}

// write writes files as a folder and as an archive, and returns the paths of both.
func write(t *testing.T, content map[string]string) []string {
	dir := t.TempDir()
	folder, archive := filepath.Join(dir, "folder"), filepath.Join(dir, "archive.tar")
	file, err := os.Create(archive)
	require.NoError(t, err)
	w := tar.NewWriter(file)
	for name, text := range content {
		path := filepath.Join(folder, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
		require.NoError(t, w.WriteHeader(&tar.Header{Name: "./" + name, Mode: 0o644, Size: int64(len(text))}))
		_, err := w.Write([]byte(text))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	require.NoError(t, file.Close())
	return []string{folder, archive}
}

func TestVOC(t *testing.T) {
	for _, path := range write(t, voc) {
		s, err := Open(t.Context(), Config{Path: path, Splits: []string{"train*"}})
		require.NoError(t, err)
		require.Equal(t, "trainval", s.Split)
		require.Equal(t, []string{"cat", "dog"}, s.Classes)
		require.Len(t, s.Images, 2)
		require.Empty(t, s.Images[0].Objects)
		a := s.Images[1]
		require.Equal(t, [2]int{50, 40}, [2]int{a.Width, a.Height})
		require.True(t, strings.HasPrefix(a.Source, path) && strings.HasSuffix(a.Source, "JPEGImages/a.jpg"), a.Source)
		require.Equal(t, []Object{
			{Class: 1, Box: metrics.Box{0, 10, 50, 30}, Area: 1500},
			{Class: 0, Box: metrics.Box{0, 1.5, 10, 7.5}, Area: 75, Difficult: true},
		}, a.Objects)
		data, err := s.Read(t.Context(), 0)
		require.NoError(t, err)
		require.Equal(t, "image b", string(data))
		require.NoError(t, s.Close())
	}
}

func TestCOCO(t *testing.T) {
	paths := write(t, coco)
	beside := map[string]string{"val2017/_annotations.coco.json": instances, "val2017/x.jpg": "image x", "val2017/y.jpg": "image y"}
	configs := []Config{
		{Path: paths[0], Splits: []string{"test", "val*"}},
		{Path: paths[1], Splits: []string{"val2017"}},
		{Path: filepath.Join(paths[0], "annotations/instances_val2017.json")},
		{Path: filepath.Join(paths[0], "annotations/instances_val2017.json"), Images: filepath.Join(paths[0], "val2017")},
	}
	for _, path := range write(t, beside) {
		configs = append(configs, Config{Path: path, Splits: []string{"val2017"}})
	}
	for _, cfg := range configs {
		s, err := Open(t.Context(), cfg)
		require.NoError(t, err)
		require.Equal(t, "val2017", s.Split)
		require.Equal(t, []string{"cat", "dog"}, s.Classes, "by number")
		require.Len(t, s.Images, 2)
		require.Empty(t, s.Images[0].Objects)
		require.Equal(t, []Object{
			{Class: 1, Box: metrics.Box{1, 2, 3.5, 4}, Area: 7},
			{Class: 0, Box: metrics.Box{0, 0, 2, 2}, Area: 4, Crowd: true},
		}, s.Images[1].Objects)
		data, err := s.Read(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, "image y", string(data))
		require.NoError(t, s.Close())
	}
}

const voc07 = "VOCdevkit/VOC2007/"

// with returns files with the text of one changed, or without it if the text is empty.
func with(content map[string]string, name, text string) map[string]string {
	changed := maps.Clone(content)
	if changed[name] = text; text == "" {
		delete(changed, name)
	}
	return changed
}

// A broken annotation costs its image and nothing else, and the image says why.
func TestBroken(t *testing.T) {
	const val = "annotations/instances_val2017.json"
	for _, c := range []struct {
		content             map[string]string
		split, source, want string
	}{
		{with(voc, voc07+"Annotations/a.xml", ""), "trainval", "a.xml", "there is no such annotation, though the split trainval lists it"},
		{with(voc, voc07+"Annotations/a.xml", "<annotation><object><name>x</name></object></annotation>"), "trainval", "a.xml", "object 0 has no name or no bndbox"},
		{with(voc, voc07+"Annotations/a.xml", "{}"), "trainval", "a.xml", "no annotation of Pascal VOC"},
		{with(voc, voc07+"Annotations/a.xml", dog[:300]), "trainval", "a.xml", "no annotation of Pascal VOC"},
		{with(voc, voc07+"Annotations/a.xml", strings.ReplaceAll(dog, "<xmax>50", "<xmax>0")), "trainval", "a.xml", "a box without pixels"},
		{with(voc, voc07+"JPEGImages/a.jpg", ""), "trainval", "a.xml", "it has no image in JPEGImages"},
		{with(coco, val, strings.Replace(instances, `"image_id": 3`, `"image_id": 4`, 1)), "val2017", "instances_val2017.json", "annotation 0 is of image 4"},
		{with(coco, val, strings.ReplaceAll(instances, `"category_id": 17`, `"category_id": 4`)), "val2017", "y.jpg", "annotation 1 is of category 4"},
		{with(coco, val, strings.ReplaceAll(instances, `[1, 2, 3.5, 4]`, `[1, 2, 3.5]`)), "val2017", "y.jpg", "annotation 0 has the bbox [1 2 3.5]"},
		{with(coco, val, strings.ReplaceAll(instances, `[0, 0, 2, 2]`, `[0, 0, 2, -2]`)), "val2017", "y.jpg", "annotation 1 has the bbox [0 0 2 -2]"},
	} {
		for _, path := range write(t, c.content) {
			s, err := Open(t.Context(), Config{Path: path, Splits: []string{c.split}})
			require.NoError(t, err)
			broken := 0
			for i, im := range s.Images {
				if im.Reason == "" {
					_, err := s.Read(t.Context(), i)
					require.NoError(t, err)
					continue
				}
				broken++
				require.Contains(t, im.Reason, c.want)
				require.Equal(t, c.source, filepath.Base(im.Source))
				require.Empty(t, im.Objects)
				for _, r := range s.rows() {
					require.NotEqual(t, int64(i), r.Image)
				}
			}
			require.Equal(t, 1, broken, c.want)
			require.NoError(t, s.Close())
		}
	}
}

// Images are found though the first of them is missing.
func TestFirstMissing(t *testing.T) {
	for _, path := range write(t, with(coco, "val2017/x.jpg", "")) {
		s, err := Open(t.Context(), Config{Path: path, Splits: []string{"val2017"}})
		require.NoError(t, err)
		_, err = s.Read(t.Context(), 0)
		require.ErrorIs(t, err, fs.ErrNotExist)
		_, err = s.Read(t.Context(), 1)
		require.NoError(t, err)
		require.NoError(t, s.Close())
	}
}

// Errors name what is wrong.
func TestErrors(t *testing.T) {
	for _, c := range []struct {
		content map[string]string
		split   string
		want    string
	}{
		{voc, "val", "there is no split val; there is test, trainval"},
		{map[string]string{"a.jpg": "x"}, "val", "no annotated images"},
		{with(voc, voc07+"ImageSets/Main/test.txt", "\n"), "test", "test.txt lists no images"},
		{with(coco, "annotations/instances_val2017.json", "[]"), "val2017", "no annotations of COCO"},
		{with(coco, "annotations/instances_val2017.json", "{}"), "val2017", "there are no categories"},
		{with(coco, "annotations/instances_val2017.json", `{"categories": [{"id": 1, "name": "a"}], "annotations": [{"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}]}`), "val2017", "lists no images"},
		{with(with(coco, "val2017/x.jpg", ""), "val2017/y.jpg", ""), "val2017", "its first image is none of"},
	} {
		for _, path := range write(t, c.content) {
			_, err := Open(t.Context(), Config{Path: path, Splits: []string{c.split}})
			require.ErrorContains(t, err, c.want)
			require.ErrorContains(t, err, path)
		}
	}
	_, err := Open(t.Context(), Config{Path: "missing.tar"})
	require.ErrorIs(t, err, fs.ErrNotExist)
	whole, err := os.ReadFile(write(t, voc)[1])
	require.NoError(t, err)
	for path, data := range map[string]string{"half.tar": string(whole[:600]), "zip.tar.gz": "\x1f\x8b\x08"} {
		path = filepath.Join(t.TempDir(), path)
		require.NoError(t, os.WriteFile(path, []byte(data), 0o644))
		_, err := Open(t.Context(), Config{Path: path})
		require.ErrorContains(t, err, path)
	}
}

// An image that is listed but missing is an error when it is read.
func TestMissingImage(t *testing.T) {
	for _, path := range write(t, coco) {
		s, err := Open(t.Context(), Config{Path: path, Splits: []string{"val2017"}})
		require.NoError(t, err)
		s.Images[1].Name = "val2017/z.jpg"
		_, err = s.Read(t.Context(), 1)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, "y.jpg")
		require.NoError(t, s.Close())
	}
}

// The rows of a set are the same on both runners, an image without objects among them.
func TestRead(t *testing.T) {
	path := write(t, voc)[1]
	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		read := beamtest.Keep(s, Read(s, Config{Path: path, Splits: []string{"trainval"}}))
		_, err := beam.Run(context.Background(), runner, p)
		require.NoError(t, err)
		batches := read()
		require.Len(t, batches, 1)
		rows, err := record.Rows[Row](batches[0])
		require.NoError(t, err)
		a, b := path+"!VOCdevkit/VOC2007/JPEGImages/a.jpg", path+"!VOCdevkit/VOC2007/JPEGImages/b.png"
		require.Equal(t, []Row{
			{Image: 0, Source: b, Class: -1},
			{Image: 1, Source: a, Class: 1, Name: "dog", Left: 0, Top: 10, Width: 50, Height: 30, Area: 1500},
			{Image: 1, Source: a, Class: 0, Name: "cat", Left: 0, Top: 1.5, Width: 10, Height: 7.5, Area: 75, Difficult: true},
		}, rows)
	}
}

// Whatever the files are, parsing ends with objects of valid classes or an error.
func FuzzParse(f *testing.F) {
	f.Add([]byte(dog))
	f.Add([]byte(nothing))
	f.Add([]byte(instances))
	f.Fuzz(func(t *testing.T, data []byte) {
		if im, classes, err := parseVOC(data); err == nil {
			require.Len(t, classes, len(im.Objects))
			for _, o := range im.Objects {
				require.Positive(t, o.Area)
			}
		}
		if s, err := parseCOCO(data); err == nil {
			for _, im := range s.Images {
				for _, o := range im.Objects {
					require.Less(t, o.Class, len(s.Classes))
				}
			}
		}
		if a, err := newArchive("x", data); err == nil {
			for name := range a.members {
				require.NotEmpty(t, a.dir(strings.TrimPrefix(path.Dir(name), ".")))
			}
		}
	})
}
