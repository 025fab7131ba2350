package customize_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the stage must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/customize"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestMain(m *testing.M) { ptest.Main(m) }

const fixtures = "../../testdata/fixtures/folder"

// newNets returns a tiny recipe and untrained nets of it.
func newNets(t *testing.T, names ...string) (*recipe.Recipe, []train.Model) {
	r, err := recipe.Load("smoke", []string{"train.batch=16", "train.norm_images=64", "input.crop=12"})
	require.NoError(t, err)
	dir := t.TempDir()
	layout := nn.NewLayout(r.Backbone, r.Heads())
	var models []train.Model
	for i, name := range names {
		params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
		layout.Init(params, rng.New(uint64(i), rng.Weights))
		layout.InitStats(stats)
		key, value := inference.Input{Size: r.Input.Size, Mean: r.Input.Mean, Std: r.Input.Std}.Metadata()
		m := train.Model{Subnet: name, Variant: train.SDR, Path: filepath.Join(dir, name+".safetensors")}
		require.NoError(t, files.Write(t.Context(), m.Path, func(w io.Writer) error {
			return nn.SaveModel(w, r.Backbone, r.Heads(), params, stats, map[string]string{key: value})
		}))
		models = append(models, m)
	}
	return r, models
}

// run customizes and returns the candidates of the routed net, then those of the others.
func run(t *testing.T, runner string, models []train.Model, scores []route.Score, cfg customize.Config) ([]customize.Candidate, error) {
	out := t.TempDir()
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, out, customize.Customize(s, beam.Create(s, record.Of(models)), beam.Create(s, record.Of(scores)), cfg))
	if _, err := beam.Run(t.Context(), runner, p); err != nil {
		return nil, err
	}
	var routed, others []customize.Candidate
	paths, err := filepath.Glob(filepath.Join(out, "*.arrow"))
	require.NoError(t, err)
	for _, path := range paths {
		require.NoError(t, arrowio.Each(t.Context(), path, func(b *record.Batch) error {
			rows, err := record.Rows[customize.Candidate](b)
			for _, r := range rows {
				if r.Start == customize.Routed {
					routed = append(routed, r)
				} else {
					others = append(others, r)
				}
			}
			return err
		}))
	}
	return append(routed, others...), nil
}

