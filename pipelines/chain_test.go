package pipelines

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/record"
)

// TestNotes checks that a step's notes are in its manifest only.
func TestNotes(t *testing.T) {
	folder, err := run.Create(t.Context(), t.TempDir(), run.Fresh, run.Info{ID: uuid.New(), Version: "test"}, nil)
	require.NoError(t, err)
	build := func(s beam.Scope, _ []beam.PCollection) beam.PCollection {
		return beam.Create(s, record.Of([]shards.Ref{{Path: "a"}}))
	}
	c := chain{folder: folder, runner: "direct", steps: []step{
		{name: "noted", inputs: "1", build: build, notes: func(context.Context) ([]string, error) { return []string{"one", "two"}, nil }},
		{name: "plain", inputs: "2", build: build},
	}}
	require.NoError(t, c.run(t.Context()))
	for name, want := range map[string][]string{"noted": {"one", "two"}, "plain": nil} {
		m, err := folder.ReadManifest(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, m.Notes)
	}
}

// TestLost checks that a step runs again if one of its outputs is needed and gone or damaged.
func TestLost(t *testing.T) {
	folder, err := run.Create(t.Context(), t.TempDir(), run.Fresh, run.Info{ID: uuid.New(), Version: "test"}, nil)
	require.NoError(t, err)
	var ran []string
	add := func(name string, needs ...string) step {
		return step{name: name, needs: needs, inputs: "1", build: func(s beam.Scope, in []beam.PCollection) beam.PCollection {
			ran = append(ran, name)
			if len(in) > 0 {
				return in[0]
			}
			return beam.Create(s, record.Of([]shards.Ref{{Path: name}}), record.Of([]shards.Ref{{Path: name, Batch: 1}}))
		}}
	}
	c := chain{folder: folder, runner: "direct", steps: []step{add("first"), add("second", "first"), add("third", "second")}, results: []string{"third"}}
	outputs := func(name string) []string {
		paths, err := filepath.Glob(filepath.Join(c.out(name), "*.arrow"))
		require.NoError(t, err)
		require.Len(t, paths, 2)
		return paths
	}
	runs := func(want ...string) {
		t.Helper()
		ran = nil
		require.NoError(t, c.run(t.Context()))
		require.Equal(t, want, ran)
		for _, st := range c.steps {
			outputs(st.name)
		}
	}
	damage := func(path string) {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		data[len(data)/2] ^= 4
		require.NoError(t, os.WriteFile(path, data, 0o644))
	}
	runs("first", "second", "third")
	runs()
	require.NoError(t, os.Remove(outputs("third")[1]))
	runs("third")
	damage(outputs("first")[0])
	runs()
	damage(outputs("third")[0])
	damage(outputs("second")[0])
	runs("first", "second", "third")
	runs()
}
