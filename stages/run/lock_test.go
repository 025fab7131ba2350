package run_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
)

// TestLock checks that a folder has one writer at a time, that the refusal names it, and that a lock neither outlives
// its owner nor makes a folder look like someone else's.
func TestLock(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "runs", "a")
	if os.Getenv("SDR_LOCK") != "" { // the other process
		_, err := run.Lock(t.Context(), os.Getenv("SDR_LOCK"))
		if err != nil {
			os.Stdout.WriteString(err.Error())
		}
		os.Exit(0) // with the lock held
	}
	other := func() string {
		cmd := exec.Command(os.Args[0], "-test.run", "^TestLock$")
		cmd.Env = append(os.Environ(), "SDR_LOCK="+dir)
		out, err := cmd.Output()
		require.NoError(t, err)
		return string(out)
	}
	require.Empty(t, other())
	unlock, err := run.Lock(t.Context(), dir)
	require.NoError(t, err)
	require.Regexp(t, dir+" is in use by process [0-9]+ on .+ since 2.*; wait until that has ended, or give another folder", other())
	_, err = run.Lock(t.Context(), dir)
	refused(t, err, "is in use by process")
	require.ErrorIs(t, err, run.ErrInUse)
	create(t, dir, run.Fresh)
	put(t, run.ModelPath(dir, "0"))
	create(t, dir, run.Overwrite)
	require.Contains(t, other(), "is in use", "overwriting a run leaves the lock")
	unlock()
	require.Empty(t, other())

	file := filepath.Join(t.TempDir(), "file")
	put(t, file)
	_, err = run.Lock(t.Context(), file)
	refused(t, err, "cannot be a run folder")
}
