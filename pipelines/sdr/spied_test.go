//go:build !local

package main

import (
	"context"
	"io"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/stretchr/testify/require"
)

// spied is the filesystem in the memory of this process under another scheme. It notes who opens the test images of tasks.
type spied struct {
	filesystem.Interface
	mu       sync.Mutex
	read     int
	breaches []string // the stacks of those who may not
}

var spy = &spied{}

func init() {
	filesystem.Register("spied", func(ctx context.Context) filesystem.Interface {
		memory, err := filesystem.New(ctx, "memfs://")
		if err != nil {
			panic(err)
		}
		spy.Interface = memory
		return spy
	})
}

// mayRead are the functions that may read test images: what checks tasks before a training, the evaluator, and the report,
// which shows some of those that it got wrong.
var mayRead = []string{"/transforms/tasks.Check(", "/stages/evaluate.", "/stages/report."}

func (s *spied) open(path string) {
	if !strings.Contains(path, "/test/") && !strings.Contains(path, "-test.") {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.read++
	stack := string(debug.Stack())
	for _, name := range mayRead {
		if strings.Contains(stack, name) {
			return
		}
	}
	s.breaches = append(s.breaches, path+"\n"+stack)
}

// check fails if anything but the evaluator read test images, or if nothing did.
func (s *spied) check(t *testing.T) {
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Empty(t, s.breaches)
	require.NotZero(t, s.read)
}

func toMemory(path string) string { return strings.Replace(path, "spied://", "memfs://", 1) }

func (s *spied) List(ctx context.Context, glob string) ([]string, error) {
	found, err := s.Interface.List(ctx, toMemory(glob))
	for i, path := range found {
		found[i] = strings.Replace(path, "memfs://", "spied://", 1)
	}
	return found, err
}

func (s *spied) OpenRead(ctx context.Context, path string) (io.ReadCloser, error) {
	s.open(path)
	return s.Interface.OpenRead(ctx, toMemory(path))
}

func (s *spied) OpenWrite(ctx context.Context, path string) (io.WriteCloser, error) {
	return s.Interface.OpenWrite(ctx, toMemory(path))
}

func (s *spied) Size(ctx context.Context, path string) (int64, error) {
	return s.Interface.Size(ctx, toMemory(path))
}

func (s *spied) LastModified(ctx context.Context, path string) (time.Time, error) {
	return s.Interface.(filesystem.LastModifiedGetter).LastModified(ctx, toMemory(path))
}

func (s *spied) Rename(ctx context.Context, from, to string) error {
	return s.Interface.(filesystem.Renamer).Rename(ctx, toMemory(from), toMemory(to))
}

func (s *spied) Remove(ctx context.Context, path string) error {
	return s.Interface.(filesystem.Remover).Remove(ctx, toMemory(path))
}
