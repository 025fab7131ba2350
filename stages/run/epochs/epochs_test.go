package epochs

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	"github.com/stretchr/testify/require"
)

// What was written is read; a damaged file is named.
func TestEpochs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	_, err := Read(t.Context(), path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	all := []Epoch{{Epoch: 1, Step: 10, LR: .1, Loss: 2.5, Time: 1.25}, {Epoch: 2, Step: 20, LR: .05, Loss: 1.5, Validation: new(75.)}}
	for range 2 { // the second training replaces the first
		log := NewLog(path)
		require.NoError(t, log.Write(t.Context(), all[:1]))
		require.NoError(t, log.Write(t.Context(), all))
		require.NoError(t, log.Close())
	}
	events, err := filepath.Glob(filepath.Join(EventsDir(path), "events.*"))
	require.NoError(t, err)
	require.Len(t, events, 1)
	text, err := os.ReadFile(events[0])
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(text, []byte("validation")))
	require.Equal(t, 2, bytes.Count(text, []byte("loss")))
	got, err := Read(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, all, got)
	require.NoError(t, os.Truncate(path, 60))
	_, err = Read(t.Context(), path)
	require.ErrorContains(t, err, path)
}
