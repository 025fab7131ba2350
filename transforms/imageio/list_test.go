package imageio_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"
	"golang.org/x/text/unicode/norm"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Lists of every variant are read like Python's csv, for any splits.
func TestListEqualsPython(t *testing.T) {
	text, err := os.ReadFile("testdata/lists.json")
	require.NoError(t, err)
	var cases []struct {
		Name   string
		Text   []byte
		Images []struct {
			Path  string
			Label *string
		}
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 33)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			dir := t.TempDir()
			list := write(t, filepath.Join(dir, c.Name), c.Text)
			var want []imageio.Image
			for _, image := range c.Images {
				source := write(t, filepath.Join(dir, image.Path), []byte(image.Path))
				im := imageio.Image{Source: source, Data: []byte(image.Path), Label: -1}
				if folder := path.Dir(image.Path); image.Label == nil && folder != "." {
					im.Class = path.Base(folder)
				} else if image.Label != nil {
					if number, err := strconv.Atoi(*image.Label); err != nil {
						im.Class = *image.Label
					} else {
						im.Label = int64(number)
					}
				}
				want = append(want, im)
			}
			if len(want) == 0 {
				_, err := imageio.Plan(t.Context(), []string{list}, 1)
				require.ErrorContains(t, err, list+" holds no images")
			}
			for maxRows := 1; maxRows <= len(want); maxRows++ {
				require.Equal(t, want, readAll(t, maxRows, list))
			}
		})
	}
}

// Paths are relative to the list's folder, absolute, or of another filesystem.
func TestListPaths(t *testing.T) {
	dir := t.TempDir()
	here, above := write(t, filepath.Join(dir, "lists/a/1.png"), []byte("1")), write(t, filepath.Join(dir, "2.png"), []byte("2"))
	memfs.Write("memfs://list/x/3.png", []byte("3"))
	memfs.Write("memfs://list/4.png", []byte("4"))
	t.Chdir(dir)
	local := write(t, "lists/my.txt", []byte("a/1.png\n../2.png\n./a/../a/1.png\n"+above+"\nmemfs://list/x/3.png\n"))
	remote := "memfs://list/x/my.CSV"
	memfs.Write(remote, []byte("3.png\n../4.png\n./../x/3.png\n"+here+"\nmemfs://list/4.png\n"))
	sources := func(list string) (all []string) {
		for _, im := range readAll(t, 2, list) {
			require.Empty(t, im.Damage)
			all = append(all, im.Source+" "+string(im.Data))
		}
		return all
	}
	require.Equal(t, []string{"lists/a/1.png 1", "2.png 2", "lists/a/1.png 1", above + " 2", "memfs://list/x/3.png 3"}, sources(local))
	require.Equal(t, []string{"memfs://list/x/3.png 3", "memfs://list/4.png 4", "memfs://list/x/3.png 3", here + " 1", "memfs://list/4.png 4"}, sources(remote))
}

// An image that is missing, on any filesystem, or cannot be read is damaged.
func TestListOfMissingImages(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), []byte("a"))
	list := write(t, filepath.Join(dir, "list.csv"), []byte("path,label\na.png,cat\n\nb.png,dog\nmemfs://nowhere/c.png,3\n"))
	got := readAll(t, 1, list)
	require.Len(t, got, 3)
	require.Empty(t, got[0].Damage)
	require.Equal(t, imageio.Image{
		Source: filepath.Join(dir, "b.png"), Damage: "no such file or directory; line 4 of " + list + " names it", Label: -1, Class: "dog",
	}, got[1])
	require.Equal(t, imageio.Image{
		Source: "memfs://nowhere/c.png", Damage: "no such file or directory; line 5 of " + list + " names it", Label: 3,
	}, got[2])
	damaged, err := squares(t.Context(), t, list, 4)
	require.NoError(t, err)
	require.Equal(t, got[1].Damage, damaged[1].damage)
	require.Empty(t, damaged[1].square.Pix)

	require.NoError(t, os.Mkdir(filepath.Join(dir, "b.png"), 0o755))
	require.Equal(t, "is a directory; line 4 of "+list+" names it", readAll(t, 1, list)[1].Damage)

	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o644))
	require.NoError(t, os.Truncate(write(t, filepath.Join(dir, "large"), nil), 1<<29+1))
	for name, reason := range map[string]string{"pipe": "not a regular file", "/dev/zero": "not a regular file", "large": "larger than 536870912 bytes"} {
		list := write(t, filepath.Join(dir, "odd.txt"), []byte(name+"\n"))
		require.Equal(t, reason+"; line 1 of "+list+" names it", readAll(t, 1, list)[0].Damage)
	}
}

