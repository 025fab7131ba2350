package curves

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	"github.com/stretchr/testify/require"
)

// What was written is read; a damaged file is named.
func TestEpochs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "metrics.jsonl")
	_, err := Read[Epoch](t.Context(), path)
	require.ErrorIs(t, err, fs.ErrNotExist)
	all := []Epoch{{Epoch: 1, Step: 10, LR: .1, Loss: 2.5, Time: 1.25}, {Epoch: 2, Step: 20, LR: .05, Loss: 1.5, Validation: new(75.)}}
	for range 2 { // the second training replaces the first
		log := NewEpochs(path)
		require.NoError(t, log.Write(t.Context(), all[:1]))
		require.NoError(t, log.Write(t.Context(), all))
		require.NoError(t, log.Close())
	}
	events, err := filepath.Glob(filepath.Join(EpochEventsDir(path), "events.*"))
	require.NoError(t, err)
	require.Len(t, events, 1)
	text, err := os.ReadFile(events[0])
	require.NoError(t, err)
	require.Equal(t, 1, bytes.Count(text, []byte("validation")))
	require.Equal(t, 2, bytes.Count(text, []byte("loss")))
	got, err := Read[Epoch](t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, all, got)
	require.NoError(t, os.Truncate(path, 60))
	_, err = Read[Epoch](t.Context(), path)
	require.ErrorContains(t, err, path)
}

// A point has the means of its steps; a curve goes on from the points of before a step, and with the steps after the last.
func TestCurve(t *testing.T) {
	ctx, dir := t.Context(), t.TempDir()
	whole := New(dir, "a/b", 50)
	require.NoError(t, whole.Resume(ctx, dir, "a/b", 50), "there is nothing yet")
	add := func(c *Curve, from, to int) {
		for step := from; step < to; step++ {
			c.Add(Point{Step: step, Loss: float64(step), Std: 2, LR: float64(step), Time: float64(100 + step), Wait: .5})
		}
	}
	add(whole, 0, 50)
	require.False(t, whole.Due())
	require.NoError(t, whole.Write(ctx))
	require.NoError(t, whole.Close())
	want := []Point{{Step: 19, Loss: 9.5, Std: 2, LR: 19, Time: 119, Wait: .5}, {Step: 39, Loss: 29.5, Std: 2, LR: 39, Time: 139, Wait: .5}}
	got, err := ReadPoints(ctx, dir, "a/b")
	require.NoError(t, err)
	require.Equal(t, want, got)

	rest := New(dir, "c", 50)
	require.NoError(t, rest.Resume(ctx, dir, "a/b", 30))
	add(rest, 20, 30)
	later := New(dir, "c", 50)
	require.NoError(t, later.Resume(ctx, dir, "a/b", 30))
	later.Sum, later.Count = rest.Sum, rest.Count
	add(later, 30, 50)
	require.NoError(t, later.Write(ctx))
	require.NoError(t, later.Close())
	got, err = ReadPoints(ctx, dir, "c")
	require.NoError(t, err)
	require.Equal(t, want, got)
}
