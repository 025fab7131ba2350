package imageio_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/arrow/go/v15/arrow/memory"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/parquet"
)

// fixtures are real images, made by the script next to them.
const fixtures = "../../testdata/fixtures"

// readAll plans paths and reads every split.
func readAll(t require.TestingT, maxRows int, paths ...string) (all []imageio.Image) {
	ctx := context.Background()
	splits, err := imageio.Plan(ctx, paths, maxRows)
	require.NoError(t, err)
	for i, split := range splits {
		require.EqualValues(t, i, split.Index)
		n := split.End - split.Begin
		require.True(t, n >= 1 && n <= int64(maxRows), "%+v", split)
		before := len(all)
		require.NoError(t, imageio.ReadSplit(ctx, split, func(im imageio.Image) error {
			all = append(all, im)
			return nil
		}))
		require.EqualValues(t, n, len(all)-before)
	}
	return all
}

func write(t require.TestingT, path string, data []byte) string {
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
	require.NoError(t, os.WriteFile(path, data, 0o644))
	return path
}

func packed(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(data)
	_ = w.Close()
	return b.Bytes()
}

// member is a file of an archive.
type member struct{ name, data string }

func archive(members ...member) []byte {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range members {
		_ = w.WriteHeader(&tar.Header{Name: m.name, Size: int64(len(m.data)), Mode: 0o644, Typeflag: tar.TypeReg})
		_, _ = w.Write([]byte(m.data))
	}
	_ = w.Close()
	return b.Bytes()
}

func idx(dims []uint32, data []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, 0x800|uint32(len(dims)))
	for _, d := range dims {
		out = binary.BigEndian.AppendUint32(out, d)
	}
	return append(out, data...)
}

// The same 18 images in every format.
func TestFixturesOfEveryKind(t *testing.T) {
	folder := readAll(t, 7, filepath.Join(fixtures, "folder/train"))
	require.Len(t, folder, 18)
	require.Equal(t, "Banana", folder[0].Class)
	require.Equal(t, "Lime", folder[17].Class)
	require.EqualValues(t, -1, folder[0].Label)
	require.Equal(t, filepath.Join(fixtures, "folder/train/Banana/Banana_001.jpg"), folder[0].Source)

	rows := readAll(t, 7, filepath.Join(fixtures, "tiny.parquet"))
	require.Len(t, rows, 18)
	members := readAll(t, 7, filepath.Join(fixtures, "webdataset.tar"))
	require.Len(t, members, 18)
	for i, im := range folder {
		require.Equal(t, im.Data, rows[i].Data)
		require.EqualValues(t, i, rows[i].Row)
		require.Equal(t, im.Class, rows[i].Class)
		require.EqualValues(t, i/6, rows[i].Label)
		require.Equal(t, im.Data, members[i].Data)
		require.EqualValues(t, i/6, members[i].Label)
		require.Empty(t, members[i].Class)
		require.Equal(t, fmt.Sprintf("%s!%06d.jpg", filepath.Join(fixtures, "webdataset.tar"), i), members[i].Source)
	}

	list, archive := repacked(t, filepath.Join(fixtures, "folder/train"))
	listed, zipped := readAll(t, 7, list), readAll(t, 7, archive)
	for i, im := range folder {
		require.Equal(t, im.Data, listed[i].Data)
		require.Equal(t, im.Class, listed[i].Class)
		require.Equal(t, im.Data, zipped[i].Data)
		require.Equal(t, im.Class, zipped[i].Class)
	}

	digits := readAll(t, 7, filepath.Join(fixtures, "idx"))
	require.NotEmpty(t, digits)
	for i, im := range digits {
		require.EqualValues(t, i, im.Row)
		require.GreaterOrEqual(t, im.Label, int64(0))
		rgb, err := imageio.Decode(im.Data)
		require.NoError(t, err)
		require.Equal(t, []int{32, 32}, []int{rgb.Width, rgb.Height})
	}
}

// repacked writes the images of a folder as a list and as a zip archive.
func repacked(t *testing.T, folder string) (list, archive string) {
	dir := t.TempDir()
	var members []member
	var rows strings.Builder
	for _, im := range readAll(t, 1<<20, folder) {
		members = append(members, member{"train/" + im.Class + "/" + filepath.Base(im.Source), string(im.Data)})
		absolute, err := filepath.Abs(im.Source)
		require.NoError(t, err)
		fmt.Fprintf(&rows, "%s,%s\n", absolute, im.Class)
	}
	return write(t, filepath.Join(dir, "list.csv"), []byte(rows.String())), write(t, filepath.Join(dir, "archive.zip"), zipped(members...))
}

