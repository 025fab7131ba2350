package main

import (
	"encoding/json"
	"fmt"
	"image"
	_ "image/jpeg"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dustin/go-humanize/english"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/detect"
	routing "github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// detectionData makes a folder of Pascal VOC of the fixtures' fruit, each with a box around most of the image.
func detectionData(t *testing.T) string {
	dir := t.TempDir()
	for split, list := range map[string]string{"train": "", "test": ""} {
		images, err := filepath.Glob(filepath.Join(folder, split, "*", "*.jpg"))
		require.NoError(t, err)
		require.NotEmpty(t, images)
		for _, path := range images {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			f, err := os.Open(path)
			require.NoError(t, err)
			size, _, err := image.DecodeConfig(f)
			require.NoError(t, err)
			require.NoError(t, f.Close())
			name := filepath.Base(path[:len(path)-4])
			list += name + "\n"
			text := fmt.Sprintf("<annotation><size><width>%[1]d</width><height>%[2]d</height></size><object><name>%[3]s</name>"+
				"<bndbox><xmin>3</xmin><ymin>3</ymin><xmax>%[1]d</xmax><ymax>%[2]d</ymax></bndbox></object></annotation>",
				size.Width, size.Height, filepath.Base(filepath.Dir(path)))
			require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "JPEGImages", name+".jpg"), data))
			require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "Annotations", name+".xml"), []byte(text)))
		}
		require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "ImageSets", "Main", split+".txt"), []byte(list)))
	}
	return dir
}

// writeBackbone writes a random backbone.
func writeBackbone(t *testing.T, path string, seed uint64) string {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 2}
	layout := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
	layout.Init(params, rng.New(seed, rng.Weights))
	layout.InitStats(stats)
	key, value := inference.Input{Size: 16, Std: [3]float32{1, 1, 1}}.Metadata()
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
	return path
}

