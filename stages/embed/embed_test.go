package embed_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 programs may still choose it, so its results must agree
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/stages/embed"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestMain(m *testing.M) { ptest.MainWithDefault(m, "prism") }

const fixtures = "../../testdata/fixtures"

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

// reference embeds images without the cache.
func reference(t *testing.T, model string, im *tasks.Images) []float32 {
	m, err := inference.Load(t.Context(), model)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	return inference.NewEmbedder(m, pool).Embed(im.Len(), im.At).Data().([]float32)
}

// TestSplit embeds a task's two splits under two models, from many goroutines.
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
	sets := make([]*embed.Set, 16)
	errs := make([]error, len(sets))
	for i := range sets {
		group.Go(func() {
			path, classes := fixtures+"/folder/train", []string(nil)
			if i&2 != 0 {
				path, classes = fixtures+"/folder/test", train.Classes
			}
			sets[i], errs[i] = embed.Split(t.Context(), models[i&1], path, classes)
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

// TestChangedModel trains a model anew under the same name.
func TestChangedModel(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	first, err := embed.Split(t.Context(), model, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err)
	saveModel(t, model, 2)
	second, err := embed.Split(t.Context(), model, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err)
	require.NotEqual(t, first.Features.Data(), second.Features.Data())
}

func TestSplitErrors(t *testing.T) {
	dir := t.TempDir()
	model := filepath.Join(dir, "m.safetensors")
	_, err := embed.Split(t.Context(), model, fixtures+"/tiny.parquet", nil)
	require.ErrorContains(t, err, model)
	saveModel(t, model, 1)
	_, err = embed.Split(t.Context(), model, fixtures+"/tiny.parquet", nil)
	require.NoError(t, err, "the error is not kept")
	_, err = embed.Split(t.Context(), model, filepath.Join(dir, "none"), nil)
	require.ErrorContains(t, err, "does not exist")
	_, err = embed.Split(t.Context(), model, fixtures+"/folder/test", []string{"Banana", "Lime"})
	require.ErrorContains(t, err, `class "Carrots"`)
	_, err = embed.Split(t.Context(), model, fixtures+"/folder/test", []string{"Banana Carrots", "Lime"})
	require.ErrorContains(t, err, `class "Banana"`, "the key tells lists apart")
}

// TestBadImages are left out with a warning.
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
		set, err := embed.Split(t.Context(), model, dir, nil)
		require.NoError(t, err)
		require.Equal(t, []int64{0, 1}, set.Labels)
	}
	require.Equal(t, 1, bytes.Count(log.Bytes(), []byte("level=WARN")))
	require.Contains(t, log.String(), "bad=1 good=2")
	require.Contains(t, log.String(), filepath.Join(dir, "a", "2.png"))
}

// run embeds all images at some paths and returns the rows in order.
func run(t *testing.T, runner, model string, paths ...string) ([]embed.Row, error) {
	splits, err := imageio.Plan(t.Context(), paths, 7)
	require.NoError(t, err)
	p, s := beam.NewPipelineWithRoot()
	out := t.TempDir()
	arrowio.WriteDir(s, out, embed.Images(s, model, splits))
	if _, err := beam.Run(t.Context(), runner, p); err != nil {
		return nil, err
	}
	found, err := files.List(t.Context(), filepath.Join(out, "*.arrow"))
	require.NoError(t, err)
	var rows []embed.Row
	for _, path := range found {
		f, err := arrowio.OpenFile(t.Context(), path)
		require.NoError(t, err)
		for i := range f.NumRecords() {
			rec, err := f.Record(i)
			require.NoError(t, err)
			got, err := record.Rows[embed.Row](record.New(rec))
			require.NoError(t, err)
			for _, r := range got {
				r.Feature = slices.Clone(r.Feature)
				rows = append(rows, r)
			}
		}
		require.NoError(t, f.Close())
	}
	slices.SortFunc(rows, func(a, b embed.Row) int { return cmp.Or(cmp.Compare(a.Split, b.Split), cmp.Compare(a.Row, b.Row)) })
	return rows, nil
}

// TestImages embeds several collections, with images that cannot be read, on
// both local runners.
func TestImages(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	known, err := tasks.Load(t.Context(), fixtures+"/tiny.parquet", 8, nil)
	require.NoError(t, err)
	features := reference(t, model, known)
	for _, runner := range []string{"prism", "direct"} {
		t.Run(runner, func(t *testing.T) {
			rows, err := run(t, runner, model, fixtures+"/tiny.parquet", fixtures+"/odd", fixtures+"/webdataset.tar", fixtures+"/folder/train")
			require.NoError(t, err)
			require.Len(t, rows, 18+5+18+18)
			for i, r := range slices.Concat(rows[:18], rows[23:41], rows[41:]) {
				require.EqualValues(t, i%18, r.Row)
				require.Equal(t, features[i%18*16:(i%18+1)*16], r.Feature)
				require.Empty(t, r.Error)
				want := known.Labels[i%18]
				if i >= 36 {
					want = -1 // folders have names only
				}
				require.Equal(t, want, r.Label)
			}
			require.Equal(t, fixtures+"/webdataset.tar!000003.jpg", filepath.ToSlash(rows[26].Source))
			for i, name := range []string{"cmyk.jpg", "corrupt.jpg", "exif_rotated.jpg", "truncated.png", "upright.png"} {
				r := rows[18+i]
				require.Equal(t, filepath.Join(fixtures, "odd", name), r.Source)
				if i == 1 || i == 3 {
					require.NotEmpty(t, r.Error)
					require.Equal(t, make([]float32, 16), r.Feature)
				} else {
					require.Empty(t, r.Error)
					require.NotEqual(t, make([]float32, 16), r.Feature)
				}
			}
		})
	}
}

// TestImagesInBatches has more images in a split than a batch holds.
func TestImagesInBatches(t *testing.T) {
	model := filepath.Join(t.TempDir(), "m.safetensors")
	saveModel(t, model, 1)
	data, err := os.ReadFile(fixtures + "/odd/upright.png")
	require.NoError(t, err)
	dir := t.TempDir()
	for i := range inference.Batch + 2 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.png", i)), data, 0o644))
	}
	splits, err := imageio.Plan(t.Context(), []string{dir}, 1<<20)
	require.NoError(t, err)
	require.Len(t, splits, 1)
	p, s := beam.NewPipelineWithRoot()
	out := t.TempDir()
	arrowio.WriteDir(s, out, embed.Images(s, model, splits))
	_, err = beam.Run(t.Context(), "prism", p)
	require.NoError(t, err)
	found, err := files.List(t.Context(), filepath.Join(out, "*.arrow"))
	require.NoError(t, err)
	require.Len(t, found, 2)
}

func TestImagesErrors(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "m.safetensors")
	for _, runner := range []string{"prism", "direct"} {
		_, err := run(t, runner, missing, fixtures+"/odd")
		require.ErrorContains(t, err, missing)
	}
}
