package evaluate_test

import (
	"bytes"
	"cmp"
	"fmt"
	"image"
	"image/png"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the stages must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/logistic"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// newModels saves small random models: phase 0, two candidates and a baseline.
func newModels(t *testing.T) (models []train.Model) {
	for i, m := range []train.Model{
		{Subnet: train.Phase0, Variant: train.Phase0}, {Subnet: train.Root, Variant: train.SDR},
		{Subnet: "0", Variant: train.SDR, Level: 1}, {Subnet: "unified", Variant: "unified"},
	} {
		b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
		l := nn.NewLayout(b, nn.Heads{})
		params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
		l.Init(params, rand.New(rand.NewPCG(uint64(i), 1)))
		l.InitStats(stats)
		key, value := inference.Input{Size: 8, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.2, .2, .2}}.Metadata()
		m.Path = filepath.Join(t.TempDir(), m.Subnet+".safetensors")
		require.NoError(t, files.Write(t.Context(), m.Path, func(w io.Writer) error {
			return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
		}))
		models = append(models, m)
	}
	return models
}

const folder = "../../testdata/fixtures/folder"

// features loads and embeds one split without the stages.
func features(t *testing.T, pool *kernels.Pool, net labeled.Net, path string, classes []string) (*tasks.Images, *tensor.Dense) {
	im, err := tasks.Load(t.Context(), path, 8, classes)
	require.NoError(t, err)
	m, err := net.Open(t.Context())
	require.NoError(t, err)
	return im, inference.NewEmbedder(m, pool).Embed(im.Len(), im.At)
}

// readRows returns the rows of all files in a folder, sorted.
func readRows[T any](t *testing.T, dir string, key func(T) string) (all []T) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.arrow"))
	require.NoError(t, err)
	for _, path := range paths {
		require.NoError(t, arrowio.Each(t.Context(), path, func(b *record.Batch) error {
			rows, err := record.Rows[T](b)
			all = append(all, rows...)
			return err
		}))
	}
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(key(a), key(b)) })
	return all
}

