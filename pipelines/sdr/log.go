package main

import (
	"context"
	"io"
	"log/slog"
	"os"
	"runtime"
	"strings"

	beamlog "github.com/apache/beam/sdks/v2/go/pkg/beam/log"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/transforms/files"
)

// setUpLog sends the log, including Beam's own warnings, to standard error.
func setUpLog(c *cobra.Command) error {
	text, err := c.Flags().GetString("log-level")
	if err != nil {
		return err
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return run.Usagef("--log-level %s: want debug, info, warn or error", text)
	}
	logTo(level, os.Stderr)
	if term.IsTerminal(int(os.Stderr.Fd())) {
		progress.ShowBars(os.Stderr)
	}
	return nil
}

func logTo(level slog.Level, w io.Writer) {
	slog.SetDefault(slog.New(&handler{Handler: slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				a.Value = slog.StringValue(a.Value.Time().Format("15:04:05"))
			}
			return a
		},
	})}))
	beamlog.SetLogger(&beamLogger{level: max(level, slog.LevelWarn)})
}

// handler drops what Beam's in-process runner logs about itself.
type handler struct{ slog.Handler }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	caller, _ := runtime.CallersFrames([]uintptr{r.PC}).Next() // zero for logs of prism's workers
	fromBeam := caller.Function == "" || strings.HasPrefix(caller.Function, "github.com/apache/beam/")
	if fromBeam && !h.Enabled(ctx, slog.LevelDebug) {
		return nil // failures are reported by the job's error
	}
	return h.Handler.Handle(ctx, r)
}

// beamLogger forwards Beam's log messages at or above a level.
type beamLogger struct{ level slog.Level }

func (l *beamLogger) Log(ctx context.Context, severity beamlog.Severity, _ int, message string) {
	level := slog.LevelDebug
	switch {
	case severity >= beamlog.SevError:
		level = slog.LevelError
	case severity >= beamlog.SevWarn:
		level = slog.LevelWarn
	}
	if level >= l.level {
		slog.Log(ctx, level, strings.TrimSpace(message))
	}
}

// keepLog also appends the log to a file in the folder, or goes on without if it cannot.
func keepLog(c *cobra.Command, folder *run.Folder) (close func()) {
	f, err := files.Append(c.Context(), folder.LogPath())
	if err != nil {
		slog.Warn("the log is not kept", "error", err)
		return func() {}
	}
	text, _ := c.Flags().GetString("log-level")
	var level slog.Level
	_ = level.UnmarshalText([]byte(text)) // setUpLog has validated it
	logTo(level, io.MultiWriter(os.Stderr, f))
	return func() {
		logTo(level, os.Stderr)
		if err := f.Close(); err != nil {
			slog.Warn("the end of the log is not kept", "error", err)
		}
	}
}
