package imageio_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// TestFiles checks which files count as a data set's: those that Plan reads, with what belongs to them.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"b/2.png", "b/1.jpg", "b/.hidden.jpg", "b/notes.md", "a.tar", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz",
		"lists/ignored.txt", "data.parquet", ".git/x.png",
	} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, nil, 0o644))
	}
	list := filepath.Join(dir, "list.csv")
	require.NoError(t, os.WriteFile(list, []byte("path,label\nb/1.jpg,3\nb/missing.jpg,4\n"), 0o644))
	in := func(names ...string) (all []string) {
		for _, name := range names {
			all = append(all, filepath.Join(dir, name))
		}
		return all
	}
	of := func(paths ...string) []string { return slices.Collect(imageio.Files(t.Context(), paths)) }
	require.Equal(t, in("a.tar", "b/1.jpg", "b/2.png", "data.parquet", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte.gz"), of(dir))
	require.Equal(t, in("list.csv", "b/1.jpg", "b/missing.jpg", "b/2.png"), of(list, filepath.Join(dir, "b", "2.png")))
	require.Empty(t, of(filepath.Join(dir, "none")))
	for range imageio.Files(t.Context(), []string{dir, list}) {
		break
	}
}

// TestOverlaps finds what is given twice, under whatever name.
func TestOverlaps(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"pool/cat", "pool2", "pool/.store", "elsewhere"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
	}
	write(t, filepath.Join(dir, "pool", "a.tar"), nil)
	require.NoError(t, os.Symlink(filepath.Join(dir, "pool", "cat"), filepath.Join(dir, "link")))
	t.Chdir(dir)
	for _, c := range []struct{ paths, want []string }{
		{[]string{"pool", "pool2", "elsewhere", "pool/.store", "gs://b/pool", "gs://b/pool2", "none"}, nil},
		{[]string{"pool", "pool/cat"}, []string{"pool/cat in pool"}},
		{[]string{"pool/cat", "elsewhere", "./pool/"}, []string{"pool/cat in ./pool/"}},
		{[]string{"pool/a.tar", "pool/a.tar", filepath.Join(dir, "pool/a.tar")}, []string{"pool/a.tar in pool/a.tar", filepath.Join(dir, "pool/a.tar") + " in pool/a.tar"}},
		{[]string{"link", "pool"}, []string{"link in pool"}},
		{[]string{"link", "pool/cat"}, []string{"pool/cat in link"}},
		{[]string{"/", "pool"}, []string{"pool in /"}},
		{[]string{"gs://b/pool/", "gs://b/pool/x.tar", "gs://b/pool"}, []string{"gs://b/pool/x.tar in gs://b/pool/", "gs://b/pool in gs://b/pool/"}},
	} {
		var got []string
		for inner, outer := range imageio.Overlaps(c.paths) {
			got = append(got, inner+" in "+outer)
		}
		require.Equal(t, c.want, got)
	}
}