// The images and their order are the same for any splits.
func TestSplitsDoNotChangeTheImages(t *testing.T) {
	list, archive := repacked(t, filepath.Join(fixtures, "folder"))
	paths := []string{list, fixtures, archive}
	want := readAll(t, 1<<20, paths...)
	require.Greater(t, len(want), 80)
	rapid.Check(t, func(t *rapid.T) {
		maxRows := rapid.IntRange(1, 40).Draw(t, "maxRows")
		require.Equal(t, want, readAll(t, maxRows, paths...))
		first, err := imageio.Plan(context.Background(), paths, maxRows)
		require.NoError(t, err)
		again, err := imageio.Plan(context.Background(), paths, maxRows)
		require.NoError(t, err)
		require.Equal(t, first, again)
	})
}

// Splits are read in any order, from trees whose names sort differently as
// strings than as paths, with hidden and foreign files and links among them.
func TestFolderOrder(t *testing.T) {
	dir := t.TempDir()
	want := []string{"a/1.PNG", "a/b/2.jpg", "a/c.jpg", "a-b/3.webp", "z.gif"} // folder "a" comes before "a-b"
	for _, name := range append(want, "a/.hidden.png", ".git/x.png", "a/notes.txt", "a/b/readme.md") {
		write(t, filepath.Join(dir, name), []byte(name))
	}
	outside := t.TempDir()
	write(t, filepath.Join(outside, "9.png"), []byte("link/9.png"))
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "link")))
	want = slices.Insert(want, 4, "link/9.png")
	for maxRows := 1; maxRows <= 7; maxRows++ {
		var got []string
		for _, im := range readAll(t, maxRows, dir) {
			got = append(got, string(im.Data))
		}
		require.Equal(t, want, got)
	}
	splits, err := imageio.Plan(t.Context(), []string{dir}, 2)
	require.NoError(t, err)
	require.Equal(t, []string{"a/c.jpg", "a-b/3.webp"}, []string{splits[1].From, splits[1].Last})
}

func TestSingleImage(t *testing.T) {
	path := write(t, filepath.Join(t.TempDir(), "class/a.png"), []byte("a"))
	require.Equal(t, []imageio.Image{{Source: path, Data: []byte("a"), Label: -1, Folders: "."}}, readAll(t, 3, path))
}

// An object store yields the same as a local folder.
func TestRemoteFolder(t *testing.T) {
	root := "memfs://imageio/[a]*"
	err := filepath.WalkDir(fixtures, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		rel, _ := filepath.Rel(fixtures, path)
		memfs.Write(root+"/"+filepath.ToSlash(rel), data)
		return err
	})
	require.NoError(t, err)
	want, got := readAll(t, 10, fixtures), readAll(t, 10, root)
	require.Len(t, got, len(want))
	for i := range got {
		got[i].Source = strings.Replace(got[i].Source, root, fixtures, 1)
	}
	require.Equal(t, want, got)
	require.Len(t, readAll(t, 10, root+"/tiny.parquet"), 18)
	_, err = imageio.Plan(t.Context(), []string{root + "/nothing"}, 10)
	require.ErrorContains(t, err, "does not exist")
}

func TestPlanErrors(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x/readme.txt"), nil)
	for _, c := range []struct {
		paths []string
		rows  int
		want  string
	}{
		{[]string{filepath.Join(dir, "none")}, 1, "none does not exist; give folders"},
		{[]string{filepath.Join(dir, "*", "*.jpg")}, 1, "*.jpg does not exist; patterns of names are not expanded here: give the folder " + dir + ", or each of the files; give folders"},
		{[]string{"memfs://none/x/*.jpg"}, 1, "*.jpg is empty or does not exist; patterns of names are not expanded here: give the folder memfs://none/x, or each"},
		{[]string{dir}, 1, "holds no images, but passed over 1 .md, 1 .txt (a list of images is read only if its own path is given); give folders of images (.jpg"},
		{[]string{filepath.Join(dir, "x/readme.txt")}, 1, "readme.txt: the file is empty"},
		{[]string{write(t, filepath.Join(dir, "x/readme.md"), nil)}, 1, "holds no images"},
		{[]string{t.TempDir()}, 1, "is empty"},
		{nil, 1, "no path given"},
		{[]string{fixtures}, 0, "at least 1"},
		{[]string{"s4://x/y"}, 1, "s4"},
	} {
		_, err := imageio.Plan(t.Context(), c.paths, c.rows)
		require.ErrorContains(t, err, c.want)
	}
}