// TestDetect compares two nets, one of them pre-trained twice, and adds a third.
func TestDetect(t *testing.T) {
	dir, data := t.TempDir(), detectionData(t)
	out := filepath.Join(dir, "out")
	first := writeBackbone(t, filepath.Join(dir, "1", "unified.safetensors"), 1)
	second := writeBackbone(t, filepath.Join(dir, "2", "unified.safetensors"), 2)
	routed := writeBackbone(t, filepath.Join(dir, "routed", "model.safetensors"), 3)
	train := []string{"detect", "train", "--data", data, "--out", out, "--size", "32", "--epochs", "1", "--channels", "8", "--convs", "1"}
	with := func(more ...string) []string { return append(append([]string{}, train...), more...) }
	require.Contains(t, mustSDR(t, with("--model", first, "--model", second)...), "2 detectors in "+out)
	kept, err := os.ReadFile(filepath.Join(out, "unified", "1.safetensors"))
	require.NoError(t, err)
	require.Contains(t, mustSDR(t, with("--model", filepath.Dir(routed), "--seeds", "2")...), "2 detectors in "+out)
	same, err := os.ReadFile(filepath.Join(out, "unified", "1.safetensors"))
	require.NoError(t, err)
	require.Equal(t, kept, same)

	eval := []string{"detect", "eval", "--detectors", out, "--data", data}
	figures, sheet := filepath.Join(dir, "figures.parquet"), filepath.Join(dir, "sheet.html")
	var r detect.Results
	require.NoError(t, json.Unmarshal([]byte(mustSDR(t, append(eval, "--format", "json", "--out", figures, "--sheet", sheet,
		"--detections", filepath.Join(dir, "found.parquet"))...)), &r))
	require.Equal(t, "test", r.Split)
	require.Len(t, r.Nets, 2)
	require.Equal(t, "unified", r.Nets[0].Net)
	require.Equal(t, []int64{1, 2}, r.Nets[1].Seeds)
	require.NotNil(t, r.Nets[1].Difference)
	require.Len(t, r.Nets[0].Classes, 3)
	rows, err := arrowio.LoadRows[detect.Row](t.Context(), figures)
	require.NoError(t, err)
	require.Len(t, rows, 2*2*4)
	page, err := os.ReadFile(sheet)
	require.NoError(t, err)
	require.Contains(t, string(page), "AP − unified")
	for _, net := range r.Nets {
		require.Contains(t, string(page), fmt.Sprintf(`<th scope="row">%s</th><td class="number">%.1f<`, net.Net, *net.AP))
		require.Contains(t, string(page), "<h3>"+net.Net+", seed 2</h3>")
	}
	left, err := filepath.Glob(filepath.Join(out, ".parts*"))
	require.NoError(t, err)
	require.Empty(t, left)

	tiles := filepath.Join(dir, "tiles.parquet")
	require.Contains(t, mustSDR(t, "detect", "tiles", "--data", data, "--out", tiles, "--size", "64", "--per-image", "2"), " tiles in "+tiles)
	all, err := arrowio.LoadRows[detect.Tile](t.Context(), tiles)
	require.NoError(t, err)
	require.Greater(t, len(all), 10)

	trained, chosen := filepath.Join(dir, "run"), filepath.Join(dir, "chosen")
	mustSDR(t, quickRun(trained)...)
	route := []string{"detect", "route", "--run", trained, "--data", data, "--out", chosen, "--size", "32"}
	require.Contains(t, mustSDR(t, route...), "of a linear detector on held-out images, in "+chosen)
	scores, err := arrowio.LoadRows[routing.Score](t.Context(), filepath.Join(chosen, "scores.parquet"))
	require.NoError(t, err)
	nets := map[string]int{}
	for _, s := range scores {
		nets[s.Subnet]++
	}
	require.Equal(t, 2, nets["unified"], "with either norm")
	require.Equal(t, 2, nets["root"])
	mustSDR(t, with("--model", filepath.Join(chosen, "model.safetensors"), "--seeds", "2")...)
	customized := filepath.Join(dir, "customized")
	require.Contains(t, mustSDR(t, "customize", "--run", trained, "--task", tiles, "--subnet", "unified", "--out", customized, "--images", "64"), "unified")
	require.FileExists(t, filepath.Join(customized, "model.safetensors"))
	require.Contains(t, mustSDR(t, append(route, "--without-unified", "--norm", "task")...), "norm task")
	scores, err = arrowio.LoadRows[routing.Score](t.Context(), filepath.Join(chosen, "scores.parquet"))
	require.NoError(t, err)
	require.Len(t, scores, len(nets)-1)

	for want, args := range map[string][]string{
		"--model is missing":                 train,
		"want a multiple of 32":              with("--model", first, "--size", "40"),
		"trained with other data or setting": with("--model", first, "--model", second, "--epochs", "2"),
		"another net named unified":          with("--model", second),
		"2 files of the net unified for 3":   with("--model", first, "--model", second, "--seeds", "3"),
		"no annotated images":                {"detect", "train", "--model", first, "--data", filepath.Join(folder, "train"), "--out", filepath.Join(dir, "x")},
		"there is no split val":              {"detect", "eval", "--detectors", out, "--data", data, "--split", "val"},
		"holds no detectors":                 {"detect", "eval", "--detectors", dir, "--data", data},
		"want table, json or csv":            {"detect", "eval", "--detectors", out, "--data", data, "--format", "xml"},
		"ends in .html":                      {"detect", "eval", "--detectors", out, "--data", data, "--sheet", "x.png"},
		"want at least 1 of each":            {"detect", "tiles", "--data", data, "--out", tiles, "--per-image", "0"},
		"has no net \"x\"":                   {"customize", "--run", trained, "--task", tiles, "--subnet", "x", "--out", customized},
		"there is nothing to watch":          {"watch", data},
		"--model " + data + " is a folder w": {"embed", "--model", data, "--data", data, "--out", figures},
		"--model " + out + " is a folder wi": with("--model", first, "--model", out),
		"there is no norm":                   {"detect", "route", "--run", trained, "--data", data, "--out", filepath.Join(dir, "r"), "--norm", "x"},
	} {
		_, log, code := sdr(t, args...)
		require.Equal(t, 2, code, "%v\n%s", args, log)
		require.Contains(t, log, want)
	}

	path := filepath.Join(out, "detect.json")
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	state := func(format string) {
		changed := strings.Replace(string(text), `  "format": 1,`+"\n", format, 1)
		require.NotEqual(t, string(text), changed)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
	}
	state(`"format": 2,`)
	for _, args := range [][]string{eval, with("--model", first, "--model", second)} {
		_, log, code := sdr(t, args...)
		require.Equal(t, 2, code, log)
		require.Contains(t, log, path+": format 2 is of a newer version of sdr")
	}
	state("")
	mustSDR(t, eval...)

	annotated, err := filepath.Glob(filepath.Join(data, "Annotations", "*.xml"))
	require.NoError(t, err)
	for _, path := range annotated { // of one class of both splits
		if strings.HasPrefix(filepath.Base(path), "Banana") {
			require.NoError(t, os.WriteFile(path, []byte("<annotation>"), 0o644))
		}
	}
	for list, command := range map[string][]string{
		filepath.Join(out, "eval-dead-letter.parquet"):     eval,
		filepath.Join(dir, "tiles.dead-letter.parquet"):    {"detect", "tiles", "--data", data, "--out", tiles},
		filepath.Join(dir, "new", "dead-letter.parquet"):   {"detect", "train", "--data", data, "--out", filepath.Join(dir, "new"), "--size", "32", "--epochs", "1", "--model", routed},
		filepath.Join(dir, "other", "dead-letter.parquet"): {"detect", "route", "--run", trained, "--data", data, "--out", filepath.Join(dir, "other"), "--size", "32"},
	} {
		_, log, code := sdr(t, command...)
		require.Equal(t, 2, code, log)
		require.Contains(t, log, "images cannot be read, more than the allowed fraction of 0.01")
		require.Contains(t, log, "all are listed in "+list+"; repair or remove them, or raise --max-bad")
		out, log, code := sdr(t, append(command, "--max-bad", "0.5")...)
		require.Zero(t, code, log)
		require.Contains(t, out+log, list)
		require.FileExists(t, list)
		if command[1] == "eval" {
			require.Contains(t, out, " left out), %")
		}
	}
}

