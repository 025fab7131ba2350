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

// setUpLog sends the log, including Beam's own warnings, to standard error, and shows progress there.
func setUpLog(c *cobra.Command) error {
	level, shown, err := logLevels(c)
	if err != nil {
		return err
	}
	logTo(level, textHandler(shown, os.Stderr))
	if shown <= slog.LevelInfo && term.IsTerminal(int(os.Stderr.Fd())) && os.Getenv("TERM") != "dumb" {
		progress.ShowBars(os.Stderr)
	}
	return nil
}

// logLevels reads the level of the log, and that of what standard error shows of it.
func logLevels(c *cobra.Command) (level, shown slog.Level, err error) {
	text, err := c.Flags().GetString("log-level")
	if err != nil {
		return 0, 0, err
	}
	quiet, err := c.Flags().GetBool("quiet")
	if err != nil {
		return 0, 0, err
	}
	if err := level.UnmarshalText([]byte(text)); err != nil {
		return 0, 0, run.Usagef("--log-level %s: want debug, info, warn or error", text)
	}
	if shown = level; quiet {
		shown = max(level, slog.LevelWarn)
	}
	return level, shown, nil
}

// logTo makes handlers that of the log. It gets what Beam logs at or above the level, warnings at least.
func logTo(level slog.Level, to ...slog.Handler) {
	slog.SetDefault(slog.New(&handler{slog.NewMultiHandler(to...)}))
	beamlog.SetLogger(&beamLogger{level: max(level, slog.LevelWarn)})
}

// textHandler writes lines of text, without colors.
func textHandler(level slog.Level, w io.Writer) slog.Handler {
	return slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: level,
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && a.Value.Kind() == slog.KindTime {
				a.Value = slog.StringValue(a.Value.Time().Format("15:04:05"))
			}
			return a
		},
	})
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
	level, shown, _ := logLevels(c) // setUpLog has validated them
	terminal := textHandler(shown, os.Stderr)
	logTo(level, terminal, textHandler(level, f))
	return func() {
		logTo(level, terminal)
		if err := f.Close(); err != nil {
			slog.Warn("the end of the log is not kept", "error", err)
		}
	}
}
