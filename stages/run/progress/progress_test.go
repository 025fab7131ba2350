package progress_test

import (
	"bytes"
	"log/slog"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/progress"
)

// buffer is a writer for several goroutines.
type buffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// capture runs a test on a clock that only advances when all goroutines sleep, and returns the log lines without the
// time.
func capture(t *testing.T, test func()) (lines []string) {
	var log buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == slog.LevelKey {
			return slog.Attr{}
		}
		return a
	}})))
	defer slog.SetDefault(before)
	synctest.Test(t, func(*testing.T) { test() })
	return strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
}

// TestRunning starts two tasks, of which one has figures.
func TestRunning(t *testing.T) {
	capture(t, func() {
		loss := &progress.Figure{Format: "%.1f", Value: 2}
		require.Equal(t, "2.0", loss.String())
		train, other := progress.Start("train", "images", 10, 100), progress.Start("other", "bins", 0, 2)
		require.Equal(t, []progress.State{{Name: "train", Unit: "images", Done: 10, Total: 100}, {Name: "other", Unit: "bins", Total: 2}}, progress.Running())
		time.Sleep(progress.Interval)
		train.Add(5, "loss", loss, "of", "sdr")
		loss.Value = 1
		other.End()
		require.Equal(t, []progress.State{{Name: "train", Unit: "images", Done: 15, Total: 100, Figures: map[string]float64{"loss": 2}}}, progress.Running())
		train.End()
		require.Empty(t, progress.Running())
	})
}

func TestLines(t *testing.T) {
	lines := capture(t, func() {
		task := progress.Start("train", "images", 0, 100)
		for i := range 12 {
			time.Sleep(time.Second)
			task.Add(5, "loss", i)
		}
		require.InDelta(t, 5, task.Rate(), 1e-9)
		time.Sleep(8 * time.Second)
		task.Add(40)
		task.End()
	})
	require.Equal(t, []string{
		"msg=train done=25 of=100 images/s=5.0 left=15s loss=4",
		"msg=train done=50 of=100 images/s=5.0 left=10s loss=9",
		"msg=train done=100 of=100 images/s=5.0",
	}, lines)
}

// TestResumed checks that units done earlier do not count toward the speed.
func TestResumed(t *testing.T) {
	lines := capture(t, func() {
		task := progress.Start("train", "images", 1_000_000, 1_000_100)
		time.Sleep(10 * time.Second)
		require.Zero(t, task.Rate())
		task.Add(5)
		require.InDelta(t, .5, task.Rate(), 1e-9)
		task.End()
	})
	want := "msg=train done=1000005 of=1000100 images/s=0.5 left=3m10s"
	require.Equal(t, []string{want}, lines)
}

// TestNothingDone checks that a task without progress logs no remaining time.
func TestNothingDone(t *testing.T) {
	lines := capture(t, func() { progress.Start("ingest", "images", 0, 10).End() })
	require.Equal(t, []string{"msg=ingest done=0 of=10 images/s=0.0"}, lines)
	lines = capture(t, func() { progress.Start("ingest", "images", 0, 0).End() })
	require.Equal(t, []string{"msg=ingest done=0 of=0 images/s=0.0"}, lines)
}

// frames runs a task on a terminal and returns what was drawn.
func frames(t *testing.T, test func()) (drawn, logged []string) {
	var terminal buffer
	progress.ShowBars(&terminal)
	defer progress.ShowBars(nil)
	logged = capture(t, test)
	for frame := range strings.SplitSeq(terminal.String(), "\r") {
		if frame = regexp.MustCompile(`[ █]+`).ReplaceAllString(frame, " "); frame != "" && frame != " " {
			drawn = append(drawn, frame)
		}
	}
	return drawn, logged
}

func TestBar(t *testing.T) {
	drawn, logged := frames(t, func() {
		task := progress.Start("train", "images", 600, 1000)
		for range 40 {
			time.Sleep(100 * time.Millisecond)
			task.Add(10, "loss", 1.5)
		}
		task.End()
	})
	require.Contains(t, drawn[0], "train 60% | | (600/1000)")
	require.Contains(t, strings.Join(drawn, "\n"), "train images/s 100.0 left 2s loss 1.5 80% | | (800/1000)")
	require.Less(t, len(drawn), 50, "a drawing every 200 ms")
	require.Equal(t, []string{"msg=train done=1000 of=1000 images/s=100.0 loss=1.5"}, logged)
}

// TestBarCutShort checks that an unfinished bar is removed and the log says how far it got, and that a bar of length
// zero or with too many units does no harm.
func TestBarCutShort(t *testing.T) {
	_, logged := frames(t, func() {
		for _, total := range []int64{0, 10, 100} {
			task := progress.Start("train", "images", 0, total)
			time.Sleep(time.Second)
			task.Add(50)
			task.End()
		}
	})
	require.Equal(t, []string{
		"msg=train done=50 of=0 images/s=50.0",
		"msg=train done=50 of=10 images/s=50.0",
		"msg=train done=50 of=100 images/s=50.0 left=1s",
	}, logged)
}

func TestConcurrentAdd(t *testing.T) {
	count := func() {
		task := progress.Start("work", "items", 0, 8000)
		var group sync.WaitGroup
		for range 8 {
			group.Go(func() {
				for range 1000 {
					time.Sleep(time.Millisecond)
					task.Add(1, "detail", 1)
					task.Rate()
				}
			})
		}
		group.Wait()
		task.End()
	}
	lines := capture(t, count)
	require.Equal(t, "msg=work done=8000 of=8000 items/s=8000.0 detail=1", lines[len(lines)-1])
	_, lines = frames(t, count)
	require.Equal(t, []string{"msg=work done=8000 of=8000 items/s=8000.0 detail=1"}, lines)
}

// TestNote checks that Note logs at most one line per Interval and counts every call.
func TestNote(t *testing.T) {
	lines := capture(t, func() {
		for i := range 12 {
			progress.Note("route", "score", i)
			time.Sleep(time.Second)
		}
	})
	require.Equal(t, []string{"msg=route done=1 score=0", "msg=route done=6 score=5", "msg=route done=11 score=10"}, lines)
}
