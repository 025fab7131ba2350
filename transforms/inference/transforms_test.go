package inference_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/graph/window"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/core/metrics"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// embedded is an output row for imageio's input rows.
type embedded struct {
	Index   int64     `arrow:"index"`
	Source  string    `arrow:"source"`
	Row     int64     `arrow:"row"`
	Label   int64     `arrow:"label"`
	Class   string    `arrow:"class"`
	Feature []float32 `arrow:"feature"`
}

// embed runs Embed on batches and returns its outputs and the metrics.
func embed(t *testing.T, runner string, cfg inference.Config, in func(beam.Scope) beam.PCollection) (rows []embedded, dead []imageio.Dead, m metrics.QueryResults, err error) {
	p, s := beam.NewPipelineWithRoot()
	features, letters := inference.Embed(s, in(s), cfg)
	embeddings, damaged := beamtest.Keep(s, features), beamtest.Keep(s, letters)
	result, err := beam.Run(t.Context(), runner, p)
	if err != nil {
		return nil, nil, m, err
	}
	rows = beamtest.Rows(t, embeddings(), func(a, b embedded) int { return cmp.Compare(a.Index, b.Index) })
	dead = beamtest.Rows(t, damaged(), func(a, b imageio.Dead) int { return cmp.Compare(a.Index, b.Index) })
	if runner == "prism" {
		m = result.Metrics().Query(func(r metrics.SingleResult) bool { return r.Namespace() == "inference" })
	}
	return rows, dead, m, nil
}

func counter(m metrics.QueryResults, name string) (n int64) {
	for _, c := range m.Counters() {
		if c.Name() == name {
			n += c.Committed
		}
	}
	return n
}

func distribution(m metrics.QueryResults, name string) (d metrics.DistributionValue) {
	for _, c := range m.Distributions() {
		if c.Name() == name {
			d.Count, d.Sum, d.Max = d.Count+c.Committed.Count, d.Sum+c.Committed.Sum, max(d.Max, c.Committed.Max)
		}
	}
	return d
}

// modelFile saves a random model and returns its path.
func modelFile(t *testing.T) (string, *inference.Model) {
	path := filepath.Join(t.TempDir(), "m.safetensors")
	m := newModel("resnet18", "small", 3, nn.Heads{ProjectorHidden: 8, ProjectorDim: 4, ProjectorLayers: 2})
	save(t, path, m, metadata(input))
	return path, m
}

// pictures makes images of several sizes, with invalid rows in between.
func pictures(n int) (rows []imageio.Row) {
	r := rand.New(rand.NewPCG(5, 5))
	for i := range n {
		size := [][2]int{{input.Size, input.Size}, {20, 31}, {3, 50}, {input.Size, input.Size}}[i%4]
		row := imageio.Row{
			Index: int64(i), Source: fmt.Sprint(i, ".png"), Row: int64(i % 7), Label: int64(i % 3), Class: fmt.Sprint("class", i%3),
			Width: int32(size[0]), Height: int32(size[1]), Pixels: make([]byte, 3*size[0]*size[1]),
		}
		for j := range row.Pixels {
			row.Pixels[j] = uint8(r.Uint32())
		}
		if i%10 == 4 {
			row.Pixels = row.Pixels[:len(row.Pixels)-1]
		}
		rows = append(rows, row)
	}
	return rows
}

// batches splits rows into batches.
func batches(rows []imageio.Row, size int) (all []*record.Batch) {
	for part := range slices.Chunk(rows, size) {
		all = append(all, record.Of(part))
	}
	return all
}

// TestEmbedTransform compares with an Embedder on both local runners, for batches smaller and larger than a forward
// pass, in one bundle and many, and for several configurations: the bits are always the same.
func TestEmbedTransform(t *testing.T) {
	path, m := modelFile(t)
	rows := pictures(600)
	var good []imageio.Row
	var squares [][]uint8
	for _, r := range rows {
		if len(r.Pixels) == int(3*r.Width*r.Height) {
			good = append(good, r)
			squares = append(squares, imageio.RGB{Width: int(r.Width), Height: int(r.Height), Pix: r.Pixels}.Square(input.Size).Pix)
		}
	}
	want := inference.NewEmbedder(m, kernelsPool(t)).Embed(len(good), func(i int) []uint8 { return squares[i] }).Data().([]float32)
	dim := m.Backbone.FeatureDim()
	for i, c := range []struct {
		runner string
		cfg    inference.Config
		size   int
		spread bool
	}{
		{"prism", inference.Config{Model: path}, 100, false},
		{"prism", inference.Config{Model: path, MaxBatch: 300}, 7, true},
		{"direct", inference.Config{Model: path, Target: time.Nanosecond}, 600, false},
		{"direct", inference.Config{Model: path, Target: time.Hour}, 1, true},
	} {
		got, dead, stats, err := embed(t, c.runner, c.cfg, func(s beam.Scope) beam.PCollection {
			in := beam.CreateList(s, batches(rows, c.size))
			if c.spread {
				in = beam.Reshuffle(s, in)
			}
			return in
		})
		require.NoError(t, err)
		require.Len(t, got, len(good))
		for j, r := range got {
			w := good[j]
			require.Equal(t, embedded{w.Index, w.Source, w.Row, w.Label, w.Class, want[j*dim : (j+1)*dim]}, r, "case %d", i)
		}
		require.Len(t, dead, 60)
		require.Equal(t, "4.png", dead[0].Source)
		require.Equal(t, "242 bytes of pixels; an image of 9 x 9 has 243", dead[0].Reason)
		if c.runner == "prism" {
			require.EqualValues(t, len(good), counter(stats, "num_inferences"))
			require.Zero(t, counter(stats, "failed_batches_counter"))
			sizes, times := distribution(stats, "inference_request_batch_size"), distribution(stats, "inference_batch_latency_micro_secs")
			require.EqualValues(t, len(good), sizes.Sum)
			require.Equal(t, sizes.Count, times.Count)
			require.Positive(t, times.Sum)
			if !c.spread {
				require.EqualValues(t, 2, sizes.Count, "collected from smaller elements")
			}
			require.Equal(t, int64(i^1), distribution(stats, "load_model_latency_milli_secs").Count, "the model is kept")
		}
	}
}