// The columns of a list with a header are given ones, or usual ones; what could be that of labels is named.
func TestListColumns(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a/1.png"), []byte("1"))
	write(t, filepath.Join(dir, "b/2.png"), []byte("2"))
	both := "path,label,,species,photo\na/1.png,1,x,cat,b/2.png\nb/2.png,2,y,,a/1.png\n"
	headless := "a/1.png,cat\nb/2.png,dog\n"
	for _, c := range []struct {
		text   string
		by     imageio.Columns
		images string
		want   []string
		hint   string
	}{
		{both, imageio.Columns{}, "12", []string{"#", "##"}, ""},
		{both, imageio.Columns{Label: "Species"}, "12", []string{"cat", ""}, ""},
		{both, imageio.Columns{Label: imageio.NoLabels}, "12", []string{"", ""}, ""},
		{both, imageio.Columns{Image: "photo", Label: "species"}, "21", []string{"cat", ""}, ""},
		{both, imageio.Columns{Label: "kind"}, "12", slices.Repeat([]string{"no column kind of labels; the columns are path, label, , species, photo"}, 2), ""},
		{"photo;species\na/1.png;cat\nb/2.png;dog\n", imageio.Columns{Image: "photo"}, "12", []string{"a", "b"}, "the columns species could hold them; give one by --label-column"},
		{",path,species,x\n0,a/1.png,cat,1\n1,b/2.png,dog,2\n", imageio.Columns{}, "12", []string{"a", "b"}, "the columns species, x could hold them; give one by --label-column"},
		{"path\na/1.png\nb/2.png\n", imageio.Columns{}, "12", []string{"a", "b"}, ""},
		{headless, imageio.Columns{}, "12", []string{"cat", "dog"}, ""},
		{headless, imageio.Columns{Label: imageio.NoLabels}, "12", []string{"", ""}, ""},
		{headless, imageio.Columns{Label: "cat"}, "12", slices.Repeat([]string{"no column cat of labels; the list has no header"}, 2), ""},
	} {
		list := write(t, filepath.Join(dir, "list.csv"), []byte(c.text))
		got, source := labelsIn(t, list, c.by)
		require.Equal(t, c.want, got, c.text)
		if c.hint != "" {
			c.hint = list + " has no labels: the folders of its paths are the classes; " + c.hint
		}
		require.Equal(t, c.hint, source.Hint)
		splits, _, err := imageio.Survey(t.Context(), []string{list}, 9, c.by)
		require.NoError(t, err)
		images := ""
		require.NoError(t, imageio.ReadSplit(t.Context(), splits[0], func(im imageio.Image) error {
			images += string(im.Data)
			return nil
		}))
		require.Equal(t, c.images, images)
	}
	for text, want := range map[string]string{
		both: "no column none of paths; the columns are path, label, , species, photo", headless: "no column none of paths; the list has no header",
	} {
		list := write(t, filepath.Join(dir, "list.csv"), []byte(text))
		_, _, err := imageio.Survey(t.Context(), []string{list}, 9, imageio.Columns{Image: "none"})
		require.ErrorContains(t, err, "read "+list+": line 1: "+want)
	}
}

