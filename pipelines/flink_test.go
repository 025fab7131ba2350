package pipelines_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
)

// TestFlink checks the requests to Flink's REST service: how many slots there are, and that a job, and no other, is
// canceled and has ended when Cancel returns.
func TestFlink(t *testing.T) {
	type job struct {
		ID    string `json:"jid"`
		Name  string `json:"name"`
		State string `json:"state"`
		End   int64  `json:"end-time"`
	}
	jobs := []*job{
		{"a", "sdr0mine-root-0101-1", "RUNNING", -1}, {"b", "sdr0minealso-root-0101-2", "RUNNING", -1}, {"c", "sdr0mine-root-0101-3", "FINISHED", 7},
	}
	var asked []string
	looks := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/overview":
			_, _ = w.Write([]byte(`{"taskmanagers":2,"slots-total":3}`))
		case r.URL.Path == "/jobs/overview":
			switch looks++; looks {
			case 13:
				jobs[0].Name = "sdr0late-root"
			case 3, 15:
				jobs[0].State, jobs[0].End = "CANCELED", 9
			}
			_ = json.NewEncoder(w).Encode(map[string]any{"jobs": jobs})
		case r.Method == http.MethodPatch && r.URL.Query().Get("mode") == "cancel":
			asked = append(asked, r.URL.Path)
			w.WriteHeader(http.StatusAccepted)
		default:
			http.Error(w, "no such page", http.StatusNotFound)
		}
	}))
	defer server.Close()
	flink := &pipelines.Flink{Address: strings.TrimPrefix(server.URL, "http://")}
	slots, err := flink.Slots(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, slots)
	require.NoError(t, flink.Cancel(t.Context(), "SDR-mine", 0))
	require.Equal(t, []string{"/jobs/a"}, asked, "asked once, until it has ended")
	require.Equal(t, 3, looks)

	jobs[0].End, asked = -1, nil
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorContains(t, flink.Cancel(ctx, "sdr-mine", 0), "the job has not ended yet")
	require.Equal(t, []string{"/jobs/a"}, asked)

	// a job that the job server still prepares
	looks, asked = 10, nil
	jobs[0].Name = "sdr0mine0too"
	require.NoError(t, flink.Cancel(t.Context(), "sdr-mine", 0))
	require.Empty(t, asked)
	jobs[2].End, looks = 7, 10
	jobs[2].Name = "another"
	require.NoError(t, flink.Cancel(t.Context(), "sdr-late", time.Minute))
	require.Equal(t, []string{"/jobs/a"}, asked)

	_, err = (&pipelines.Flink{Address: flink.Address + "/none"}).Slots(t.Context())
	require.ErrorContains(t, err, "404 Not Found: no such page")
	server.Close()
	_, err = flink.Slots(t.Context())
	require.Error(t, err)
}