func TestTarLabels(t *testing.T) {
	data := archive(
		member{"train/cat/1.png", "cat 1"},
		member{"0001.cls", "3"}, member{"0001.jpg", "label first"},
		member{"0002.left.jpg", "left"}, member{"0002.json", "{}"}, member{"0002.right.jpg", "right"}, member{"0002.cls", " dog\n"},
		member{"._junk.png", "hidden"}, member{"__MACOSX/cat/1.png", "hidden"}, member{".cache/1.png", "hidden"},
		member{"0003.jpg", "no label"},
	)
	for _, name := range []string{"a.tar", "b.TAR.GZ", "c.tgz"} {
		body := data
		if name != "a.tar" {
			body = packed(data)
		}
		path := write(t, filepath.Join(t.TempDir(), name), body)
		for _, maxRows := range []int{1, 2, 10} {
			var got []string
			for _, im := range readAll(t, maxRows, path) {
				got = append(got, fmt.Sprintf("%s|%s|%d|%s", im.Source[len(path):], im.Data, im.Label, im.Class))
			}
			require.Equal(t, []string{
				"!train/cat/1.png|cat 1|-1|cat",
				"!0001.jpg|label first|3|",
				"!0002.left.jpg|left|-1|dog",
				"!0002.right.jpg|right|-1|dog",
				"!0003.jpg|no label|-1|",
			}, got)
		}
	}
}

func TestIDXLabels(t *testing.T) {
	pixels := make([]byte, 5*2*3)
	for i := range pixels {
		pixels[i] = byte(i)
	}
	images, labels := idx([]uint32{5, 2, 3}, pixels), idx([]uint32{5}, []byte{4, 3, 2, 1, 0})
	for _, names := range [][2]string{
		{"t-images-idx3-ubyte", "t-labels-idx1-ubyte"},
		{"t-images-idx3-ubyte.gz", "t-labels-idx1-ubyte"},
		{"t-images.idx3-ubyte", "t-labels.idx1-ubyte.gz"},
		{"T-IMAGES-IDX3-UBYTE.GZ", "T-LABELS-IDX1-UBYTE"},
		{"T10K-Images-idx3-ubyte", "T10K-Labels-idx1-ubyte"},
	} {
		dir := t.TempDir()
		for i, name := range names {
			body := [][]byte{images, labels}[i]
			if strings.HasSuffix(strings.ToLower(name), ".gz") {
				body = packed(body)
			}
			write(t, filepath.Join(dir, name), body)
		}
		for i, im := range readAll(t, 2, dir) {
			require.EqualValues(t, 4-i, im.Label)
			rgb, err := imageio.Decode(im.Data)
			require.NoError(t, err)
			require.Equal(t, []int{3, 2}, []int{rgb.Width, rgb.Height})
			require.Equal(t, uint8(6*i+4), rgb.Pix[4*3])
		}
	}
	alone := write(t, filepath.Join(t.TempDir(), "x-images-idx3-ubyte"), images)
	require.EqualValues(t, -1, readAll(t, 9, alone)[0].Label)
}

// A file that is also there packed, as in torchvision's MNIST/raw, is read once.
func TestPackedCopies(t *testing.T) {
	images, dir := idx([]uint32{1, 2, 2}, []byte("abcd")), t.TempDir()
	for name, data := range map[string][]byte{
		"raw/x-images-idx3-ubyte": images, "raw/x-images-idx3-ubyte.gz": packed(images), "y-images-idx3-ubyte.gz": packed(images),
	} {
		write(t, filepath.Join(dir, filepath.FromSlash(name)), data)
	}
	splits, sources, err := imageio.Survey(t.Context(), []string{dir}, 10, imageio.Columns{})
	require.NoError(t, err)
	require.Len(t, splits, 2)
	require.Equal(t, imageio.Passed{"packed copies of files that are read": 1}, sources[0].Passed)
}

// table writes a Parquet file with 3 rows per row group.
func table(t testing.TB, schema *arrow.Schema, rows int, fill func(*array.RecordBuilder, int)) string {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for i := range rows {
		fill(b, i)
	}
	rec := b.NewRecord()
	path := filepath.Join(t.TempDir(), "table.parquet")
	var groups []arrow.Record
	for from := int64(0); from < int64(rows); from += 3 {
		groups = append(groups, rec.NewSlice(from, min(from+3, int64(rows))))
	}
	var data bytes.Buffer
	require.NoError(t, parquet.Write(&data, groups...))
	return write(t, path, data.Bytes())
}

