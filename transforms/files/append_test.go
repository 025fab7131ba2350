package files

import (
	"io/fs"
	"testing"
	"time"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"
	"github.com/stretchr/testify/require"
)

// TestAppend checks that what is appended is there while the file is open, after it is closed, and after more is appended.
func TestAppend(t *testing.T) {
	before := appendTime
	defer func() { appendTime = before }()
	appendTime = time.Millisecond
	for _, dir := range []string{t.TempDir(), "memfs://append"} {
		path := Join(dir, "sub", "log")
		has := func(want string) func() bool {
			return func() bool {
				got, err := Read(t.Context(), path)
				return err == nil && string(got) == want
			}
		}
		f, err := Append(t.Context(), path)
		require.NoError(t, err)
		for _, part := range []string{"one\n", "two\n"} {
			_, err = f.Write([]byte(part))
			require.NoError(t, err)
		}
		require.Eventually(t, has("one\ntwo\n"), time.Minute, time.Millisecond)
		_, err = f.Write([]byte("three\n"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Condition(t, has("one\ntwo\nthree\n"))
		_, err = f.Write(nil)
		require.ErrorIs(t, err, fs.ErrClosed)
		require.ErrorIs(t, f.Close(), fs.ErrClosed)

		f, err = Append(t.Context(), path)
		require.NoError(t, err)
		_, err = f.Write([]byte("four\n"))
		require.NoError(t, err)
		require.NoError(t, f.Close())
		require.Condition(t, has("one\ntwo\nthree\nfour\n"))
	}
	_, err := Append(t.Context(), "nowhere://x")
	require.ErrorContains(t, err, "nowhere")
}
