package pipelines_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	//lint:ignore SA1019 --runner=direct is offered for comparison with prism
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

const fixtures = "../testdata/fixtures"

// saveModel writes a small random model.
func saveModel(t *testing.T) string {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
	l := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	l.Init(params, rand.New(rand.NewPCG(1, 1)))
	l.InitStats(stats)
	key, value := inference.Input{Size: 8, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.2, .2, .2}}.Metadata()
	path := filepath.Join(t.TempDir(), "m.safetensors")
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
	return path
}

func readFeatures(t *testing.T, path string) (rows []pipelines.Embedded) {
	recs, err := arrowio.LoadParquet(t.Context(), path)
	require.NoError(t, err)
	for _, rec := range recs {
		got, err := record.Rows[pipelines.Embedded](record.New(rec))
		require.NoError(t, err)
		rows = append(rows, got...)
	}
	return rows
}

// TestEmbed embeds several collections, including unreadable images, on both local runners, and compares the features
// with an Embedder's.
func TestEmbed(t *testing.T) {
	model := saveModel(t)
	known, err := tasks.Load(t.Context(), fixtures+"/tiny.parquet", 8, nil)
	require.NoError(t, err)
	m, err := inference.Load(t.Context(), model)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	features := inference.NewEmbedder(m, pool).Embed(known.Len(), known.At).Data().([]float32)
	for _, runner := range []string{"prism", "direct"} {
		out := filepath.Join(t.TempDir(), "new", "features.parquet")
		images, bad, err := pipelines.Embed(t.Context(), pipelines.EmbedOptions{
			Model: model, Out: out, Runner: runner,
			Data: []string{fixtures + "/tiny.parquet", fixtures + "/odd", fixtures + "/webdataset.tar", fixtures + "/folder/train"},
		})
		require.NoError(t, err)
		require.Equal(t, []int64{18 + 5 + 18 + 18, 2}, []int64{images, bad})
		rows := readFeatures(t, out)
		require.Len(t, rows, int(images))
		for i, r := range slices.Concat(rows[:18], rows[23:41], rows[41:]) {
			require.Equal(t, features[i%18*16:(i%18+1)*16], r.Feature)
			require.Empty(t, r.Error)
			want := known.Labels[i%18]
			if i >= 36 {
				want = -1 // folders have class names but no numbers
				require.Equal(t, known.Classes[known.Labels[i%18]], r.Class)
			}
			require.Equal(t, want, r.Label)
		}
		require.Equal(t, fixtures+"/webdataset.tar!000003.jpg", filepath.ToSlash(rows[26].Source))
		require.EqualValues(t, 3, rows[3].Row)
		for i, name := range []string{"cmyk.jpg", "corrupt.jpg", "exif_rotated.jpg", "truncated.png", "upright.png"} {
			r := rows[18+i]
			require.Equal(t, filepath.Join(fixtures, "odd", name), r.Source)
			require.Equal(t, i == 1 || i == 3, r.Error != "")
			require.Equal(t, r.Error != "", slices.Equal(make([]float32, 16), r.Feature))
		}
		left, err := os.ReadDir(filepath.Dir(out))
		require.NoError(t, err)
		require.Len(t, left, 1, "the parts are removed")
	}
}

func TestEmbedErrors(t *testing.T) {
	dir := t.TempDir()
	for want, o := range map[string]pipelines.EmbedOptions{
		"no such file":   {Model: filepath.Join(dir, "none"), Data: []string{fixtures}},
		"does not exist": {Model: saveModel(t), Data: []string{filepath.Join(dir, "none")}},
	} {
		o.Out, o.Runner = filepath.Join(dir, "out.parquet"), "direct"
		_, _, err := pipelines.Embed(t.Context(), o)
		require.ErrorAs(t, err, new(*run.UsageError))
		require.ErrorContains(t, err, want)
		require.NoFileExists(t, o.Out)
	}
	data, err := os.ReadFile(fixtures + "/tiny.parquet")
	require.NoError(t, err)
	same := filepath.Join(dir, "same.parquet")
	require.NoError(t, os.WriteFile(same, data, 0o644))
	_, _, err = pipelines.Embed(t.Context(), pipelines.EmbedOptions{Model: saveModel(t), Data: []string{dir}, Out: same, Runner: "direct"})
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "is to be read and written; give another file to write")
	after, err := os.ReadFile(same)
	require.NoError(t, err)
	require.Equal(t, data, after)
	picture, err := os.ReadFile(fixtures + "/folder/train/Banana/Banana_001.jpg")
	require.NoError(t, err)
	table := filepath.Join(dir, "lists.parquet")
	embed := func(column string, data ...string) (images, bad int64, err error) {
		return pipelines.Embed(t.Context(), pipelines.EmbedOptions{
			Model: saveModel(t), Data: data, Columns: imageio.Columns{Label: column}, Out: filepath.Join(dir, "out.parquet"), Runner: "prism",
		})
	}
	lists := func(labels ...int32) error {
		require.NoError(t, arrowio.SaveParquet(t.Context(), table, record.Of([]struct {
			Image []byte  `arrow:"image"`
			Label []int32 `arrow:"label"`
		}{{picture, labels}}).Record))
		_, _, err := embed("", table)
		return err
	}
	err = lists(1, 1)
	require.ErrorAs(t, err, new(*run.UsageError))
	require.ErrorContains(t, err, "lists.parquet, row 0: its label cannot be used: column label holds the class 1 twice")
	_, _, err = embed("label", table, fixtures+"/folder/train")
	require.ErrorContains(t, err, "column label holds the class 1 twice")
	images, bad, err := embed("", table, fixtures+"/folder/train")
	require.NoError(t, err)
	require.Equal(t, []int64{19, 1}, []int64{images, bad})
	rows, err := arrowio.LoadRows[pipelines.Embedded](t.Context(), filepath.Join(dir, "out.parquet"))
	require.NoError(t, err)
	require.Contains(t, rows[0].Error, "its label cannot be used: column label holds the class 1 twice")
	require.NoError(t, lists(1, 0))
	rows, err = arrowio.LoadRows[pipelines.Embedded](t.Context(), filepath.Join(dir, "out.parquet"))
	require.NoError(t, err)
	require.EqualValues(t, -1, rows[0].Label)
	require.Equal(t, "1, 0", rows[0].Class)
	broken := filepath.Join(dir, "broken")
	require.NoError(t, os.Mkdir(broken, 0o755))
	for i := range 3 {
		require.NoError(t, os.WriteFile(filepath.Join(broken, fmt.Sprint(i, ".png")), nil, 0o644))
	}
	images, bad, err = pipelines.Embed(t.Context(), pipelines.EmbedOptions{Model: saveModel(t), Data: []string{broken}, Out: filepath.Join(dir, "bad.parquet"), Runner: "direct"})
	require.NoError(t, err)
	require.Equal(t, []int64{3, 3}, []int64{images, bad})
}
