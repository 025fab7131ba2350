//go:build local

package main

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the tag local leaves out is an error that says how to get it. `make test-local` runs this test, with Beam as
// `make build TAGS=local` has it.
func TestLocal(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	for _, args := range [][]string{
		{"pretrain", "--data", tiny, "--out", out, "--runner", "dataflow"},
		quickRun(out, append(dataflow, "--dry_run")...),
		{"pretrain", "--data", tiny, "--out", "gs://bucket/run"},
		{"pretrain", "--data", tiny, "--data", "gs://bucket/pool", "--out", out},
		{"inspect", "gs://bucket/run"},
	} {
		stdout, stderr, code := sdr(t, args...)
		require.Equal(t, exitUsage, code, "%v: %s", args, stderr)
		require.Contains(t, stderr, without)
		require.Equal(t, 1, bytes.Count([]byte(stderr), []byte("\n")), stderr)
		require.Empty(t, stdout)
		require.NoFileExists(t, out)
	}
	require.Contains(t, mustSDR(t, "--help"), "built with the tag local")
	require.NotContains(t, mustSDR(t, "pretrain", "--help"), "dataflow")
}