// TestStages routes and evaluates on both local runners and compares the results with direct calls of the classifiers.
func TestStages(t *testing.T) {
	models := newModels(t)
	of := []tasks.Task{
		{Name: "fruit", Train: folder + "/train", Test: folder + "/test", Metric: tasks.Top1},
		{Name: "pets", Train: folder + "/test", Test: folder + "/train", Metric: tasks.MeanPerClass},
	}
	pool := kernels.NewPool(2)
	defer pool.Close()
	var wantScores, wantRows []string
	want := map[string][][]int64{} // labels and predictions under kNN
	judge := func(task tasks.Task, m train.Model, norm string, net labeled.Net) {
		im, x := features(t, pool, net, task.Train, nil)
		testIm, y := features(t, pool, net, task.Test, im.Classes)
		percent := func(pred, labels []int64) float64 {
			if task.Metric == tasks.MeanPerClass {
				return 100 * metrics.MeanPerClass(pred, labels, 3)
			}
			return 100 * metrics.Accuracy(pred, labels)
		}
		pred, err := nearest.LeaveOneOut(x, im.Labels, 3, nearest.Default)
		require.NoError(t, err)
		wantScores = append(wantScores, fmt.Sprintf("%s %s %s %v", task.Name, m.Subnet, norm, percent(pred, im.Labels)))
		pred, err = nearest.Classify(x, im.Labels, 3, y, nearest.Default)
		require.NoError(t, err)
		wantRows = append(wantRows, fmt.Sprintf("%s %s %s knn %v", task.Name, m.Subnet, norm, percent(pred, testIm.Labels)))
		want[task.Name+m.Subnet+norm] = [][]int64{testIm.Labels, pred}
		fitted, err := logistic.Fit(x, im.Labels, 3, logistic.Default)
		require.NoError(t, err)
		pred, err = fitted.Predict(y)
		require.NoError(t, err)
		wantRows = append(wantRows, fmt.Sprintf("%s %s %s linear %v", task.Name, m.Subnet, norm, percent(pred, testIm.Labels)))
	}
	for _, task := range of {
		for _, m := range models[1:] {
			judge(task, m, route.NormTraining, labeled.Net{Model: m.Path})
			judge(task, m, route.NormTask, labeled.Net{Model: m.Path, Norm: task.Train})
		}
	}
	both := []string{evaluate.KNN, evaluate.Linear}
	for _, runner := range []string{"prism", "direct"} {
		dir := t.TempDir()
		p, s := beam.NewPipelineWithRoot()
		nets := beam.Create(s, record.Of(models))
		scores := route.Route(s, nets, route.Config{Tasks: of, Scorers: evaluate.Scorers(both)})
		arrowio.WriteDir(s, dir+"/scores", scores)
		results := evaluate.Evaluate(s, nets, evaluate.Config{Tasks: of, Protocols: both})
		arrowio.WriteDir(s, dir+"/rows", evaluate.Mark(s, results, scores))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)

		var gotScores, gotRows []string
		for _, r := range readRows(t, dir+"/scores", func(s route.Score) string { return s.Task + s.Subnet + s.Norm }) {
			if r.Scorer != route.KNN {
				continue
			}
			gotScores = append(gotScores, fmt.Sprintf("%s %s %s %v", r.Task, r.Subnet, r.Norm, r.Score))
			require.Equal(t, r.Subnet == "0", r.Level == 1)
			require.Equal(t, r.Subnet != "unified", r.Candidate)
			require.Equal(t, r.Subnet+".safetensors", filepath.Base(r.Model))
		}
		require.ElementsMatch(t, wantScores, gotScores)
		rows := readRows(t, dir+"/rows", func(r evaluate.Row) string { return r.Task + r.Subnet + r.Norm + r.Protocol })
		routed := map[string]int{}
		for _, r := range rows {
			gotRows = append(gotRows, fmt.Sprintf("%s %s %s %s %v", r.Task, r.Subnet, r.Norm, r.Protocol, r.Value))
			require.EqualValues(t, 18, r.TestImages)
			require.Equal(t, r.Subnet != "unified", r.Candidate)
			if r.Routed {
				routed[r.Task]++
			}
			if r.Protocol == evaluate.KNN {
				labels, predicted := r.Classes()
				require.Equal(t, want[r.Task+r.Subnet+r.Norm], [][]int64{labels, predicted})
			}
		}
		require.ElementsMatch(t, wantRows, gotRows)
		require.Equal(t, map[string]int{"fruit": 2, "pets": 2}, routed, "one net per task, for both protocols")
	}
}

// TestFewShotAndFractions runs these protocols on both local runners and compares the results with direct calls.
func TestFewShotAndFractions(t *testing.T) {
	models := newModels(t)[1:2]
	of := []tasks.Task{{Name: "fruit", Train: folder + "/train", Test: folder + "/test", Metric: tasks.Top1}}
	pool := kernels.NewPool(2)
	defer pool.Close()
	im, x := features(t, pool, labeled.Net{Model: models[0].Path}, of[0].Train, nil)
	testIm, y := features(t, pool, labeled.Net{Model: models[0].Path}, of[0].Test, im.Classes)
	episodes := nearest.DefaultEpisodes
	episodes.Shots = 5
	accuracies, err := nearest.FewShot(x, im.Labels, y, testIm.Labels, episodes)
	require.NoError(t, err)
	mean, variance := 0., 0.
	for _, a := range accuracies {
		mean += a / 600
	}
	for _, a := range accuracies {
		variance += (a - mean) * (a - mean) / 599
	}
	for _, runner := range []string{"prism", "direct"} {
		dir := t.TempDir()
		p, s := beam.NewPipelineWithRoot()
		results := evaluate.Evaluate(s, beam.Create(s, record.Of(models)), evaluate.Config{Tasks: of, Protocols: []string{"fewshot5", "linear1pct"}})
		arrowio.WriteDir(s, dir+"/rows", results)
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		rows := readRows(t, dir+"/rows", func(r evaluate.Row) string { return r.Norm + r.Protocol })
		require.Len(t, rows, 4, "each with both statistics")
		few := rows[slices.IndexFunc(rows, func(r evaluate.Row) bool { return r.Norm == route.NormTraining && r.Protocol == "fewshot5" })]
		require.InDelta(t, 100*mean, few.Value, 1e-9)
		require.InDelta(t, 196*math.Sqrt(variance/600), few.Interval, 1e-9)
		require.Equal(t, accuracies, few.Scores)
		for _, r := range rows {
			images, episodes := 18, 0
			if r.Protocol == "fewshot5" {
				images, episodes = 0, 600 // episodes predict no class of an image
			}
			require.Len(t, r.Predicted, images)
			require.Len(t, r.Scores, episodes)
		}
	}
}

