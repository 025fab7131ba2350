package pipelines

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// scrape returns the lines of the metrics with their values.
func scrape(t *testing.T) map[string]float64 {
	got := httptest.NewRecorder()
	MetricsHandler().ServeHTTP(got, httptest.NewRequest("GET", "/metrics", nil))
	require.Equal(t, 200, got.Code)
	values := map[string]float64{}
	for line := range strings.Lines(got.Body.String()) {
		if at := strings.LastIndexByte(line, ' '); line[0] != '#' {
			value, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64)
			require.NoError(t, err)
			values[line[:at]] = value
		}
	}
	return values
}

// TestMetrics runs a job that reads images, one of which is damaged, twice, and scrapes what that adds to the counters of
// other tests.
func TestMetrics(t *testing.T) {
	const images, dead = `sdr_beam_counter_total{name="images",namespace="imageio"}`, `sdr_beam_counter_total{name="dead_letters",namespace="imageio"}`
	damaged := filepath.Join(t.TempDir(), "damaged.jpg")
	require.NoError(t, os.WriteFile(damaged, []byte{0xff, 0xd8, 0xff}, 0o644))
	before := scrape(t)
	for range 2 {
		p, s := beam.NewPipelineWithRoot()
		imageio.Read(s, "../testdata/fixtures/folder", damaged)
		require.NoError(t, runPipeline(t.Context(), "prism", p))
	}
	task := progress.Start("train sdr", "images", 5, 20)
	defer task.End()
	after := scrape(t)
	require.EqualValues(t, 2*36, after[images]-before[images])
	require.EqualValues(t, 2, after[dead]-before[dead])
	require.EqualValues(t, 5, after[`sdr_task_done{task="train sdr",unit="images"}`])
	require.EqualValues(t, 20, after[`sdr_task_total{task="train sdr",unit="images"}`])
}
