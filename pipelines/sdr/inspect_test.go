package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
)

// The subsets are compared with the labels of the images of the run; those of other images, or of none, are refused.
func TestInspectLabels(t *testing.T) {
	dir, task := filepath.Join(t.TempDir(), "run"), testdata+"/tasks/emoji-train.parquet"
	args := quickRun(dir)
	args[slices.Index(args, "--data")+1] = task
	mustSDR(t, args...)
	require.Contains(t, mustSDR(t, "inspect", dir, "--labels", task), "the subsets and the labels of ")
	var status pipelines.Status
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, "inspect", dir, "--labels", task, "--format", "json")), &status))
	var images int64
	for code, n := range status.Subsets {
		if len(code) == 1 {
			images += n
		}
	}
	require.Equal(t, images, status.Labels.Images)
	require.Positive(t, status.Labels.Agreement)

	for labels, want := range map[string]string{
		testdata + "/tasks/grocery-train.parquet": "no labeled image is one of the run's; give the files and folders as they were given to the run: [" + task + "]",
		"nowhere/": "nowhere/ does not exist",
	} {
		_, log, code := sdr(t, "inspect", dir, "--labels", labels)
		require.Equal(t, 2, code, log)
		require.Contains(t, log, want)
	}
	_, log, code := sdr(t, "inspect", dir, "--labels", task, "--label-column", "species")
	require.Equal(t, 2, code, log)
	require.Contains(t, log, "no column species of labels")
}
