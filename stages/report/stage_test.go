package report

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterFunction(paths)
}

func TestMain(m *testing.M) { ptest.Main(m) }

func paths(b *record.Batch, emit func(string)) error {
	written, err := record.Rows[File](b)
	for _, f := range written {
		emit(f.Path)
	}
	return err
}

// TestReport runs the stage on both local runners, with and without results.
func TestReport(t *testing.T) {
	for _, runner := range []string{"prism", "direct"} {
		t.Run(runner, func(t *testing.T) {
			ctx := context.Background()
			dir := t.TempDir()
			refs := writeShard(t, filepath.Join(dir, "shard.arrow"), []string{"0", "1"}, []int{3, 40})
			r, err := recipe.Load("smoke", nil)
			require.NoError(t, err)
			out := filepath.Join(dir, "out")
			_, err = run.Create(ctx, out, run.Fresh, run.Info{ID: uuid.New(), Version: "test"}, r.Marshal())
			require.NoError(t, err)
			require.NoError(t, files.WriteBytes(ctx, curves.Path(out, train.SDR), []byte("{\"step\":19,\"loss\":4,\"std\":0.1}\n{\"step\":39,\"loss\":3,\"std\":0.2}\n")))
			require.NoError(t, files.WriteBytes(ctx, filepath.Join(out, "metrics", "sdr-held-out.jsonl"), []byte(
				`{"subnet":"0.0","images":1280,"loss":3.75,"root_loss":3.5,"error":0.0625,"offered":false}`+
					`{"subnet":"0.1","images":1280,"loss":3.25,"root_loss":3.5,"error":0.0625,"offered":true}`)))

			runStage(t, runner, out, refs, []*record.Batch{record.Of(rows[:3]), record.Of(rows[3:])},
				filepath.Join(out, "report.html"), filepath.Join(out, "results.json"), filepath.Join(out, "results.csv"))
			doc := read(t, out)
			require.Equal(t, []string{"Results", "Training", "Subsets", "The run"}, texts(all(doc, "h2")))
			require.Equal(t, []string{"Subset 0, 3 images", "Subset 1, 40 images"}, texts(all(doc, "figcaption")))
			require.Equal(t, "32 images of subset 1", attr(all(doc, "img")[1], "alt"))
			require.Contains(t, text(doc), "1.0 points above the unified net")
			require.Contains(t, text(doc), "0.0: loss 3.7500 on 1280 held-out images, the root 3.5000, standard error of the difference 0.0625")
			require.NotContains(t, text(doc), "0.1: loss")
			json, err := os.ReadFile(filepath.Join(out, "results.json"))
			require.NoError(t, err)
			require.Contains(t, string(json), `"unified_subset_batches": 52`)

			bare := filepath.Join(dir, "bare")
			_, err = run.Create(ctx, bare, run.Fresh, run.Info{ID: uuid.New(), Version: "test"}, r.Marshal())
			require.NoError(t, err)
			runStage(t, runner, bare, nil, []*record.Batch{record.Of(rows[:0])}, filepath.Join(bare, "report.html"))
			require.Equal(t, []string{"The run"}, texts(all(read(t, bare), "h2")))
			require.NoFileExists(t, filepath.Join(bare, "results.json"))
		})
	}
}

func runStage(t *testing.T, runner, dir string, refs []shards.Ref, results []*record.Batch, want ...any) {
	t.Helper()
	p, s := beam.NewPipelineWithRoot()
	written := Report(s, beam.Create(s, record.Of(refs)), beam.CreateList(s, results), Config{Dir: dir})
	passert.Equals(s, beam.ParDo(s, paths, written), want...)
	_, err := beam.Run(context.Background(), runner, p)
	require.NoError(t, err)
}

// read parses the page that the stage wrote.
func read(t *testing.T, dir string) *html.Node {
	t.Helper()
	f, err := os.Open(filepath.Join(dir, "report.html"))
	require.NoError(t, err)
	defer f.Close()
	doc, err := html.Parse(f)
	require.NoError(t, err)
	return doc
}

// TestReportErrors checks that a folder that is not a run fails the pipeline.
func TestReportErrors(t *testing.T) {
	p, s := beam.NewPipelineWithRoot()
	dir := t.TempDir()
	Report(s, beam.Create(s, record.Of([]shards.Ref{})), beam.Create(s, record.Of([]evaluate.Row{})), Config{Dir: dir})
	require.ErrorContains(t, ptest.Run(p), "holds no run")
}
