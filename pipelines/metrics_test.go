package pipelines

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// TestMetrics runs a job that reads images, one of which is damaged, twice, and scrapes what there is then.
func TestMetrics(t *testing.T) {
	damaged := filepath.Join(t.TempDir(), "damaged.jpg")
	require.NoError(t, os.WriteFile(damaged, []byte{0xff, 0xd8, 0xff}, 0o644))
	for range 2 {
		p, s := beam.NewPipelineWithRoot()
		imageio.Read(s, "../testdata/fixtures/folder", damaged)
		require.NoError(t, runPipeline(t.Context(), "prism", p))
	}
	task := progress.Start("train sdr", "images", 5, 20)
	defer task.End()
	got := httptest.NewRecorder()
	MetricsHandler().ServeHTTP(got, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, got.Code)
	for _, line := range []string{
		`sdr_beam_counter_total{name="images",namespace="imageio"} 72`,
		`sdr_beam_counter_total{name="dead_letters",namespace="imageio"} 2`,
		`sdr_task_done{task="train sdr",unit="images"} 5`,
		`sdr_task_total{task="train sdr",unit="images"} 20`,
	} {
		require.Contains(t, got.Body.String(), line+"\n")
	}
}
