package tensorboard

import (
	"bytes"
	_ "embed"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/memfs"

	"github.com/sdr-ml/sdr/transforms/files"
)

//go:embed testdata/golden.tfevents
var golden []byte

// records splits a file into the contents of its records, without looking at checksums.
func records(t *testing.T, data []byte) (all [][]byte) {
	for len(data) > 0 {
		n := int(binary.LittleEndian.Uint64(data))
		require.GreaterOrEqual(t, len(data), 16+n)
		all, data = append(all, data[12:12+n]), data[16+n:]
	}
	return all
}

// TestGolden compares with what TensorBoard's writer makes of the same events; see testdata/make_golden.py. Only fields of
// the value 0, which protocol buffers leave out, and the times of the first two events differ.
func TestGolden(t *testing.T) {
	dir := t.TempDir()
	w, err := Create(t.Context(), dir)
	require.NoError(t, err)
	at := time.UnixMilli(1_700_000_000_250)
	require.NoError(t, w.Add(at, 19, Scalar{"loss", 5.25}, Scalar{"std", .1}))
	require.NoError(t, w.Add(at, 39, Scalar{"loss", -1e-3}, Scalar{"std", 0}))
	require.NoError(t, w.Add(at, 1<<40, Scalar{"loss", 3e38}, Scalar{"std", .125}))
	require.NoError(t, w.Close())
	got, err := os.ReadFile(filepath.Join(dir, only(t, dir)))
	require.NoError(t, err)
	want := records(t, golden)
	found := records(t, got)
	require.Len(t, found, len(want))
	for i, r := range found {
		if i < 2 {
			time, step := 9, []byte{eventStep << 3, 0}
			require.Equal(t, append(step, want[i][time:]...), r[time:])
			continue
		}
		require.Equal(t, want[i], r)
	}
	require.True(t, bytes.HasSuffix(got, golden[len(golden)-len(frame(want[4])):]), "with its length and checksums")
}

// frame returns as many bytes as the record of a content has.
func frame(content []byte) []byte { return make([]byte, 16+len(content)) }

func only(t *testing.T, dir string) string {
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	return entries[0].Name()
}

// TestAgain begins a folder twice: the second file replaces the first, and comes after it.
func TestAgain(t *testing.T) {
	for _, dir := range []string{t.TempDir(), "memfs://again"} {
		w, err := Create(t.Context(), dir)
		require.NoError(t, err)
		require.NoError(t, w.Add(time.Now(), 1, Scalar{"loss", 1}))
		require.NoError(t, w.Close())
		first, err := files.List(t.Context(), files.Join(dir, "*"))
		require.NoError(t, err)
		require.Len(t, first, 1)
		w, err = Create(t.Context(), dir)
		require.NoError(t, err)
		require.NoError(t, w.Add(time.Now(), 2, Scalar{"loss", 1}))
		require.NoError(t, w.Close())
		second, err := files.List(t.Context(), files.Join(dir, "*"))
		require.NoError(t, err)
		require.Len(t, second, 1)
		require.Greater(t, second[0], first[0])
		data, err := files.Read(t.Context(), second[0])
		require.NoError(t, err)
		require.Len(t, records(t, data), 3)
	}
}

// TestErrors writes to a file that is closed.
func TestErrors(t *testing.T) {
	w, err := Create(t.Context(), t.TempDir())
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.ErrorIs(t, w.Add(time.Now(), 1), os.ErrClosed)
	require.ErrorIs(t, w.Add(time.Now(), 2), os.ErrClosed)
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o644))
	_, err = Create(t.Context(), filepath.Join(blocked, "below"))
	require.Error(t, err)
}