// writeSeveral writes images of the fixtures, each with the classes that its number has.
func writeSeveral(t *testing.T, path, from string) {
	im, err := tasks.Load(t.Context(), from, 8, nil)
	require.NoError(t, err)
	b := array.NewRecordBuilder(record.Mem, arrow.NewSchema([]arrow.Field{
		{Name: "image", Type: arrow.BinaryTypes.Binary}, {Name: "label", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64)},
	}, nil))
	for i := range im.Len() {
		picture := image.NewNRGBA(image.Rect(0, 0, 8, 8))
		for p := range 64 {
			copy(picture.Pix[4*p:], append(im.At(i)[3*p:3*p+3:3*p+3], 255))
		}
		var data bytes.Buffer
		require.NoError(t, png.Encode(&data, picture))
		b.Field(0).(*array.BinaryBuilder).Append(data.Bytes())
		b.Field(1).(*array.ListBuilder).Append(true)
		set := []int64{im.Labels[i]}
		if i%2 == 0 {
			set = append(set, 3) // and some have a class that is not to be seen
		}
		b.Field(1).(*array.ListBuilder).ValueBuilder().(*array.Int64Builder).AppendValues(set, nil)
	}
	require.NoError(t, arrowio.SaveParquet(t.Context(), path, b.NewRecord()))
}

// TestSeveralClasses measures a task whose images have several classes, on both local runners, and compares the results with
// direct calls.
func TestSeveralClasses(t *testing.T) {
	models, at := newModels(t)[1:2], t.TempDir()
	task := tasks.Task{Name: "street", Train: at + "/train.parquet", Test: at + "/test.parquet", Metric: tasks.MeanAP}
	writeSeveral(t, task.Train, folder+"/train")
	writeSeveral(t, task.Test, folder+"/test")
	pool := kernels.NewPool(2)
	defer pool.Close()
	im, x := features(t, pool, labeled.Net{Model: models[0].Path}, task.Train, nil)
	testIm, y := features(t, pool, labeled.Net{Model: models[0].Path}, task.Test, im.Classes)
	want := map[string]float64{}
	scores, err := nearest.Scores(x, im.Sets, 4, y, nearest.Default)
	require.NoError(t, err)
	want[evaluate.KNN] = 100 * metrics.NewRanked(scores, testIm.Sets, 4).MeanAP()
	for c := range 4 {
		has := make([]bool, im.Len())
		for i, set := range im.Sets {
			has[i] = slices.Contains(set, int64(c))
		}
		of, err := logistic.Probabilities(x, has, y, logistic.Default)
		require.NoError(t, err)
		for i, p := range of {
			scores[4*i+c] = p
		}
	}
	want[evaluate.Linear] = 100 * metrics.NewRanked(scores, testIm.Sets, 4).MeanAP()
	want["linear10pct"] = -1 // any
	for _, runner := range []string{"prism", "direct"} {
		dir := t.TempDir()
		p, s := beam.NewPipelineWithRoot()
		nets := beam.Create(s, record.Of(models))
		protocols := []string{evaluate.KNN, evaluate.Linear, "linear10pct", "fewshot1", "finetune"}
		found := route.Route(s, nets, route.Config{Tasks: []tasks.Task{task}, Scorers: evaluate.Scorers(protocols)})
		results := evaluate.Evaluate(s, nets, evaluate.Config{Tasks: []tasks.Task{task}, Protocols: protocols})
		arrowio.WriteDir(s, dir+"/rows", evaluate.Mark(s, results, found))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		rows := readRows(t, dir+"/rows", func(r evaluate.Row) string { return r.Norm + r.Protocol })
		require.Len(t, rows, 3*2, "episodes and fine-tuning are of images with one class")
		for _, r := range rows {
			require.Len(t, r.Labels, 18*4)
			require.Len(t, r.Scores, 18*4)
			require.Empty(t, r.Predicted)
			require.EqualValues(t, 18, r.TestImages)
			require.Equal(t, tasks.MeanAP, r.Metric)
			require.Positive(t, r.Score)
			if w := want[r.Protocol]; r.Norm == route.NormTraining && w >= 0 {
				require.InDelta(t, w, r.Value, 1e-9, r.Protocol)
			}
		}
		all := evaluate.Collect(slices.Concat(rows, func() []evaluate.Row {
			baseline := slices.Clone(rows)
			for i := range baseline {
				baseline[i].Subnet, baseline[i].Candidate, baseline[i].Routed = "unified", false, false
			}
			return baseline
		}()), nil)
		require.NotEmpty(t, all.Comparisons)
		for _, c := range all.Comparisons {
			require.Zero(t, c.Gained+c.Lost)
			if c.Over == "unified_best_norm" {
				require.InDelta(t, c.Routed-c.Base, c.Difference, 1e-4)
			}
		}
	}
	task.Metric = tasks.Top1
	p, s := beam.NewPipelineWithRoot()
	evaluate.Evaluate(s, beam.Create(s, record.Of(models)), evaluate.Config{Tasks: []tasks.Task{task}, Protocols: []string{evaluate.KNN}})
	_, err = beam.Run(t.Context(), "direct", p)
	require.ErrorContains(t, err, "evaluate: task street: the images have lists of classes, but the metric is top1")
}

