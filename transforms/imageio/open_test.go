package imageio_test

import (
	"archive/tar"
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Archives without a member, however large, are told at once.
func TestHugeEmptyArchives(t *testing.T) {
	for name, want := range map[string]string{"a.tar": "not a tar archive", "a.zip": "no valid central directory"} {
		path := write(t, filepath.Join(t.TempDir(), name), nil)
		require.NoError(t, os.Truncate(path, 1<<40))
		_, err := imageio.Plan(t.Context(), []string{path}, 9)
		require.ErrorContains(t, err, want)
	}
}

// Files are not read further once the context is canceled, such as an archive with a terabyte of zeros at its end.
func TestCanceled(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.tar")
	f, err := os.Create(path)
	require.NoError(t, err)
	w := tar.NewWriter(f)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "a.png", Size: 1}))
	_, err = w.Write([]byte("x"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, f.Truncate(1<<40))
	require.NoError(t, f.Close())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = imageio.Plan(ctx, []string{path}, 9)
	require.ErrorIs(t, err, context.Canceled)
}
