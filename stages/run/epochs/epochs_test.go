package epochs

import (
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
	all := []Epoch{{Epoch: 1, Step: 10, LR: .1, Loss: 2.5}, {Epoch: 2, Step: 20, LR: .05, Loss: 1.5, Validation: new(75.)}}
	require.NoError(t, Write(t.Context(), path, all))
	got, err := Read(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, all, got)
	require.NoError(t, os.Truncate(path, 60))
	_, err = Read(t.Context(), path)
	require.ErrorContains(t, err, path)
}
