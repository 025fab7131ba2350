package pipelines

import (
	"context"
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
