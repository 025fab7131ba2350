package inference_test

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/record"
)

var classes = []string{"a", "b", "c"}

// classified returns a random model with a classifier, and its file.
func classified(t testing.TB) (path string, m *inference.Model) {
	m = newModel("resnet18", "small", 3, nn.Heads{Classes: len(classes)})
	m = inference.NewClassified(m.Model, input, classes)
	path = filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, inference.Save(t.Context(), path, &m.Model))
	return path, m
}

// TestPredict compares with the softmax of the whole net's logits, on both local runners, and the features with those of
// the backbone.
func TestPredict(t *testing.T) {
	path, m := classified(t)
	loaded, err := inference.Load(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, m, loaded)
	rows := pictures(300)
	var good []imageio.Row
	var squares [][]uint8
	for _, r := range rows {
		if len(r.Pixels) == int(3*r.Width*r.Height) {
			good = append(good, r)
			squares = append(squares, imageio.RGB{Width: int(r.Width), Height: int(r.Height), Pix: r.Pixels}.Square(input.Size).Pix)
		}
	}
	net := nn.New(m.Backbone, m.Heads, input.Size, len(good), 1, kernelsPool(t), nn.Inference)
	net.Params, net.Stats = m.Params, m.Stats
	images := make([]float32, 0, len(good)*input.Size*input.Size*3)
	for _, s := range squares {
		for i, v := range s {
			images = append(images, (float32(v)/255-input.Mean[i%3])/input.Std[i%3])
		}
	}
	net.Forward(images, nn.RunningStats)

	type predicted struct {
		Index         int64     `arrow:"index"`
		Source        string    `arrow:"source"`
		Predicted     int64     `arrow:"predicted"`
		Class         string    `arrow:"predicted_class"`
		Probabilities []float32 `arrow:"probabilities"`
	}
	var last []predicted
	for _, runner := range []string{"prism", "direct"} {
		p, s := beam.NewPipelineWithRoot()
		made, letters := inference.Predict(s, beam.CreateList(s, batches(rows, 70)), inference.Config{Model: path, Column: "other"})
		kept, dead := beamtest.Keep(s, made), beamtest.Keep(s, letters)
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		got := beamtest.Rows(t, kept(), func(a, b predicted) int { return cmp.Compare(a.Index, b.Index) })
		require.Len(t, dead(), 30)
		require.Len(t, got, len(good))
		for i, r := range got {
			require.Equal(t, good[i].Source, r.Source)
			logits := net.Z[i*3:][:3]
			require.Equal(t, metrics.Top(logits, 3), []int64{r.Predicted})
			require.Equal(t, classes[r.Predicted], r.Class)
			var sum float64
			for _, z := range logits {
				sum += math.Exp(float64(z))
			}
			for k, z := range logits {
				require.InDelta(t, math.Exp(float64(z))/sum, r.Probabilities[k], 1e-5)
			}
		}
		if last != nil {
			require.Equal(t, last, got)
		}
		last = got
	}
	require.Equal(t, inference.NewEmbedder(m, kernelsPool(t)).Embed(2, func(i int) []uint8 { return squares[i] }).Data(),
		func() any {
			m.Model = *m.WithoutHeads()
			return inference.NewEmbedder(m, kernelsPool(t)).Embed(2, func(i int) []uint8 { return squares[i] }).Data()
		}())
}

func TestPredictErrors(t *testing.T) {
	plain, _ := modelFile(t)
	p, s := beam.NewPipelineWithRoot()
	inference.Predict(s, beam.CreateList(s, batches(pictures(2), 2)), inference.Config{Model: plain})
	_, err := beam.Run(t.Context(), "direct", p)
	require.ErrorContains(t, err, plain+": has no classifier; sdr finetune makes models with one")

	path, m := classified(t)
	taken := record.With(record.Of(pictures(2)), "predicted", record.Of(pictures(2)).Column(0))
	p, s = beam.NewPipelineWithRoot()
	inference.Predict(s, beam.CreateList(s, []*record.Batch{taken}), inference.Config{Model: path})
	_, err = beam.Run(t.Context(), "direct", p)
	require.ErrorContains(t, err, `the input has a column "predicted"`)

	for _, names := range []string{`["a","b"]`, "", "3"} {
		m.Meta["classes"] = names
		require.NoError(t, inference.Save(t.Context(), path, &m.Model))
		_, err := inference.Load(t.Context(), path)
		require.ErrorContains(t, err, fmt.Sprintf(`model %s: its metadata "classes" is %q; want the names of its 3 classes as a JSON list`, path, names))
	}
	pool := kernelsPool(t)
	_, err = m.Classifier.Probabilities(inference.NewEmbedder(newModel("resnet18", "small", 2, nn.Heads{}), pool).Embed(1, newImages(1)))
	require.ErrorContains(t, err, "the features have 16 values, but the classifier is for 24")
}

// Large logits overflow nothing.
func TestProbabilities(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	e := inference.NewEmbedder(newModel("resnet18", "small", 1, nn.Heads{}), pool)
	x := e.Embed(1, newImages(1))
	c := &inference.Classifier{Classes: classes, Weight: make([]float32, 3*8), Bias: []float32{1e4, 1e4, -1e4}}
	p, err := c.Probabilities(x)
	require.NoError(t, err)
	require.Equal(t, []float32{.5, .5, 0}, p.Data())
	require.Equal(t, []int64{0, 2}, metrics.Top([]float32{1, 1, 0, -3, -2, -1}, 3), "the first on ties")
}

// FuzzLoad: any text in place of a model's metadata is an error that names the file, or a model with names for all classes.
func FuzzLoad(f *testing.F) {
	_, m := classified(f)
	for key, value := range m.Meta {
		f.Add(key, value)
		f.Add(key, "null")
		f.Add(key, `["a", "b", "c", "d"]`)
		f.Add(key, `{"size": 1e9}`)
	}
	f.Fuzz(func(t *testing.T, key, value string) {
		changed := m.Model
		changed.Meta = maps.Clone(m.Meta)
		changed.Meta[key] = value
		path := filepath.Join(t.TempDir(), "m.safetensors")
		if inference.Save(t.Context(), path, &changed) != nil {
			t.Skip("not text")
		}
		loaded, err := inference.Load(t.Context(), path)
		if err != nil {
			require.ErrorContains(t, err, path)
			return
		}
		require.NoError(t, loaded.Input.Validate())
		require.Len(t, loaded.Classifier.Classes, len(classes))
	})
}
