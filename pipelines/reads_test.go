package pipelines

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// TestSpare checks that nothing that a job reads is written: images, labels, tasks and models, whatever they are called. A
// table that the same job has left beside them is replaced.
func TestSpare(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		return path
	}
	images, err := os.ReadFile("../testdata/fixtures/tiny.parquet")
	require.NoError(t, err)
	for _, name := range []string{"tasks/a-train.parquet", "tasks/a-test.parquet", "tasks/b/data/train-00001-of-00002.parquet", "tasks/b/data/test-0.parquet", "lone-train.parquet"} {
		require.NoError(t, os.WriteFile(at(name), images, 0o644))
	}
	require.NoError(t, os.WriteFile(at("tasks/broken-test.parquet"), images[:99], 0o644))
	require.NoError(t, os.WriteFile(at("photos/a.png"), nil, 0o644))
	require.NoError(t, os.WriteFile(at("run/models/root.safetensors"), nil, 0o644))
	require.NoError(t, arrowio.SaveParquet(t.Context(), at("photos/metadata.parquet"), record.Of([]struct {
		File  string `arrow:"file_name"`
		Label int64  `arrow:"label"`
	}{{"a.png", 1}}).Record))
	for _, name := range []string{"tasks/results.parquet", "photos/features.parquet"} {
		require.NoError(t, arrowio.SaveParquet(t.Context(), at(name), record.Of([]Embedded{{Feature: []float32{1}}}).Record))
	}
	require.NoError(t, os.Symlink(at("photos"), at("pictures")))
	require.NoError(t, os.Link(at("tasks/a-test.parquet"), at("same.parquet")))
	models := []train.Model{{Path: at("run/models/root.safetensors")}}
	for _, c := range []struct {
		read, written string
		refused       bool
	}{
		{"tasks", "tasks/a-train.parquet", true},
		{"tasks", "tasks/a-test.parquet", true},
		{"tasks", "tasks/../tasks/b/data/train-00001-of-00002.parquet", true},
		{"tasks", "tasks/b/data/test-0.parquet", true},
		{"tasks", "tasks/broken-test.parquet", true},
		{"tasks", "same.parquet", true},
		{"tasks", "run/models/root.safetensors", true},
		{"tasks/*-train.parquet", "tasks/a-train.parquet", true},
		{"lone-train.parquet", "lone-train.parquet", true},
		{"photos", "photos/metadata.parquet", true},
		{"photos", "pictures/metadata.parquet", true},
		{"pictures", "photos/metadata.parquet", true},
		{"photos/features.parquet", "photos/features.parquet", true},
		{"photos", "photos/features.parquet", false},
		{"photos", "photos/new.parquet", false},
		{"tasks", "tasks/results.parquet", false},
		{"tasks", "tasks/new-test.parquet", false},
		{"tasks/*-train.parquet", "tasks/a-test.parquet", false},
		{"lone-train.parquet", "tasks/a-train.parquet", false},
	} {
		err := spareTasks(t.Context(), filepath.Join(dir, c.read), imageio.Columns{}, models, filepath.Join(dir, "none.parquet"), filepath.Join(dir, c.written))
		if !c.refused {
			require.NoError(t, err, c.written)
			continue
		}
		require.ErrorAs(t, err, new(*run.UsageError), c.written)
		require.EqualError(t, err, filepath.Join(dir, c.written)+" is to be read and written; give another file to write")
	}
}
