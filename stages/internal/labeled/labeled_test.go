package labeled_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

const fixtures = "../../../testdata/fixtures"

// saveModel writes a small random model.
func saveModel(t *testing.T, path string, seed uint64) {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
	l := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	l.Init(params, rand.New(rand.NewPCG(seed, seed)))
	l.InitStats(stats)
	key, value := inference.Input{Size: 8, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.2, .2, .2}}.Metadata()
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
}

// reference embeds images without the caches.
func reference(t *testing.T, model string, im *tasks.Images) []float32 {
	m, err := inference.Load(t.Context(), model)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	return inference.NewEmbedder(m, pool).Embed(im.Len(), im.At).Data().([]float32)
}

// split is Split for a single net.
func split(t *testing.T, net labeled.Net, path string, classes []string) (set *labeled.Set, err error) {
	err = labeled.Split(t.Context(), []labeled.Net{net}, path, classes, func(_ int, s *labeled.Set) error {
		set = s
		return nil
	})
	return set, err
}

// TestSplit embeds both splits of a task under two models, from many goroutines.
func TestSplit(t *testing.T) {
	dir := t.TempDir()
	models := []string{filepath.Join(dir, "a b.safetensors"), filepath.Join(dir, "c.safetensors")}
	for i, model := range models {
		saveModel(t, model, uint64(i))
	}
	train, err := tasks.Load(t.Context(), fixtures+"/folder/train", 8, nil)
	require.NoError(t, err)
	test, err := tasks.Load(t.Context(), fixtures+"/folder/test", 8, train.Classes)
	require.NoError(t, err)
	var group sync.WaitGroup
	sets := make([]*labeled.Set, 16)
	errs := make([]error, len(sets))
	for i := range sets {
		group.Go(func() {
			path, classes := fixtures+"/folder/train", []string(nil)
			if i&2 != 0 {
				path, classes = fixtures+"/folder/test", train.Classes
			}
			sets[i], errs[i] = split(t, labeled.Net{Model: models[i&1]}, path, classes)
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
	for i, set := range sets {
		im := train
		if i&2 != 0 {
			im = test
		}
		require.Equal(t, reference(t, models[i&1], im), set.Features.Data())
		require.Equal(t, tensor.Shape{len(im.Labels), 16}, set.Features.Shape())
		require.Equal(t, im.Labels, set.Labels)
		require.Equal(t, train.Classes, set.Classes)
		require.Same(t, sets[i&3], set, "computed once")
	}
	require.NotEqual(t, sets[0].Features.Data(), sets[1].Features.Data())
}

// TestChangedModel replaces a model under the same name.
func TestChangedModel(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	first, err := split(t, labeled.Net{Model: model}, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err)
	saveModel(t, model, 2)
	second, err := split(t, labeled.Net{Model: model}, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err)
	require.NotEqual(t, first.Features.Data(), second.Features.Data())
}

// TestNorm checks that a net with the statistics of a split normalizes that split: the batch statistics of the first
// BatchNorm layer's input are what the net has.
func TestNorm(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	train := fixtures + "/folder/train"
	own, err := split(t, labeled.Net{Model: model}, train, nil)
	require.NoError(t, err)
	net := labeled.Net{Model: model, Norm: train}
	adapted, err := split(t, net, train, nil)
	require.NoError(t, err)
	require.NotEqual(t, own.Features.Data(), adapted.Features.Data())

	m, err := net.Open(t.Context())
	require.NoError(t, err)
	loaded, err := inference.Load(t.Context(), model)
	require.NoError(t, err)
	require.Equal(t, loaded.Params[:len(m.Params)], m.Params)
	images, err := tasks.Load(t.Context(), train, m.Input.Size, nil)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	stats, err := inference.Estimate(pool, m, images.Len(), func(i int) []uint8 { return images.At(i % images.Len()) })
	require.NoError(t, err)
	require.InDeltaSlice(t, stats, m.Stats, .05, "the same up to which images fill the last batch")
}

func TestSplitErrors(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.safetensors")
	_, err := split(t, labeled.Net{Model: model}, fixtures+"/tiny.parquet", nil)
	require.ErrorContains(t, err, model)
	saveModel(t, model, 1)
	_, err = split(t, labeled.Net{Model: model}, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err, "the error is not kept")
	_, err = split(t, labeled.Net{Model: model}, filepath.Join(dir, "none"), nil)
	require.ErrorContains(t, err, "does not exist")
	_, err = split(t, labeled.Net{Model: model}, fixtures+"/folder/test", []string{"Banana", "Lime"})
	require.ErrorContains(t, err, `class "Carrots"`)
	_, err = split(t, labeled.Net{Model: model}, fixtures+"/folder/test", []string{"Banana Carrots", "Lime"})
	require.ErrorContains(t, err, `class "Banana"`, "the key tells lists apart")
}

// TestBadImages checks that unreadable images are skipped with a warning.
func TestBadImages(t *testing.T) {
	dir := t.TempDir()
	for _, class := range []string{"a", "b"} {
		data, err := os.ReadFile(fixtures + "/odd/upright.png")
		require.NoError(t, err)
		require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, class, "1.png"), data))
	}
	require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "a", "2.png"), nil))
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(before)
	for range 2 {
		set, err := split(t, labeled.Net{Model: model}, dir, nil)
		require.NoError(t, err)
		require.Equal(t, []int64{0, 1}, set.Labels)
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")))
	require.Contains(t, log.String(), "bad=1 good=2")
	require.Contains(t, log.String(), filepath.Join(dir, "a", "2.png"))
}

