package files

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// appendTime is the time between uploads of a file that is appended to.
var appendTime = 30 * time.Second

// Append opens a file to write at its end, and creates it and its folder if needed. Object stores cannot append: there, the
// whole file is kept in memory and uploaded every 30 seconds, if there is something new, and when it is closed. One program
// at a time may append to a file.
func Append(ctx context.Context, path string) (io.WriteCloser, error) {
	if IsLocal(path) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, err
		}
		return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	}
	before, err := Read(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	a := &appender{ctx: context.WithoutCancel(ctx), path: path, content: before, uploaded: len(before), done: make(chan struct{})}
	a.wait.Go(a.uploadRegularly)
	return a, nil
}

// appender is a file on an object store that is appended to.
type appender struct {
	ctx  context.Context
	path string
	done chan struct{}
	wait sync.WaitGroup

	mu       sync.Mutex
	content  []byte
	uploaded int // bytes of it
	closed   bool
}

// Write implements [io.Writer].
func (a *appender) Write(p []byte) (int, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return 0, fmt.Errorf("write %s: %w", a.path, fs.ErrClosed)
	}
	a.content = append(a.content, p...)
	return len(p), nil
}

// Close implements [io.Closer].
func (a *appender) Close() error {
	a.mu.Lock()
	closed := a.closed
	a.closed = true
	a.mu.Unlock()
	if closed {
		return fmt.Errorf("close %s: %w", a.path, fs.ErrClosed)
	}
	close(a.done)
	a.wait.Wait()
	return a.upload()
}

func (a *appender) uploadRegularly() {
	for {
		select {
		case <-a.done:
			return
		case <-time.After(appendTime):
			if err := a.upload(); err != nil {
				slog.Debug("a file cannot be uploaded now", "error", err) // it is tried again
			}
		}
	}
}

// upload writes the file if there is something new. It is not called from several goroutines.
func (a *appender) upload() error {
	a.mu.Lock()
	content := a.content // what is there does not change
	a.mu.Unlock()
	if len(content) == a.uploaded {
		return nil
	}
	err := WriteBytes(a.ctx, a.path, content)
	if err == nil {
		a.uploaded = len(content)
	}
	return err
}
