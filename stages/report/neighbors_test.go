package report

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/jpeg"
	"io"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// saveNet saves a random net of a run.
func saveNet(t *testing.T, dir, subnet string, seed uint64) {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
	l := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, l.NumParams), make([]float32, l.NumStats)
	l.Init(params, rand.New(rand.NewPCG(seed, seed)))
	l.InitStats(stats)
	key, value := inference.Input{Size: 8, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.2, .2, .2}}.Metadata()
	require.NoError(t, files.Write(t.Context(), run.ModelPath(dir, subnet), func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
}

// TestNeighbors compares the neighbors with those by the angles between features, and reads the page.
func TestNeighbors(t *testing.T) {
	const parts = "../../testdata/fixtures/folder"
	dir := t.TempDir()
	saveNet(t, dir, "unified", 1)
	saveNet(t, dir, "0", 2)
	fruit := tasks.Task{Name: "fruit", Train: filepath.Join(parts, "train"), Test: filepath.Join(parts, "test")}
	results := []evaluate.Row{
		{Task: "fruit", Protocol: "linear", Subnet: "unified", Norm: "training"}, {Task: "fruit", Protocol: "linear", Subnet: "root", Norm: "training", Routed: true},
		{Task: "fruit", Protocol: "knn", Subnet: "unified", Norm: "training"}, {Task: "fruit", Protocol: "knn", Subnet: "unified", Norm: "task"},
		{Task: "fruit", Protocol: "knn", Subnet: "0", Norm: "training", Routed: true}, {Task: "bare", Protocol: "knn", Subnet: "0", Norm: "training", Routed: true},
	}
	found, err := findNeighbors(t.Context(), dir, results, []tasks.Task{fruit, {Name: "bare"}, {Name: "dead"}}, 8)
	require.NoError(t, err)
	require.Len(t, found, 1, "a task without a unified net is left out")

	training, err := tasks.Load(t.Context(), fruit.Train, 8, nil)
	require.NoError(t, err)
	test, err := tasks.Load(t.Context(), fruit.Test, 8, training.Classes)
	require.NoError(t, err)
	require.Len(t, found[0].Tests, min(3, test.Len()))
	for net, name := range []string{"unified", "0"} {
		m, err := inference.Load(t.Context(), run.ModelPath(dir, name))
		require.NoError(t, err)
		features := func(pixels []uint8) []float32 {
			x, err := inference.Features(t.Context(), m, 1, func(int) []uint8 { return pixels })
			require.NoError(t, err)
			return x.Data().([]float32)
		}
		for i, n := range found[0].Tests {
			require.Equal(t, test.At((2*i+1)*test.Len()/(2*len(found[0].Tests))), n.Test.Pixels)
			angle := func(pixels []uint8) float64 {
				var dot, aa, bb float64
				b := features(pixels)
				for j, a := range features(n.Test.Pixels) {
					dot, aa, bb = dot+float64(a*b[j]), aa+float64(a*a), bb+float64(b[j]*b[j])
				}
				return math.Acos(min(1, dot/math.Sqrt(aa*bb)))
			}
			var all, got []float64
			for k := range training.Len() {
				all = append(all, angle(training.At(k)))
			}
			slices.Sort(all)
			for _, p := range n.Near[net].Pictures {
				got = append(got, angle(p.Pixels))
				k := slices.IndexFunc(slices.Collect(slices.Chunk(training.Pixels, 8*8*3)), func(x []uint8) bool { return bytes.Equal(x, p.Pixels) })
				require.Equal(t, training.Classes[training.Labels[k]], p.Class)
			}
			require.Equal(t, name, n.Near[net].Net)
			require.Len(t, got, min(5, training.Len()))
			require.InDeltaSlice(t, all[:len(got)], got, 1e-3)
		}
	}
	require.ErrorContains(t, func() error {
		_, err := findNeighbors(t.Context(), t.TempDir(), results, []tasks.Task{fruit}, 8)
		return err
	}(), "task fruit: model")
}

// TestNeighborsOnPage reads the pictures of a page.
func TestNeighborsOnPage(t *testing.T) {
	picture := func(side int, class string) Picture { return Picture{solid(side, 200, 100, 50), side, class} }
	p := fullPage()
	p.Costs = [][2]string{{"training", "9 images"}}
	p.Neighbors = []TaskNeighbors{{Task: "emoji", Tests: []Neighbors{{Test: picture(100, "a<b"), Near: []Near{
		{Net: "unified", Pictures: []Picture{picture(8, "a<b"), picture(48, "c")}}, {Net: "0.1", Pictures: []Picture{picture(8, "d"), picture(8, "e")}},
	}}}}}
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Contains(t, texts(all(doc, "h3")), "What routing costs and gains")
	body := text(doc)
	require.Contains(t, body, "a test image of a<b")
	require.Contains(t, body, "unified: 1 of 2 are a<b")
	require.Contains(t, body, "routed, 0.1: 0 of 2 are a<b")
	var marks, sides []string
	for _, img := range all(doc, "img")[:5] {
		data, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(attr(img, "src"), "data:image/jpeg;base64,"))
		require.NoError(t, err)
		im, err := jpeg.Decode(bytes.NewReader(data))
		require.NoError(t, err)
		r, g, b, _ := im.At(4, 4).RGBA()
		require.InDeltaSlice(t, []float64{200, 100, 50}, []float64{float64(r >> 8), float64(g >> 8), float64(b >> 8)}, 8)
		marks, sides = append(marks, attr(img.Parent, "class")+":"+attr(img, "alt")), append(sides, fmt.Sprint(im.Bounds().Dx()))
	}
	require.Equal(t, []string{"near:a<b", ":a<b", "wrong:c", "wrong:d", "wrong:e"}, marks)
	require.Equal(t, []string{"48", "8", "48", "8", "8"}, sides)

	p.Neighbors[0].Tests[0].Test.Side = 7
	require.ErrorContains(t, Write(io.Discard, p), "a picture of 7 px with 30000 bytes; want 7 x 7 x 3")
}
