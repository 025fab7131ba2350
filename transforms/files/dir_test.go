package files_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
)

// TestReadDir lists the same files on disk and on a filesystem without folders, at several depths.
func TestReadDir(t *testing.T) {
	ctx := context.Background()
	local := filepath.Join(t.TempDir(), "top")
	for _, dir := range []string{local, "memfs://readdir/top"} {
		for _, file := range []string{"b.parquet", "a/train/cat/1.png", "a/x.txt", "c/d/e.tar", "z-train.tar"} {
			require.NoError(t, files.WriteBytes(ctx, files.Join(dir, filepath.FromSlash(file)), []byte("x")))
		}
		entries, err := files.ReadDir(ctx, dir)
		require.NoError(t, err)
		require.Equal(t, []files.Entry{{"a", true}, {"b.parquet", false}, {"c", true}, {"z-train.tar", false}}, entries, dir)
		entries, err = files.ReadDir(ctx, files.Join(dir, "a"))
		require.NoError(t, err)
		require.Equal(t, []files.Entry{{"train", true}, {"x.txt", false}}, entries)
		for name, folder := range map[string]bool{"a": true, "a/train": true, "a/x.txt": false, "b.parquet": false, "none": false} {
			require.Equal(t, folder, files.IsFolder(ctx, files.Join(dir, name)), "%s of %s", name, dir)
		}
		_, err = files.ReadDir(ctx, files.Join(dir, "none"))
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.Equal(t, dir, files.Dir(files.Join(dir, "b.parquet")))
		require.Equal(t, dir, files.Join(dir, "."))

		require.NoError(t, files.RemoveAll(ctx, files.Join(dir, "c")))
		require.False(t, files.IsFolder(ctx, files.Join(dir, "c")))
		require.True(t, files.IsFolder(ctx, files.Join(dir, "a")))
	}
	require.NoError(t, os.Symlink(filepath.Join(local, "a"), filepath.Join(local, "link")))
	entries, err := files.ReadDir(ctx, local)
	require.NoError(t, err)
	require.Contains(t, entries, files.Entry{Name: "link", Folder: true})
}

// TestCheckWritable makes a folder, leaves nothing in it, and says where there cannot be one.
func TestCheckWritable(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	require.NoError(t, files.CheckWritable(dir))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	require.ErrorContains(t, files.CheckWritable(filepath.Join(file, "c")), "not a directory")
	require.NoError(t, files.CheckWritable("memfs://anything"))
}