func TestParquetColumns(t *testing.T) {
	fields := func(image arrow.DataType, label arrow.DataType) *arrow.Schema {
		return arrow.NewSchema([]arrow.Field{
			{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "image", Type: image, Nullable: true}, {Name: "label", Type: label, Nullable: true},
		}, nil)
	}
	want := func(i int) string { return fmt.Sprintf("image %d", i) }

	plain := table(t, fields(arrow.BinaryTypes.Binary, arrow.BinaryTypes.String), 11, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.Int64Builder).Append(0)
		b.Field(1).(*array.BinaryBuilder).Append([]byte(want(i)))
		b.Field(2).(*array.StringBuilder).Append(fmt.Sprint("class", i%2))
	})
	nested := table(t, fields(arrow.StructOf(arrow.Field{Name: "path", Type: arrow.BinaryTypes.String, Nullable: true}, arrow.Field{Name: "bytes", Type: arrow.BinaryTypes.Binary, Nullable: true}), arrow.PrimitiveTypes.Int32), 11, func(b *array.RecordBuilder, i int) {
		b.Field(0).(*array.Int64Builder).Append(0)
		image := b.Field(1).(*array.StructBuilder)
		image.Append(true)
		image.FieldBuilder(0).(*array.StringBuilder).Append("name.png")
		if i == 5 {
			image.FieldBuilder(1).AppendNull()
			b.Field(2).AppendNull()
			return
		}
		image.FieldBuilder(1).(*array.BinaryBuilder).Append([]byte(want(i)))
		b.Field(2).(*array.Int32Builder).Append(int32(i))
	})
	for maxRows := 1; maxRows <= 12; maxRows++ {
		for i, im := range readAll(t, maxRows, plain) {
			require.Equal(t, imageio.Image{Source: plain, Row: int64(i), Data: []byte(want(i)), Label: -1, Class: fmt.Sprint("class", i%2)}, im)
		}
		for i, im := range readAll(t, maxRows, nested) {
			if i == 5 {
				require.Empty(t, im.Data)
				require.EqualValues(t, -1, im.Label)
				continue
			}
			require.Equal(t, want(i), string(im.Data))
			require.EqualValues(t, i, im.Label)
		}
	}
	other := table(t, arrow.NewSchema([]arrow.Field{{Name: "text", Type: arrow.BinaryTypes.String}}, nil), 1, func(b *array.RecordBuilder, _ int) {
		b.Field(0).(*array.StringBuilder).Append("x")
	})
	_, err := imageio.Plan(t.Context(), []string{other}, 1)
	require.ErrorContains(t, err, "no column image")
	require.ErrorContains(t, err, other)
}

// What is left of a collection is read, whatever byte is truncated, and the rest is damaged; the splits of a collection
// that was sound when it was planned have all images that were planned.
func TestDamagedCollections(t *testing.T) {
	for name, sound := range map[string][]byte{
		"x.tar":                  archive(member{"a.png", strings.Repeat("a", 600)}, member{"b.png", "b"}),
		"x.tgz":                  packed(archive(member{"a.png", "a"}, member{"b.png", "b"})),
		"x-images-idx3-ubyte":    idx([]uint32{4, 3, 3}, make([]byte, 36)),
		"x-images-idx3-ubyte.gz": packed(idx([]uint32{4, 3, 3}, make([]byte, 36))),
		"x.zip":                  zipped(member{"a.png", strings.Repeat("a", 600)}, member{"b.png", "b"}, member{"c.png", "c"}),
		"tiny.parquet":           must(os.ReadFile(filepath.Join(fixtures, "tiny.parquet"))),
	} {
		t.Run(name, func(t *testing.T) {
			path := write(t, filepath.Join(t.TempDir(), name), sound)
			full := readAll(t, 100, path)
			planned, err := imageio.Plan(t.Context(), []string{path}, 100)
			require.NoError(t, err)
			for share := range 20 {
				cut := len(sound) * share / 20
				write(t, path, sound[:cut])
				splits, err := imageio.Plan(t.Context(), []string{path}, 100)
				if err != nil {
					require.ErrorContains(t, err, path)
				}
				for _, split := range append(splits, planned...) {
					n, damaged := 0, 0
					err := imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
						require.Contains(t, im.Source, path)
						if im.Damage != "" {
							require.Nil(t, im.Data)
							damaged++
						} else if n++; damaged == 0 {
							require.Equal(t, full[n-1].Data, im.Data)
						}
						return nil
					})
					if err != nil {
						require.ErrorContains(t, err, path)
						require.ErrorContains(t, err, "it changed since")
					} else {
						require.EqualValues(t, split.End, n+damaged, "cut at %d of %d", cut, len(sound))
					}
					if share < 6 && err == nil { // the ends of some hold nothing that is missed
						require.Positive(t, damaged, "cut at %d of %d", cut, len(sound))
					}
				}
			}
		})
	}
	wrong := write(t, filepath.Join(t.TempDir(), "x-images-idx3-ubyte"), idx([]uint32{3}, []byte("abc")))
	_, err := imageio.Plan(t.Context(), []string{wrong}, 1)
	require.ErrorContains(t, err, "begins with 00000801, want 00000803")
}

