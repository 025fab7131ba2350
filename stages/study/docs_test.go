package study_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/study"
)

// TestDocs reads the studies of the documentation, whose first lines say how to run them and what was found.
func TestDocs(t *testing.T) {
	t.Setenv("POOL", t.TempDir())
	t.Setenv("TASKS", t.TempDir())
	all, err := filepath.Glob("../../docs/studies/*.yaml")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	for _, path := range all {
		_, err := study.Load(path)
		require.NoError(t, err)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), "sdr study docs/studies/"+filepath.Base(path)+" --out")
		require.Contains(t, string(text), "# Answer")
	}
}
