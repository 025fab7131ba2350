package imageio_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// What a folder has that cannot be read is damaged, and the rest is read.
func TestFolderFaults(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	link := func(target, name string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(at(name)), 0o755))
		require.NoError(t, os.Symlink(target, at(name)))
	}
	write(t, at("a/1.png"), []byte("1"))
	write(t, at("b/2.png"), []byte("2"))
	link("/nowhere/x.png", "a/0.png")
	link("self.png", "a/self.png")
	link("/nowhere/folder", "gone")
	link(dir, "a/up")
	link("../../b", "b/deep/again")
	link("../a", "b/other")
	write(t, at("empty.tar"), nil)
	write(t, at("shard.tar"), []byte("no archive"))
	write(t, at("pointer.parquet"), []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"))
	write(t, at("pointer.jpg"), []byte("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"))
	write(t, at("packed.jpg"), packed([]byte("x")))
	write(t, at("x.avif"), []byte("x"))
	require.NoError(t, os.Mkdir(at("folder.png"), 0o755))
	require.NoError(t, syscall.Mkfifo(at("pipe.png"), 0o644))

	source, images := surveyed(t, dir)
	var got []string
	for _, im := range images {
		require.True(t, im.Damage == "" || im.Data == nil)
		got = append(got, fmt.Sprintf("%s: %s%s", strings.TrimPrefix(im.Source, dir+"/"), im.Data, im.Damage))
	}
	lfs := "a git-lfs pointer, not the file itself; fetch it with git lfs pull"
	require.Equal(t, []string{
		"a/0.png: a link to /nowhere/x.png, which does not exist",
		"a/1.png: 1",
		"a/self.png: too many levels of symbolic links",
		"b/2.png: 2",
		"packed.jpg: gzip data in spite of its name; unpack it with gunzip",
		"pointer.jpg: " + lfs,
		"gone: a link to /nowhere/folder, which does not exist",
		"empty.tar: the file is empty",
		"pointer.parquet: " + lfs,
		"shard.tar: not a tar archive: truncated: unexpected EOF",
	}, got)
	require.Equal(t, imageio.Passed{".avif": 1, "pipes and devices": 1, "links to folders that are read anyway": 3}, source.Passed)

	damaged := t.TempDir()
	write(t, filepath.Join(damaged, "x.tar"), []byte("no archive"))
	require.Len(t, readAll(t, 9, dir, damaged), len(images)+1)
	_, err := imageio.Plan(t.Context(), []string{damaged, filepath.Join(dir, "empty.tar")}, 9)
	require.ErrorContains(t, err, damaged+" holds no images that can be read: "+filepath.Join(damaged, "x.tar")+": not a tar archive")
}

// However folders link to each other, each is read once, under the first of its names, and that for splits of any size.
func TestLinkedFolders(t *testing.T) {
	root, other := t.TempDir(), t.TempDir()
	link := func(target, name string) { require.NoError(t, os.Symlink(target, name)) }
	const n = 8
	for i := range n {
		here, there := filepath.Join(root, fmt.Sprint(i)), filepath.Join(other, fmt.Sprint(i), "deep")
		write(t, filepath.Join(here, "x.png"), []byte(fmt.Sprint("in ", i)))
		write(t, filepath.Join(there, "x.png"), []byte(fmt.Sprint("out ", i)))
		for j := range n {
			if i != j {
				link(filepath.Join("..", fmt.Sprint(j)), filepath.Join(here, fmt.Sprint("to ", j)))
				link(filepath.Join(other, fmt.Sprint(j)), filepath.Join(there, fmt.Sprint("to ", j)))
			}
		}
	}
	link(filepath.Join(other, "0"), filepath.Join(root, "3", "out"))
	link(filepath.Join(other, "5", "deep"), filepath.Join(root, "9"))
	link(filepath.Dir(root), filepath.Join(root, "above"))
	write(t, filepath.Join(root, ".store", "x.png"), []byte("hidden"))
	link(".store", filepath.Join(root, "shown"))
	link(".store", filepath.Join(root, "shown again"))
	t.Chdir(filepath.Dir(root))
	for _, path := range []string{root, filepath.Base(root)} {
		source, images := surveyed(t, path)
		var got []string
		for _, im := range images {
			got = append(got, string(im.Data))
		}
		require.Equal(t, []string{
			"in 0", "in 1", "in 2", "out 7", "out 6", "out 5", "out 4", "out 3", "out 2", "out 1", "out 0", "in 3", "in 4", "in 5", "in 6", "in 7", "hidden",
		}, got)
		const inside, outside = n * (n - 1), (n - 1) * (n - 1) // links to folders that were entered before
		require.Equal(t, imageio.Passed{"links to folders that are read anyway": inside + outside + 1 /* 9 */ + 1 + n /* above */ + 1 /* shown again */}, source.Passed)
	}
}

