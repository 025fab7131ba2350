package main

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLog logs an attribute that has the name of the record's time.
func TestLog(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var out bytes.Buffer
	logTo(slog.LevelInfo, textHandler(slog.LevelInfo, &out))
	slog.Info("done", "time", 2*time.Second)
	require.Regexp(t, `^time=\d\d:\d\d:\d\d level=INFO msg=done time=2s\n$`, out.String())
}

// TestQuiet shows warnings only, and keeps all of the log.
func TestQuiet(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var shown, kept bytes.Buffer
	root := newRoot()
	require.NoError(t, root.ParseFlags([]string{"--quiet"}))
	level, less, err := logLevels(root)
	require.NoError(t, err)
	logTo(level, textHandler(less, &shown), textHandler(level, &kept))
	slog.Debug("details")
	slog.Info("stage starts")
	slog.Warn("collapsing")
	require.Equal(t, 1, strings.Count(shown.String(), "\n"))
	require.Contains(t, shown.String(), "msg=collapsing")
	require.Equal(t, 2, strings.Count(kept.String(), "\n"))
	require.NotContains(t, kept.String(), "\x1b", "no colors")

	require.NoError(t, root.ParseFlags([]string{"--log-level", "error"}))
	_, less, err = logLevels(root)
	require.NoError(t, err)
	require.Equal(t, slog.LevelError, less)
	require.NoError(t, root.ParseFlags([]string{"--log-level", "loud"}))
	_, _, err = logLevels(root)
	require.ErrorContains(t, err, "--log-level loud: want debug, info, warn or error")
}