// TestCustomize checks what comes out on both local runners: the same versions, scores and files, the sub-net with the
// best score and the named net each trained within the budget, and the saved model being the chosen version.
func TestCustomize(t *testing.T) {
	r, models := newNets(t, "0", "1", "unified")
	of := []tasks.Task{{Name: "fruit", Train: fixtures + "/train", Test: "never read", Metric: tasks.Top1}}
	scores := []route.Score{{Scorer: "knn", Task: "fruit", Subnet: "0", Candidate: true, Score: 40, Model: models[0].Path}, {Scorer: "knn", Task: "fruit", Subnet: "1", Candidate: true, Score: 50, Model: models[1].Path}, {Scorer: "knn", Task: "other", Subnet: "0", Candidate: true, Score: 90}}
	var want []customize.Candidate
	saved := map[string][]byte{}
	for _, runner := range []string{"prism", "direct"} {
		cfg := customize.Config{Tasks: of, Nets: []string{"unified"}, Dir: t.TempDir(), Metrics: t.TempDir(), Recipe: string(r.Marshal()), Rates: []float64{.1, .01}, Images: 800}
		got, err := run(t, runner, models, scores, cfg)
		require.NoError(t, err)
		require.Len(t, got, 8)
		chosen := 0
		for i, c := range got {
			require.Equal(t, "fruit", c.Task)
			require.Equal(t, []string{"1", "unified"}[i/4], c.Subnet)
			require.Equal(t, []string{customize.Routed, "unified"}[i/4], c.Start)
			require.Equal(t, []string{customize.AsIs, "statistics of the task", "trained at 0.1", "trained at 0.01"}[i%4], c.Candidate)
			require.EqualValues(t, []int{0, 0, 400, 400}[i%4], c.Images, "25 steps of 16 images per rate fit into the budget")
			require.Equal(t, i%4 == 0, c.Norm() == route.NormTraining)
			require.Equal(t, c.Images > 0, c.Seconds > 0)
			got[i].Seconds = 0
			require.Equal(t, c.Chosen, c.Model != "")
			if !c.Chosen {
				continue
			}
			chosen++
			m, err := inference.Load(t.Context(), c.Model)
			require.NoError(t, err)
			require.Equal(t, r.Heads(), m.Heads)
			data, err := os.ReadFile(c.Model)
			require.NoError(t, err)
			if saved[c.Start] != nil {
				require.Equal(t, saved[c.Start], data)
			}
			saved[c.Start] = data
			got[i].Model = filepath.Base(c.Model)
		}
		require.Equal(t, 2, chosen)
		for _, name := range []string{"fruit/1-0.1", "fruit/1-0.01", "fruit/unified-0.1", "fruit/unified-0.01"} {
			points, err := curves.ReadPoints(t.Context(), cfg.Metrics, name)
			require.NoError(t, err)
			require.Len(t, points, 1)
			require.Equal(t, curves.Every-1, points[0].Step)
			events, err := filepath.Glob(filepath.Join(curves.EventsDir(cfg.Metrics, name), "*"))
			require.NoError(t, err)
			require.Len(t, events, 1)
		}
		if want != nil {
			require.Equal(t, want, got)
		}
		want = got
	}

	of[0].Metric = tasks.MeanAP
	ranked, err := run(t, "prism", models, scores, customize.Config{Tasks: of, Dir: t.TempDir(), Metrics: t.TempDir(), Recipe: string(r.Marshal()), Rates: []float64{.1}, Images: 16})
	require.NoError(t, err)
	require.Len(t, ranked, 3)
	require.NotEqual(t, want[0].Score, ranked[0].Score)
	require.Positive(t, ranked[2].Error)
	of[0].Metric = tasks.Top1

	timed := customize.Config{Tasks: of, Dir: t.TempDir(), Metrics: t.TempDir(), Recipe: string(r.Marshal()), Rates: []float64{.01}, Seconds: .05}
	got, err := run(t, "prism", models, scores, timed)
	require.NoError(t, err)
	require.Positive(t, got[2].Images)
	require.Zero(t, got[2].Images%16)
}

// TestDiverged leaves out the version of a rate at which the training diverges, and no other.
func TestDiverged(t *testing.T) {
	r, models := newNets(t, "0")
	got, err := run(t, "direct", models, []route.Score{{Scorer: "knn", Task: "fruit", Subnet: "0", Candidate: true, Model: models[0].Path}}, customize.Config{
		Tasks: []tasks.Task{{Name: "fruit", Train: fixtures + "/train", Metric: tasks.Top1}}, Dir: t.TempDir(), Metrics: t.TempDir(),
		Recipe: string(r.Marshal()), Rates: []float64{1e30, .01}, Images: 128,
	})
	require.NoError(t, err)
	var versions []string
	for _, c := range got {
		versions = append(versions, c.Candidate)
	}
	require.Equal(t, []string{customize.AsIs, "statistics of the task", "trained at 0.01"}, versions)
}

func TestErrors(t *testing.T) {
	r, models := newNets(t, "0")
	of := []tasks.Task{{Name: "fruit", Train: fixtures + "/train", Metric: tasks.Top1}}
	scores := []route.Score{{Scorer: "knn", Task: "fruit", Subnet: "0", Candidate: true, Score: 40, Model: models[0].Path}}
	cfg := customize.Config{Tasks: of, Dir: t.TempDir(), Metrics: t.TempDir(), Recipe: string(r.Marshal()), Rates: []float64{.1}, Images: 16}
	_, err := run(t, "prism", models, nil, cfg)
	require.ErrorContains(t, err, "the router scored no net for task fruit")
	named := cfg
	named.Nets = []string{"unified"}
	_, err = run(t, "prism", models, scores, named)
	require.ErrorContains(t, err, `there is no net "unified"`)
	other, err := r.With(map[string]any{"backbone": map[string]any{"width": 8}})
	require.NoError(t, err)
	named = cfg
	named.Recipe = string(other.Marshal())
	_, err = run(t, "prism", models, scores, named)
	require.ErrorContains(t, err, "task fruit, net 0: the model is not of the run's recipe")
}
