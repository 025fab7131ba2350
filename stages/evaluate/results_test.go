package evaluate_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
)

func row(task, subnet string, value float64, candidate, routed bool) evaluate.Row {
	return evaluate.Row{Task: task, Metric: "top1", Protocol: "knn", Subnet: subnet, Norm: route.NormTraining, Value: value, TestImages: 100, Candidate: candidate, Routed: routed}
}

// scored returns the row with other statistics and a routing score.
func scored(r evaluate.Row, norm string, score float64) evaluate.Row {
	r.Norm, r.Score = norm, score
	return r
}

func TestCollect(t *testing.T) {
	r := evaluate.Collect([]evaluate.Row{
		scored(row("b", "unified", 40, false, false), route.NormTraining, 41), scored(row("b", "unified", 44, false, false), route.NormTask, 43), row("b", "random", 15, false, false), row("b", "root", 50, true, false), row("b", "0", 60, true, true), row("b", "1", 70, true, false),
		scored(row("a", "unified", 20, false, false), route.NormTraining, 25), scored(row("a", "unified", 28, false, false), route.NormTask, 24), scored(row("a", "root", 30, true, true), route.NormTask, 50), row("a", "0", 10, true, false), row("a", "1", 20, true, false),
	}, []evaluate.Dead{{Task: "c", Reason: "no label"}})
	var out bytes.Buffer
	require.NoError(t, r.WriteJSON(&out))
	require.JSONEq(t, `{
	  "tasks": [
	    {"name": "a", "metric": "top1", "protocol": "knn", "random": null, "unified": 20, "unified_best_norm": 20, "unified_subset_batches": null, "routed": 30, "subnet": "root", "norm": "task", "mean": 20, "oracle": 30, "test_images": 100},
	    {"name": "b", "metric": "top1", "protocol": "knn", "random": 15, "unified": 40, "unified_best_norm": 44, "unified_subset_batches": null, "routed": 60, "subnet": "0", "norm": "training", "mean": 60, "oracle": 70, "test_images": 100}
	  ],
	  "mean": {"knn": {"random": null, "unified": 30, "unified_best_norm": 32, "unified_subset_batches": null, "routed": 45, "mean": 40, "oracle": 50}},
	  "dead": [{"task": "c", "reason": "no label"}]
	}`, out.String())

	out.Reset()
	require.NoError(t, r.WriteCSV(&out))
	require.Contains(t, out.String(), "b,top1,knn,15.0000,40.0000,44.0000,,60.0000,,0,training,60.0000,70.0000,100\n")
	out.Reset()
	require.NoError(t, r.WriteTable(&out))
	require.Contains(t, out.String(), "45.0")
	require.Contains(t, out.String(), " - ", "a missing result")
	require.Contains(t, out.String(), "random")
	require.Contains(t, out.String(), "task c was left out: no label\n")
}

// A run without sub-nets has results for its unified net only.
func TestCollectUnifiedOnly(t *testing.T) {
	r := evaluate.Collect([]evaluate.Row{row("a", "unified", 20, true, true)}, nil)
	require.Equal(t, "unified", r.Tasks[0].Subnet)
	require.Equal(t, 20., *r.Tasks[0].Routed)
	require.Nil(t, r.Mean["knn"].UnifiedSubsetBatches)
	var out bytes.Buffer
	require.NoError(t, r.WriteTable(&out))
	require.NotContains(t, out.String(), "random")
	_, err := json.Marshal(r)
	require.NoError(t, err)
}

// Results of several protocols are in the order in which the protocols are listed.
func TestOrderOfProtocols(t *testing.T) {
	var rows []evaluate.Row
	for _, protocol := range []string{"fewshot1", "linear", "finetune", "knn"} {
		r := row("a", "unified", 50, false, false)
		r.Protocol = protocol
		rows = append(rows, r)
	}
	var found []string
	for _, task := range evaluate.Collect(rows, nil).Tasks {
		found = append(found, task.Protocol)
	}
	require.Equal(t, []string{"knn", "linear", "fewshot1", "finetune"}, found)
}