// TestDetectPredict finds, in images without annotations, what eval finds in the same images, bit by bit, on both runners.
func TestDetectPredict(t *testing.T) {
	dir, data := t.TempDir(), detectionData(t)
	out, found := filepath.Join(dir, "out"), filepath.Join(dir, "found.parquet")
	backbone := writeBackbone(t, filepath.Join(dir, "unified.safetensors"), 1)
	mustSDR(t, "detect", "train", "--model", backbone, "--data", data, "--out", out, "--size", "64", "--epochs", "3", "--channels", "8", "--convs", "1")
	page, err := pipelines.NewWatcher(out).Page(t.Context())
	require.NoError(t, err)
	require.Equal(t, "The training of detectors is done.", page.State)
	require.Equal(t, "unified/1", page.Curves[0].Name)
	require.Len(t, page.Curves[0].Loss, 3)
	card, err := detect.ReadCard(t.Context(), filepath.Join(out, "unified", "1.safetensors"))
	require.NoError(t, err)
	require.Equal(t, card.Loss, page.Curves[0].Loss[2])
	mustSDR(t, "detect", "eval", "--detectors", out, "--data", data, "--detections", found)
	rows, err := arrowio.LoadRows[detect.Detection](t.Context(), found)
	require.NoError(t, err)
	want := map[string][]pipelines.Detected{}
	for _, r := range rows {
		want[r.Source] = append(want[r.Source], pipelines.Detected{
			Source: r.Source, Class: r.Class, Score: r.Score, Left: r.Left, Top: r.Top, Width: r.Width, Height: r.Height,
		})
	}
	require.NotEmpty(t, want)

	images := filepath.Join(data, "JPEGImages") // of both splits
	broken := filepath.Join(images, "zz.jpg")
	require.NoError(t, os.WriteFile(broken, []byte("x"), 0o644))
	file, sheet := filepath.Join(dir, "objects.parquet"), filepath.Join(dir, "objects.html")
	predict := func(more ...string) (string, []pipelines.Detected) {
		text := mustSDR(t, append([]string{"detect", "predict", "--model", filepath.Join(out, "unified", "1.safetensors"), "--data", images, "--out", file}, more...)...)
		rows, err := arrowio.LoadRows[pipelines.Detected](t.Context(), file)
		require.NoError(t, err)
		require.Equal(t, broken, rows[len(rows)-1].Source)
		require.NotEmpty(t, rows[len(rows)-1].Error)
		return text, rows[:len(rows)-1]
	}
	var all []pipelines.Detected
	for _, runner := range []string{"prism", "direct"} {
		var text string
		text, all = predict("--min-score", "0", "--sheet", sheet, "--runner", runner)
		require.Contains(t, text, "1 of them could not be read\n")
		require.Contains(t, text, english.Plural(len(all), "object", "")+" found")
		got := map[string][]pipelines.Detected{}
		for _, d := range all {
			if _, tested := want[d.Source]; tested {
				got[d.Source] = append(got[d.Source], d)
			}
		}
		require.Equal(t, want, got)
		page, err := os.ReadFile(sheet)
		require.NoError(t, err)
		require.Equal(t, 12, strings.Count(string(page), "data:image/jpeg;base64,"))
		require.NotContains(t, string(page), "annotated")
	}
	least := all[len(all)/2].Score
	_, surer := predict("--min-score", fmt.Sprint(least))
	require.Equal(t, slices.DeleteFunc(all, func(d pipelines.Detected) bool { return d.Score < least }), surer)

	for want, args := range map[string][]string{
		"is no detector":           {"--model", backbone, "--data", images, "--out", file},
		"--min-score 2":            {"--model", backbone, "--data", images, "--out", file, "--min-score", "2"},
		"ends in .html":            {"--model", backbone, "--data", images, "--out", file, "--sheet", "x"},
		"none of the images could": {"--model", filepath.Join(out, "unified", "1.safetensors"), "--data", broken, "--out", file},
	} {
		_, log, code := sdr(t, append([]string{"detect", "predict"}, args...)...)
		require.Equal(t, 2, code, "%v\n%s", args, log)
		require.Contains(t, log, want)
	}
}
