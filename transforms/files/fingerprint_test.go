package files_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/files"
)

// TestFingerprint checks that a fingerprint tells contents apart, in small files and where a large one is sampled, but
// not times, and that a file with the size and time that are known is not read.
func TestFingerprint(t *testing.T) {
	for _, size := range []int{0, 1, 100, 256 << 10, 256<<10 + 1, 5 << 20} {
		path := filepath.Join(t.TempDir(), "file")
		content := make([]byte, size)
		write := func(at time.Time) files.Fingerprint {
			require.NoError(t, os.WriteFile(path, content, 0o644))
			require.NoError(t, os.Chtimes(path, at, at))
			return files.TakeFingerprint(t.Context(), path, files.Fingerprint{})
		}
		old := time.Now().Add(-time.Hour).Truncate(time.Second)
		first := write(old)
		require.EqualValues(t, size, first.Size)
		require.Equal(t, old.UnixNano(), first.Modified)
		touched := write(old.Add(time.Minute))
		require.NotEqual(t, first, touched)
		require.True(t, first.Same(touched))
		require.Equal(t, first.Identity(), touched.Identity())
		for _, at := range []int{0, size / 2, size - 1} {
			if size == 0 || size > 256<<10+1 && at == size/2 {
				continue // not sampled
			}
			content[at]++
			changed := write(old)
			require.False(t, first.Same(changed), "%d of %d", at, size)
			require.NotEqual(t, first.Identity(), changed.Identity())
			require.Equal(t, first, files.TakeFingerprint(t.Context(), path, first), "taken for unchanged")
			content[at]--
		}
	}
}

func TestFingerprintWithoutContent(t *testing.T) {
	missing := files.TakeFingerprint(t.Context(), filepath.Join(t.TempDir(), "none"), files.Fingerprint{})
	require.Empty(t, missing.Content)
	require.True(t, missing.Same(missing))
	remote := "memfs://fingerprint/file"
	require.NoError(t, files.WriteBytes(t.Context(), remote, []byte("x")))
	found := files.TakeFingerprint(t.Context(), remote, files.Fingerprint{})
	require.Equal(t, remote, found.Path)
	require.Empty(t, found.Content)
	require.False(t, found.Same(missing))
}