func TestStageErrors(t *testing.T) {
	models := newModels(t)
	models[1].Path = "none.safetensors"
	of := []tasks.Task{{Name: "fruit", Train: folder + "/train", Test: folder + "/test", Metric: tasks.Top1}}
	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		route.Route(s, beam.Create(s, record.Of(models)), route.Config{Tasks: of, Scorers: []string{route.KNN}})
		_, err := beam.Run(t.Context(), runner, p)
		require.ErrorContains(t, err, "route: task fruit: model: ")

		p, s = beam.NewPipelineWithRoot()
		evaluate.Evaluate(s, beam.Create(s, record.Of(models)), evaluate.Config{Tasks: of, Protocols: []string{evaluate.KNN}})
		_, err = beam.Run(t.Context(), runner, p)
		require.ErrorContains(t, err, "evaluate: task fruit: model: ")
	}
	_, s := beam.NewPipelineWithRoot()
	in := beam.Create(s, record.Of(models))
	require.Panics(t, func() { route.Route(s, in, route.Config{Scorers: []string{"svm"}}) })
	require.Panics(t, func() { evaluate.Evaluate(s, in, evaluate.Config{Protocols: []string{"svm"}}) })
}

// TestFineTuning compares the protocol with the stage that fine-tunes.
func TestFineTuning(t *testing.T) {
	models := newModels(t)
	task := tasks.Task{Name: "fruit", Train: folder + "/train", Test: folder + "/test", Metric: tasks.MeanPerClass}
	dir := t.TempDir()
	cfg := finetune.Default
	cfg.Epochs, cfg.Patience = 20, 10
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, dir+"/rows", evaluate.Evaluate(s, beam.Create(s, record.Of(models)), evaluate.Config{Tasks: []tasks.Task{task}, Protocols: []string{"finetune"}}))
	one := route.Pair{Task: "fruit", Metric: task.Metric, Train: task.Train, Test: task.Test, Subnet: "0", Model: models[2].Path, Norm: route.NormTraining}
	arrowio.WriteDir(s, dir+"/tuned", finetune.Finetune(s, beam.Create(s, record.Of([]route.Pair{one})), cfg, finetune.Output{Dir: dir + "/model", Inputs: "1"}))
	_, err := beam.Run(t.Context(), "prism", p)
	require.NoError(t, err)
	tuned := readRows(t, dir+"/tuned", func(r finetune.Result) string { return r.Task })[0]
	rows := readRows(t, dir+"/rows", func(r evaluate.Row) string { return r.Subnet + r.Norm })
	require.Len(t, rows, 3*2, "three nets with two norms")
	for i, r := range rows {
		require.Equal(t, "finetune", r.Protocol)
		require.EqualValues(t, tuned.TestImages, r.TestImages)
		require.Len(t, r.Predicted, int(r.TestImages))
		require.Equal(t, rows[i/2*2].Predicted, r.Predicted, "a net with both norms")
		if r.Subnet == "0" {
			require.Equal(t, tuned.Test, r.Value)
		}
	}
}
