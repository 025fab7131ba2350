package files_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
)

func TestLink(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	from, to := filepath.Join(dir, "a"), filepath.Join(dir, "sub", "b")
	require.NoError(t, os.WriteFile(from, []byte("text"), 0o644))
	for range 2 { // also over itself
		require.NoError(t, files.Link(ctx, from, to))
		a, err := os.Stat(from)
		require.NoError(t, err)
		b, err := os.Stat(to)
		require.NoError(t, err)
		require.True(t, os.SameFile(a, b))
	}
	require.NoError(t, files.WriteBytes(ctx, to, []byte("other")))
	got, err := os.ReadFile(from)
	require.NoError(t, err)
	require.Equal(t, "text", string(got), "a file is replaced, not changed")

	require.NoError(t, files.Link(ctx, from, from))
	require.FileExists(t, from)

	remote := "memfs://link/c"
	require.NoError(t, files.Link(ctx, from, remote))
	got, err = files.Read(ctx, remote)
	require.NoError(t, err)
	require.Equal(t, "text", string(got))
	require.ErrorIs(t, files.Link(ctx, filepath.Join(dir, "none"), to), fs.ErrNotExist)
}
