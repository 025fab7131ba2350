package main

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLog logs an attribute that has the name of the record's time.
func TestLog(t *testing.T) {
	before := slog.Default()
	defer slog.SetDefault(before)
	var out bytes.Buffer
	logTo(slog.LevelInfo, &out)
	slog.Info("done", "time", 2*time.Second)
	require.Regexp(t, `^time=\d\d:\d\d:\d\d level=INFO msg=done time=2s\n$`, out.String())
}