// TestBatch checks that every row has the columns of the single-row batch.
func TestBatch(t *testing.T) {
	type of struct {
		Task string `arrow:"task"`
	}
	type row struct {
		Task    string    `arrow:"task"`
		Label   int64     `arrow:"label"`
		Feature []float32 `arrow:"feature"`
	}
	for _, n := range []int{1, 2, 7} {
		set := &labeled.Set{Features: tensor.New(tensor.WithShape(n, 2), tensor.WithBacking(tensor.Range(tensor.Float32, 0, 2*n)))}
		var want []row
		for i := range n {
			set.Labels = append(set.Labels, int64(n-i))
			want = append(want, row{"fruit", int64(n - i), []float32{float32(2 * i), float32(2*i + 1)}})
		}
		b, err := set.Batch(record.Of([]of{{"fruit"}}), tasks.Top1)
		require.NoError(t, err)
		got, err := record.Rows[row](b)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

// TestTogether checks that nets that are embedded together have the features, in order, that each has by itself, whether
// or not some of them are known already.
func TestTogether(t *testing.T) {
	dir := t.TempDir()
	train := fixtures + "/folder/train"
	var nets, again []labeled.Net
	for i := range 4 {
		for _, copies := range []string{"a", "b"} {
			model := filepath.Join(dir, fmt.Sprint(copies, i, ".safetensors"))
			saveModel(t, model, uint64(i))
			norm := []string{"", train}[i%2]
			if copies == "a" {
				nets = append(nets, labeled.Net{Model: model, Norm: norm})
			} else {
				again = append(again, labeled.Net{Model: model, Norm: norm})
			}
		}
	}
	_, err := split(t, nets[2], train, nil)
	require.NoError(t, err)
	next := 0
	require.NoError(t, labeled.Split(t.Context(), nets, train, nil, func(i int, s *labeled.Set) error {
		require.Equal(t, next, i)
		next++
		alone, err := split(t, again[i], train, nil)
		require.NoError(t, err)
		require.Equal(t, alone.Features.Data(), s.Features.Data())
		return nil
	}))
	require.Equal(t, len(nets), next)
	stop := errors.New("stop")
	require.ErrorIs(t, labeled.Split(t.Context(), nets, train, nil, func(int, *labeled.Set) error { return stop }), stop)
}