// Labels that cannot belong to the images are an error, once they matter; those that there are not are not missed before,
// and those that damage takes are lost.
func TestIDXOfOtherLabels(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "x-images-idx3-ubyte"), idx([]uint32{3, 1, 1}, []byte("abc")))
	labels := filepath.Join(dir, "x-labels-idx1-ubyte")
	const lost = "lost"
	for _, c := range []struct {
		file   []byte
		labels []int64
		err    string
	}{
		{nil, []int64{-1, -1, -1}, lost},
		{packed(idx([]uint32{3}, []byte{4, 5, 6}))[:9], []int64{-1, -1, -1}, lost},
		{idx([]uint32{3}, []byte{4, 5, 6}), []int64{4, 5, 6}, ""},
		{packed(idx([]uint32{3}, []byte{4, 5, 6})), []int64{4, 5, 6}, ""},
		{idx([]uint32{2}, []byte{4, 5}), []int64{4, 5, -1}, ""},
		{idx([]uint32{4}, []byte{4, 5, 6, 7}), []int64{-1, -1, -1}, "4 labels for 3 images: they belong to other images"},
		{idx([]uint32{3}, []byte{4}), []int64{4, -1, -1}, lost},
		{[]byte("no labels"), []int64{-1, -1, -1}, "not an IDX file"},
	} {
		write(t, labels, c.file)
		for maxRows := 1; maxRows <= 3; maxRows++ {
			for i, im := range readAll(t, maxRows, dir) {
				require.Equal(t, c.labels[i], im.Label)
				require.Empty(t, im.Damage)
				require.Equal(t, c.err == lost && im.Label < 0, im.LabelLost)
				if c.err != "" && c.err != lost && im.Label < 0 {
					require.Contains(t, im.LabelError, "labels "+labels+": ")
					require.Contains(t, im.LabelError, c.err)
				} else {
					require.Empty(t, im.LabelError)
				}
			}
		}
	}
}

// A changed byte of a Parquet file, also in a compressed page, damages images, or changes what is read.
func TestDamagedParquet(t *testing.T) {
	sound, err := os.ReadFile(filepath.Join(fixtures, "tiny.parquet"))
	require.NoError(t, err)
	path := write(t, filepath.Join(t.TempDir(), "tiny.parquet"), sound)
	planned, err := imageio.Plan(t.Context(), []string{path}, 100)
	require.NoError(t, err)
	damaged := 0
	for at := 0; at < len(sound); at += 97 {
		data := bytes.Clone(sound)
		data[at] ^= 0xff
		write(t, path, data)
		n := 0
		err := imageio.ReadSplit(t.Context(), planned[0], func(im imageio.Image) error {
			n++
			if im.Damage != "" {
				damaged++
			}
			return nil
		})
		if err != nil {
			require.ErrorContains(t, err, path)
		} else {
			require.Equal(t, 18, n)
		}
	}
	require.Positive(t, damaged)
}

func must(data []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return data
}

func TestReadStops(t *testing.T) {
	list, archive := repacked(t, filepath.Join(fixtures, "folder"))
	for _, path := range []string{fixtures + "/folder", fixtures + "/tiny.parquet", fixtures + "/webdataset.tar", fixtures + "/idx", list, archive} {
		splits, err := imageio.Plan(t.Context(), []string{path}, 100)
		require.NoError(t, err)
		n := 0
		err = imageio.ReadSplit(t.Context(), splits[0], func(imageio.Image) error { n++; return os.ErrDeadlineExceeded })
		require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		require.Equal(t, 1, n)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, imageio.ReadSplit(ctx, splits[0], func(imageio.Image) error { return nil }), context.Canceled)
	}
}