// A folder and a file without permission do not keep the others from being read.
func TestFolderWithoutPermission(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may read everything")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), []byte("a"))
	secret := write(t, filepath.Join(dir, "b.png"), []byte("b"))
	require.NoError(t, os.Chmod(secret, 0))
	folder := filepath.Join(dir, "lost+found")
	require.NoError(t, os.Mkdir(folder, 0))
	_, images := surveyed(t, dir)
	require.Len(t, images, 3)
	require.Equal(t, imageio.Image{Source: secret, Label: -1, Folders: ".", Damage: "permission denied"}, images[1])
	require.Equal(t, imageio.Image{Source: folder, Label: -1, Damage: "permission denied"}, images[2])
	_, err := imageio.Plan(t.Context(), []string{folder}, 9)
	require.ErrorContains(t, err, "list "+folder)
	require.ErrorContains(t, err, "permission denied")
}

// Extensions of files that are passed over are counted, without limit to their number.
func TestPassedOver(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "a.png"), []byte("a"))
	write(t, filepath.Join(dir, "train-labels-idx1-ubyte.gz"), []byte("belongs to images"))
	write(t, filepath.Join(dir, ".hidden.txt"), nil)
	write(t, filepath.Join(dir, "_temporary", "0", "a.png"), []byte("not completed by Spark"))
	for i := range 150 {
		write(t, filepath.Join(dir, fmt.Sprintf("b.x%d", i)), nil)
		write(t, filepath.Join(dir, fmt.Sprintf("c.%d", i)), nil)
		write(t, filepath.Join(dir, fmt.Sprintf("%d.TXT", i)), nil)
	}
	source, _ := surveyed(t, dir)
	require.Len(t, source.Passed, 101)
	require.EqualValues(t, 150, source.Passed[".txt"])
	total := int64(0)
	for _, n := range source.Passed {
		total += n
	}
	require.EqualValues(t, 450, total)
	require.Contains(t, source.Summary(imageio.Tally{Images: 1, Labeled: 1}), "1 image, 1 of them with labels, and 0 that cannot be read; passed over 201 other files, 150 .txt, 1 .x0,")
	require.Contains(t, source.Summary(imageio.Tally{Images: 9, Labeled: 5, Lost: 3, Damaged: 2, Dead: 1}), "9 images, 5 of them with labels, and 1 that cannot be read; "+
		"the labels of 3 are lost in damaged parts of the files; 2 are damaged, and were read as far as they go; passed over")
	require.Equal(t, "passed over 2 .json, 1 .arrow (export data sets of HuggingFace's save_to_disk by dataset.to_parquet(...))", imageio.Passed{".arrow": 1, ".json": 2}.String())
	require.Contains(t, source.Summary(imageio.Tally{Images: 1, Labeled: 1}), "93 more (a list of images is read only if its own path is given)")
}