// A path need not be quite the name of a file: with backslashes, without an extension, or with letters composed otherwise.
func TestListSpellings(t *testing.T) {
	composed, decomposed := norm.NFC.String("Äpfel"), norm.NFD.String("Äpfel")
	for row, file := range map[string]string{
		`x\1.png`: "x/1.png", "id": "id.jpg", "v1.2": "v1.2.JPEG", `x\y\id`: "x/y/id.tif",
		composed + "/1.png": decomposed + "/1.png", decomposed + "/1.png": composed + "/1.png", `x\` + composed: "x/" + decomposed + ".png",
	} {
		for _, root := range []string{t.TempDir(), fmt.Sprintf("memfs://spellings/%x", row)} {
			list, image := files.Join(root, "list.csv"), files.Join(root, strings.Split(file, "/")...)
			require.NoError(t, files.WriteBytes(t.Context(), list, []byte("id,breed\n"+row+",\n")))
			require.NoError(t, files.WriteBytes(t.Context(), image, []byte(file)))
			got := readAll(t, 1, list)
			require.Len(t, got, 1)
			require.Equal(t, []string{image, file, ""}, []string{got[0].Source, string(got[0].Data), got[0].Damage})
			if files.IsLocal(root) {
				require.Equal(t, []string{list, image}, slices.Collect(imageio.Files(t.Context(), []string{list})))
			}
			require.NoError(t, files.WriteBytes(t.Context(), files.Join(root, row), []byte("itself")))
			require.Equal(t, "itself", string(readAll(t, 1, list)[0].Data))
		}
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "1.png.jpg"), nil)
	write(t, filepath.Join(dir, "2.png"), []byte("png"))
	write(t, filepath.Join(dir, "2.jpg"), []byte("jpg"))
	got := readAll(t, 1, write(t, filepath.Join(dir, "list.txt"), []byte("1.png\n2\n")))
	require.Contains(t, got[0].Damage, "no such file or directory; line 1")
	require.Equal(t, "jpg", string(got[1].Data))
}

// Files in a folder that look like lists are not collections.
func TestListsInFolders(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "README.txt"), []byte("These are photos of mine.\n"))
	list := write(t, filepath.Join(dir, "cat/labels.csv"), []byte("1.png,cat\n"))
	write(t, filepath.Join(dir, "cat/images.tsv"), []byte("1.png\tcat\n"))
	_, err := imageio.Plan(t.Context(), []string{dir}, 9)
	require.ErrorContains(t, err, dir+" holds no images, but passed over 1 .csv, 1 .tsv, 1 .txt (a list of images is read only if its own path is given); give folders")
	write(t, filepath.Join(dir, "cat/1.png"), []byte("1"))
	require.Len(t, readAll(t, 9, dir), 1)
	require.Len(t, readAll(t, 9, dir, list), 2)
}

func TestListErrors(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"columns.csv": {"\nkey,label\n1,2\n", "line 2: no column path, file, filename, file_name, filepath, filepaths, image_path, img_path, image, image_name, img, image_id or id; the columns are key, label; give that of paths by --image-column"},
		"first.csv":   {"a\".png,1\n", `line 1: bare " in non-quoted-field`},
		"long.txt":    {"a.png\n" + strings.Repeat("b", 1<<20), "line 2: bufio.Scanner: token too long"},
		"utf16.csv":   {"\xff\xfea\x00.\x00p\x00n\x00g\x00", "the text is in UTF-16; save it as UTF-8"},
	} {
		list := write(t, filepath.Join(t.TempDir(), name), []byte(c.text))
		_, err := imageio.Plan(t.Context(), []string{list}, 1)
		require.ErrorContains(t, err, "read "+list+": "+c.want)
	}
	_, err := imageio.Plan(t.Context(), []string{"none.csv"}, 1)
	require.ErrorContains(t, err, "none.csv does not exist")
}

// A damaged line, which costs only itself, is named.
func TestDamagedLines(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"ragged.csv": {"a.png,1\nb.png\na.png,2\n", []string{"", "line 2: 1 columns, but the first line has 2", ""}},
		"comma.csv":  {"a.png\n\nb,c.png\n", []string{"", "line 3: 2 columns, but the first line has 1"}},
		"quote.csv":  {"path,label\na\".png,1\na.png,1\n", []string{`line 2: bare " in non-quoted-field`, ""}},
		"open.csv":   {"a.png,1\n\"b.png,2\na.png,1\n", []string{"", `line 2: extraneous or missing " in quoted-field`, `line 3: extraneous or missing " in quoted-field`}},
		"empty.csv":  {"path,label\n,1\na.png,2\n", []string{"line 2: the path is empty", ""}},
		"spaces.tsv": {"a.png\t1\n \t1\n", []string{"", "line 2: the path is empty"}},
		"some.txt":   {"a.png 1\nb.png\n", []string{"", "line 2: 1 columns, but the first line has 2"}},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "a.png"), []byte("a"))
		list := write(t, filepath.Join(dir, name), []byte(c.text))
		for rows := 1; rows <= 3; rows++ {
			var got []string
			for _, im := range readAll(t, rows, list) {
				got = append(got, im.Damage)
				if im.Damage != "" {
					require.Equal(t, list, im.Source)
				}
			}
			require.Equal(t, c.want, got, name)
		}
	}
}

// A line that begins with # is a comment unless there is such a file.
func TestNumberSign(t *testing.T) {
	dir := t.TempDir()
	first, second := write(t, filepath.Join(dir, "#1.png"), []byte("1")), write(t, filepath.Join(dir, "2.png"), []byte("2"))
	for name, text := range map[string]string{
		"list.csv": "# path,label\npath,labels\n#1.png,7\n#2.png,7\n2.png,8\n", "list.txt": "# of these\n#1.png 7\n#2.png 7\n2.png 8\n",
	} {
		got := readAll(t, 9, write(t, filepath.Join(dir, name), []byte(text)))
		require.Equal(t, []imageio.Image{{Source: first, Data: []byte("1"), Label: 7}, {Source: second, Data: []byte("2"), Label: 8}}, got)
	}
}

// A list that changed since it was planned is an error, not read wrongly.
func TestListChanged(t *testing.T) {
	list := write(t, filepath.Join(t.TempDir(), "a.txt"), []byte("1.png\n2.png\n3.png\n"))
	splits, err := imageio.Plan(t.Context(), []string{list}, 2)
	require.NoError(t, err)
	write(t, list, []byte("1.png\n"))
	for _, split := range splits {
		require.ErrorContains(t, imageio.ReadSplit(t.Context(), split, func(imageio.Image) error { return nil }), "it changed since")
	}
}
