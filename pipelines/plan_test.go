package pipelines_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// Without splits there is no SDRnet to compare with the unified net, but the random net is a baseline of that, too.
func TestWithoutSplits(t *testing.T) {
	for baselines, want := range map[string][]string{
		"[]":                                {"ingest", "phase0"},
		"[unified, unified_subset_batches]": {"ingest", "phase0"},
		"[unified, random, unified_subset_batches]": {"ingest", "phase0", "random"},
	} {
		r, err := recipe.Load("quickstart", []string{"paths=1x1x1x1", "train.phases=[]", "train.baselines=" + baselines})
		require.NoError(t, err)
		var names []string
		for _, st := range pipelines.StagesOf(r) {
			names = append(names, st.Name)
		}
		require.Equal(t, want, names)
	}
}