// TestRunsAreNoData checks that what a run or a study leaves in a folder of images is never read as data, and that a
// folder that only looks like one is.
func TestRunsAreNoData(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "memfs://runs-are-no-data"} {
		for _, name := range []string{
			"a.jpg", "runs/first/run.json", "runs/first/recipe.yaml", "runs/first/dead-letter.parquet", "runs/first/routed/a.png",
			"study/study.json", "study/study.yaml", "study/results.parquet", "mine/run.json", "mine/b.jpg", "runs/c.jpg",
		} {
			require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, strings.Split(name, "/")...), nil))
		}
		var found []string
		for file := range imageio.Files(t.Context(), []string{dir}) {
			found = append(found, file[len(dir)+1:])
		}
		require.Equal(t, []string{"a.jpg", "mine/b.jpg", "runs/c.jpg"}, found)
		splits, err := imageio.Plan(t.Context(), []string{dir}, 10)
		require.NoError(t, err)
		require.Len(t, splits, 1)
		require.EqualValues(t, 3, splits[0].End)
	}
}

// TestFolderChanged checks that of a folder that changes between Plan and ReadSplit, every image that was planned is read, or
// is a dead letter, and none that was added displaces one.
func TestFolderChanged(t *testing.T) {
	planned := []string{"b/1.png", "b/2.png", "c.png", "d/e/1.png", "f.png", "g.png", "h.png"}
	for _, c := range []struct {
		name           string
		added, removed []string
	}{
		{name: "begin", added: []string{"a.png", "a/0.png", "b/0.png"}},
		{name: "middle", added: []string{"b/1a.png", "b/3.png", "d/a.png", "fa.png"}},
		{name: "end", added: []string{"z.png", "z/1.png"}},
		{name: "behind a split", added: []string{"b/2a.png", "bc.png"}},
		{name: "everywhere", added: []string{"0.png", "b/1a.png", "b/9.png", "ca.png", "d/e/0.png", "d/e/2.png", "ga.png", "gb.png", "i.png"}},
		{name: "first gone", removed: []string{"b/1.png"}},
		{name: "middle gone", removed: []string{"c.png", "d/e/1.png", "f.png"}},
		{name: "last gone", removed: []string{"h.png"}},
		{name: "all gone", removed: planned},
		{name: "moved away", removed: []string{"b/1.png", "g.png"}, added: []string{"a.png", "z.png"}},
		{name: "in place", removed: []string{"b/2.png"}, added: []string{"b/2a.png", "b/2b.png"}},
	} {
		for _, root := range []string{t.TempDir(), "memfs://changed/" + c.name} {
			at := func(name string) string { return files.Join(root, strings.Split(name, "/")...) }
			put := func(name string, age time.Duration) {
				require.NoError(t, files.WriteBytes(t.Context(), at(name), []byte(name)))
				if files.IsLocal(root) {
					require.NoError(t, os.Chtimes(at(name), time.Time{}, time.Now().Add(-age)))
				}
			}
			for maxRows := 1; maxRows <= len(planned)+1; maxRows++ {
				require.NoError(t, files.RemoveAll(t.Context(), root))
				for i, name := range planned {
					put(name, time.Hour*time.Duration(i+1))
				}
				splits, err := imageio.Plan(t.Context(), []string{root}, maxRows)
				require.NoError(t, err)
				for _, name := range c.removed {
					require.NoError(t, files.Remove(t.Context(), at(name)))
				}
				for _, name := range c.added {
					put(name, 0)
				}
				read := []string{}
				dead := 0
				for _, split := range splits {
					n := 0
					require.NoError(t, imageio.ReadSplit(t.Context(), split, func(im imageio.Image) error {
						if n++; im.Damage != "" {
							dead++
							require.Regexp(t, "^removed or renamed since|no such file", im.Damage)
						} else if !slices.Contains(c.added, string(im.Data)) {
							read = append(read, string(im.Data))
						}
						return nil
					}))
					require.EqualValues(t, split.End-split.Begin, n)
				}
				want := slices.DeleteFunc(slices.Clone(planned), func(name string) bool { return slices.Contains(c.removed, name) })
				require.Equal(t, want, read, "%s, %d images a split", c.name, maxRows)
				require.LessOrEqual(t, dead, len(c.removed))
				require.True(t, dead == len(c.removed) || c.name == "in place")
			}
		}
	}
}