// TestFailedBatch has a model that panics: its images become dead letters.
func TestFailedBatch(t *testing.T) {
	path, _ := modelFile(t)
	m, err := inference.Open(t.Context(), path)
	require.NoError(t, err)
	m.Params = m.Params[:1:1]
	rows, dead, stats, err := embed(t, "prism", inference.Config{Model: path}, func(s beam.Scope) beam.PCollection {
		return beam.CreateList(s, batches(pictures(10), 5))
	})
	require.NoError(t, err)
	require.Empty(t, rows)
	require.Len(t, dead, 10)
	require.Contains(t, dead[0].Reason, "inference: panic: ")
	require.EqualValues(t, 1, counter(stats, "failed_batches_counter"))
	require.Zero(t, counter(stats, "num_inferences"))
}

// TestEmbedWindows keeps elements of different windows apart.
func TestEmbedWindows(t *testing.T) {
	path, _ := modelFile(t)
	rows, _, stats, err := embed(t, "prism", inference.Config{Model: path}, func(s beam.Scope) beam.PCollection {
		return beam.WindowInto(s, window.NewFixedWindows(time.Minute), beam.CreateList(s, batches(pictures(4), 2)))
	})
	require.NoError(t, err)
	require.Len(t, rows, 4)
	require.EqualValues(t, 2, distribution(stats, "inference_request_batch_size").Max)
}

func TestEmbedErrors(t *testing.T) {
	path, _ := modelFile(t)
	missing := filepath.Join(t.TempDir(), "none")
	type other struct {
		Width int32 `arrow:"width"`
		Text  int32 `arrow:"height"`
	}
	for _, runner := range []string{"prism", "direct"} {
		images := func(s beam.Scope) beam.PCollection { return beam.CreateList(s, batches(pictures(2), 2)) }
		_, _, _, err := embed(t, runner, inference.Config{Model: missing}, images)
		require.ErrorContains(t, err, "inference: model: ")
		require.ErrorContains(t, err, missing)
		_, _, _, err = embed(t, runner, inference.Config{Model: path}, func(s beam.Scope) beam.PCollection { return beam.Create(s, record.Of([]other{{}})) })
		require.ErrorContains(t, err, `inference: the input has 0 columns "pixels"`)
	}
	_, s := beam.NewPipelineWithRoot()
	require.Panics(t, func() { inference.Embed(s, beam.Impulse(s), inference.Config{}) })
	require.EqualError(t, inference.Config{Target: -1}.Validate(), "inference: Model is empty; set the path of a model file\ninference: Target is -1ns and MaxBatch 0; they must be at least 0")
}

// TestOpen reads a model that was retrained under the same name, without its heads.
func TestOpen(t *testing.T) {
	path, m := modelFile(t)
	first, err := inference.Open(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, m.WithoutHeads().Params, first.Params)
	again, err := inference.Open(t.Context(), path)
	require.NoError(t, err)
	require.Same(t, first, again)
	m.Params[0]++
	save(t, path, m, metadata(input))
	second, err := inference.Open(t.Context(), path)
	require.NoError(t, err)
	require.Equal(t, m.Params[0], second.Params[0])
}

// TestFeatures uses models of different shapes in turns, from several goroutines.
func TestFeatures(t *testing.T) {
	models := []*inference.Model{newModel("resnet18", "small", 3, nn.Heads{}), newModel("resnet18", "small", 2, nn.Heads{}), newModel("resnet18", "small", 3, nn.Heads{})}
	models[2].Params[0]++
	at := newImages(20)
	var want [][]float32
	for _, m := range models {
		want = append(want, inference.NewEmbedder(m, kernelsPool(t)).Embed(20, at).Data().([]float32))
	}
	require.NotEqual(t, want[0], want[2])
	var group sync.WaitGroup
	for i := range 24 {
		group.Go(func() {
			got, err := inference.Features(t.Context(), models[i%3], 20, at)
			if err != nil || !slices.Equal(want[i%3], got.Data().([]float32)) || got.Engine() != compute.Engine() {
				t.Errorf("call %d differs: %v", i, err)
			}
		})
	}
	group.Wait()
}

func kernelsPool(t *testing.T) *kernels.Pool {
	pool := kernels.NewPool(2)
	t.Cleanup(pool.Close)
	return pool
}
