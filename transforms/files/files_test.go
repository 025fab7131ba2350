package files_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/files"
)

// each runs a test in a folder on every available filesystem, with glob metacharacters in its name.
func each(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("local", func(t *testing.T) { test(t, files.Join(t.TempDir(), "a[0]*?\\b")) })
	t.Run("memfs", func(t *testing.T) { test(t, "memfs://"+t.Name()+"/a[0]*?\\b") })
}

func TestWriteRead(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		path := files.Join(dir, "deep", "file.txt")
		_, err := files.Read(t.Context(), path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.ErrorContains(t, err, path)
		exists, err := files.Exists(t.Context(), path)
		require.NoError(t, err)
		require.False(t, exists)
		for _, content := range []string{"one", "", strings.Repeat("longer", 1000)} {
			require.NoError(t, files.WriteBytes(t.Context(), path, []byte(content)))
			got, err := files.Read(t.Context(), path)
			require.NoError(t, err)
			require.Equal(t, content, string(got))
		}
		exists, err = files.Exists(t.Context(), path)
		require.NoError(t, err)
		require.True(t, exists)
		exists, err = files.Exists(t.Context(), strings.TrimSuffix(path, "t"))
		require.NoError(t, err)
		require.False(t, exists)
	})
}

// TestFailedWrite checks that a write that fails halfway leaves the old content and nothing else.
func TestFailedWrite(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		full := errors.New("full")
		half := func(w io.Writer) error {
			_, err := w.Write([]byte("half"))
			return errors.Join(err, full)
		}
		path := files.Join(dir, "file.txt")
		err := files.Write(t.Context(), path, half)
		require.ErrorIs(t, err, full)
		require.ErrorContains(t, err, "write "+path)
		exists, err := files.Exists(t.Context(), path)
		require.NoError(t, err)
		require.False(t, exists)

		require.NoError(t, files.WriteBytes(t.Context(), path, []byte("old")))
		require.ErrorIs(t, files.Write(t.Context(), path, half), full)
		require.Panics(t, func() { _ = files.Write(t.Context(), path, func(io.Writer) error { panic("no") }) })
		got, err := files.Read(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, "old", string(got))
		if files.IsLocal(dir) {
			entries, err := os.ReadDir(dir)
			require.NoError(t, err)
			require.Len(t, entries, 1)
		}
	})
}

// TestUnfinished looks at a folder while a file is being written there.
func TestUnfinished(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		path := files.Join(dir, "a.arrow")
		require.NoError(t, files.WriteBytes(t.Context(), path, []byte("old")))
		require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
			_, err := w.Write([]byte("new"))
			require.NoError(t, err)
			for _, glob := range []string{"*", "*.arrow", "*.arrow*", "?a*"} {
				found, err := files.List(t.Context(), files.Join(files.Quote(dir), glob))
				require.NoError(t, err)
				require.Subset(t, []string{path}, found, glob)
			}
			got, err := files.Read(t.Context(), path)
			require.NoError(t, err)
			require.Equal(t, "old", string(got))
			return nil
		}))
	})
}

// TestConcurrentWrites writes one file from several goroutines; one of them wins.
func TestConcurrentWrites(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		path := files.Join(dir, "file")
		content := func(i int) []byte { return []byte(strings.Repeat(fmt.Sprint(i), 4096)) }
		var group sync.WaitGroup
		errs := make([]error, 8)
		for i := range errs {
			group.Go(func() { errs[i] = files.WriteBytes(t.Context(), path, content(i)) })
		}
		group.Wait()
		require.NoError(t, errors.Join(errs...))
		got, err := files.Read(t.Context(), path)
		require.NoError(t, err)
		require.Equal(t, content(int(got[0]-'0')), got)
	})
}

func TestList(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		for _, name := range []string{"b.arrow", "a.arrow", ".hidden.arrow", "c.txt", "sub/d.arrow"} {
			require.NoError(t, files.WriteBytes(t.Context(), files.Join(dir, name), nil))
		}
		list := func(elem ...string) []string {
			found, err := files.List(t.Context(), files.Join(files.Quote(dir), elem...))
			require.NoError(t, err)
			return found
		}
		require.Equal(t, []string{files.Join(dir, "a.arrow"), files.Join(dir, "b.arrow")}, list("*.arrow"))
		require.Equal(t, []string{files.Join(dir, "sub", "d.arrow")}, list("*", "*.arrow"))
		require.Empty(t, list("none", "*"))
	})
}

func TestRemoveAndModified(t *testing.T) {
	each(t, func(t *testing.T, dir string) {
		path := files.Join(dir, "file")
		_, err := files.Modified(t.Context(), path)
		require.ErrorIs(t, err, fs.ErrNotExist)
		require.NoError(t, files.WriteBytes(t.Context(), path, nil))
		at, err := files.Modified(t.Context(), path)
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), at, time.Hour)
		for _, remove := range []func(context.Context, string) error{files.Remove, files.Discard} {
			require.NoError(t, files.WriteBytes(t.Context(), path, nil))
			require.NoError(t, remove(t.Context(), path))
			exists, err := files.Exists(t.Context(), path)
			require.NoError(t, err)
			require.False(t, exists)
		}
		require.NoError(t, files.Discard(t.Context(), path), "there is none")
	})
}

func TestJoin(t *testing.T) {
	require.Equal(t, filepath.Join("runs", "a", "b"), files.Join("runs/", "a", "b"))
	require.Equal(t, "gs://bucket/a/b", files.Join("gs://bucket/", "a", "b"))
	require.Equal(t, "gs://bucket/a/b", files.Join("gs://bucket", "a/b"))
	require.True(t, files.IsLocal("/tmp/x"))
	require.False(t, files.IsLocal("memfs://x"))
}

// TestQuote checks that a quoted name matches itself and no other.
func TestQuote(t *testing.T) {
	name := rapid.StringMatching(`[a-b*?^!\[\]\\{}-]{1,6}`)
	rapid.Check(t, func(t *rapid.T) {
		path := "memfs://quote/" + name.Draw(t, "name")
		other := "memfs://quote/" + name.Draw(t, "other")
		memfs.Write(path, nil)
		memfs.Write(other, nil)
		found, err := files.List(t.Context(), files.Quote(path))
		require.NoError(t, err)
		require.Equal(t, []string{path}, found)
	})
}

func TestUnknownScheme(t *testing.T) {
	_, err := files.Read(t.Context(), "nowhere://x")
	require.ErrorContains(t, err, "nowhere")
	require.ErrorContains(t, files.WriteBytes(t.Context(), "nowhere://x", nil), "nowhere")
}

func TestFolderInTheWay(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "taken")
	require.NoError(t, os.Mkdir(path, 0o755))
	require.Error(t, files.WriteBytes(t.Context(), path, nil))
	require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "file"), nil))
	require.Error(t, files.WriteBytes(t.Context(), filepath.Join(dir, "file", "below"), nil))
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 2)
}
