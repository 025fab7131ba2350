package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFullDisk runs on a disk that is full again and again: an error names the file, and with more room the run goes on to
// the same weights. On a disk that cannot be written, a run ends before the work.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	whole, disk := filepath.Join(dir, "whole"), filepath.Join(dir, "disk")
	require.NoError(t, os.Mkdir(disk, 0o755))
	mount := func(flags uintptr, options string) error {
		return syscall.Mount("tmpfs", disk, "tmpfs", flags, options)
	}
	if err := mount(0, "size=64k"); errors.Is(err, syscall.EPERM) {
		t.Skip("only root mounts a small disk")
	} else {
		require.NoError(t, err)
	}
	defer func() { require.NoError(t, syscall.Unmount(disk, 0)) }()
	mustSDR(t, quickRun(whole)...)

	run := filepath.Join(disk, "run")
	full := 0
	for size := 64; ; size *= 2 {
		require.NoError(t, mount(syscall.MS_REMOUNT, fmt.Sprintf("size=%dk", size)))
		_, log, code := sdr(t, quickRun(run, "--resume")...)
		if code == 0 {
			break
		}
		lines := strings.Split(strings.TrimSpace(log), "\n")
		require.Equal(t, 1, code, log)
		require.Contains(t, lines[len(lines)-1], run+"/")
		require.Contains(t, lines[len(lines)-1], "no space left on device")
		full++
	}
	require.Greater(t, full, 2)
	sameWeights(t, weights(t, whole), weights(t, run))

	require.NoError(t, mount(syscall.MS_REMOUNT|syscall.MS_RDONLY, ""))
	_, log, code := sdr(t, quickRun(filepath.Join(disk, "new"))...)
	require.Equal(t, 2, code, log)
	require.Regexp(t, "^sdr: .*"+filepath.Join(disk, "new")+".*read-only file system.*\n$", log)
}
