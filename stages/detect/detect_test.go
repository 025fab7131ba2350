package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"image/draw"
	"image/jpeg"
	"image/png"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the stage must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/detect"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/transforms/annotations"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/fault"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// newData writes pictures of light and dark squares on gray, as Pascal VOC, and returns the folder.
func newData(t *testing.T, images int) annotations.Config {
	dir := t.TempDir()
	r := rng.New(1)
	var names []string
	for i := range images {
		name := fmt.Sprintf("im%02d", i)
		names = append(names, name)
		canvas := image.NewRGBA(image.Rect(0, 0, 64, 48))
		draw.Draw(canvas, canvas.Rect, image.NewUniform(color.Gray{128}), image.Point{}, draw.Src)
		var objects strings.Builder
		for k := range 1 + i%2 {
			class, shade := "light", uint8(240)
			if r.IntN(2) == 0 {
				class, shade = "dark", 10
			}
			side := 12 + r.IntN(8)
			x, y := 32*k+r.IntN(32-side), r.IntN(48-side)
			draw.Draw(canvas, image.Rect(x, y, x+side, y+side), image.NewUniform(color.Gray{shade}), image.Point{}, draw.Src)
			fmt.Fprintf(&objects, "<object><name>%s</name><bndbox><xmin>%d</xmin><ymin>%d</ymin><xmax>%d</xmax><ymax>%d</ymax></bndbox></object>",
				class, x+1, y+1, x+side, y+side)
		}
		var b bytes.Buffer
		require.NoError(t, png.Encode(&b, canvas))
		text := "<annotation><size><width>64</width><height>48</height></size>" + objects.String() + "</annotation>"
		for path, data := range map[string][]byte{"JPEGImages/" + name + ".png": b.Bytes(), "Annotations/" + name + ".xml": []byte(text)} {
			require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, path), data))
		}
	}
	require.NoError(t, files.WriteBytes(t.Context(), filepath.Join(dir, "ImageSets/Main/all.txt"), []byte(strings.Join(names, "\n"))))
	return annotations.Config{Path: dir, Splits: []string{"all"}}
}

// newModel writes a random backbone.
func newModel(t *testing.T) string {
	b := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4}
	layout := nn.NewLayout(b, nn.Heads{})
	params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
	layout.Init(params, rng.New(1, rng.Weights))
	layout.InitStats(stats)
	key, value := inference.Input{Size: 32, Mean: [3]float32{.5, .5, .5}, Std: [3]float32{.25, .25, .25}}.Metadata()
	path := filepath.Join(t.TempDir(), "random.safetensors")
	require.NoError(t, files.Write(t.Context(), path, func(w io.Writer) error {
		return nn.SaveModel(w, b, nn.Heads{}, params, stats, map[string]string{key: value})
	}))
	return path
}

func newConfig(t *testing.T, data annotations.Config) Config {
	return Config{Data: data, Dir: t.TempDir(), Size: 64, Channels: 16, Convs: 1, Batch: 4, Epochs: 2, LR: .005, Every: 1 << 40}
}

// A detector learns the squares that it sees, and the three composites give the same on both runners.
func TestStage(t *testing.T) {
	data, path := newData(t, 16), newModel(t)
	var first []Row
	for _, runner := range []string{"prism", "direct"} {
		cfg := newConfig(t, data)
		cfg.Epochs, cfg.BackboneLR = 40, .002
		out := t.TempDir()
		p, s := beam.NewPipelineWithRoot()
		detectors := Train(s, beam.Create(s, record.Of([]Job{{Net: "a", Model: path, Seed: 1}})), cfg)
		detections, dead := Predict(s, detectors, data, Limit{})
		arrowio.WriteDir(s, out, Measure(s, detectors, detections, dead, annotations.Read(s, data), []string{"a"}))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		rows, err := arrowio.LoadIPC[Row](t.Context(), filepath.Join(out, "*.arrow"))
		require.NoError(t, err)
		require.Len(t, rows, 3)
		require.Greater(t, rows[0].AP50, 60.)
		require.Equal(t, "dark", rows[1].Class)
		require.Equal(t, "light", rows[2].Class)
		require.InDelta(t, rows[0].AP, (rows[1].AP+rows[2].AP)/2, 1e-9)
		require.EqualValues(t, 24, rows[0].Objects)
		require.EqualValues(t, 16, rows[0].Images)
		require.LessOrEqual(t, rows[0].Low, rows[0].AP)
		require.GreaterOrEqual(t, rows[0].High, rows[0].AP)
		if first == nil {
			first = rows
		}
		for i := range rows {
			require.Equal(t, fmt.Sprint(first[i]), fmt.Sprint(rows[i]), runner) // NaN is not equal to itself
		}
	}
}

// countdown is a context that is canceled after so many checks.
type countdown struct {
	context.Context
	left *int
}

func (c countdown) Err() error {
	if *c.left--; *c.left < 0 {
		return context.Canceled
	}
	return c.Context.Err()
}

// A training that was stopped goes on from its checkpoint and ends with the same file, whether the backbone is frozen or
// not; one that is done is not repeated.
func TestResume(t *testing.T) {
	data, path := newData(t, 10), newModel(t)
	for _, rate := range []float64{0, .001} {
		var want []byte
		for _, stopped := range []bool{false, true} {
			cfg := newConfig(t, data)
			cfg.BackboneLR, cfg.Epochs = rate, 3
			job := Job{Net: "net", Model: path, Seed: 3}
			if stopped {
				cfg.Every = 0
				left := 3 // steps
				if rate == 0 {
					left += 5 // batches of images and mirror images
				}
				_, err := cfg.train(countdown{t.Context(), &left}, job)
				require.ErrorIs(t, err, context.Canceled)
				require.FileExists(t, filepath.Join(cfg.Dir, "net/3.safetensors.checkpoint"))
				require.NoFileExists(t, filepath.Join(cfg.Dir, "net/3.safetensors"))
			}
			d, err := cfg.train(t.Context(), job)
			require.NoError(t, err)
			require.NoFileExists(t, d.Path+".checkpoint")
			got, err := os.ReadFile(d.Path)
			require.NoError(t, err)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got)
			before, err := os.Stat(d.Path)
			require.NoError(t, err)
			again, err := cfg.train(t.Context(), job)
			require.NoError(t, err)
			require.Equal(t, d, again)
			after, err := os.Stat(d.Path)
			require.NoError(t, err)
			require.Equal(t, before.ModTime(), after.ModTime())
		}
	}
}

// A runner, which passes a DoFn on as JSON, passes the time between checkpoints on, too; it makes no difference to what
// a detector is, nor to the digests of those that were trained before.
func TestEvery(t *testing.T) {
	cfg := newConfig(t, annotations.Config{Path: "a"})
	text, err := json.Marshal(trainFn{cfg})
	require.NoError(t, err)
	var back trainFn
	require.NoError(t, json.Unmarshal(text, &back))
	require.Equal(t, cfg, back.Config)
	text, err = json.Marshal(cfg.Settings())
	require.NoError(t, err)
	require.Equal(t, `{"Data":{"Path":"a","Splits":null,"Images":""},"Dir":"","Size":64,"Channels":16,"Convs":1,"Batch":4,"Epochs":2,"LR":0.005,"BackboneLR":0}`, string(text))
}

// Training the backbone changes its weights but not its statistics, and freezing it changes neither.
func TestFrozen(t *testing.T) {
	data, path := newData(t, 8), newModel(t)
	base, err := inference.Load(t.Context(), path)
	require.NoError(t, err)
	pool := kernels.NewPool(1)
	defer pool.Close()
	for _, rate := range []float64{0, .001} {
		cfg := newConfig(t, data)
		cfg.BackboneLR, cfg.Epochs = rate, 1
		d, err := cfg.train(t.Context(), Job{Net: "net", Model: path, Seed: 1})
		require.NoError(t, err)
		m, _, _, err := open(t.Context(), d.Path, 1, pool)
		require.NoError(t, err)
		require.Equal(t, rate == 0, slices.Equal(base.Params, m.params))
		require.Equal(t, base.Stats, m.stats)
		require.Equal(t, []string{"dark", "light"}, m.Classes)
		require.Positive(t, m.Loss)
	}
}

// A mirrored picture has its pixels and its boxes mirrored.
func TestPut(t *testing.T) {
	set, err := annotations.Open(t.Context(), newData(t, 2))
	require.NoError(t, err)
	pictures, _, err := Limit{}.load(t.Context(), set, 32)
	require.NoError(t, err)
	p := pictures[1]
	require.Equal(t, [2]int{32, 24}, [2]int{p.Width, p.Height})
	require.Len(t, p.objects, 2)
	in := inference.Input{Mean: [3]float32{.5, .5, .5}, Std: [3]float32{1, 1, 1}}
	plain, mirrored := make([]float32, 32*32*3), make([]float32, 32*32*3)
	objects := p.put(plain, 32, in, false)
	others := p.put(mirrored, 32, in, true)
	for y := range 32 {
		for x := range 32 {
			require.Equal(t, plain[3*(32*y+x):3*(32*y+x)+3], mirrored[3*(32*y+31-x):3*(32*y+31-x)+3])
		}
	}
	require.Zero(t, plain[3*32*24], "beyond the picture")
	for i, o := range objects {
		require.InDelta(t, 32, o.Box[0]+others[i].Box[2], 1e-5)
		require.InDelta(t, 32, o.Box[2]+others[i].Box[0], 1e-5)
		require.Equal(t, o.Box[1], others[i].Box[1])
		center := func(values []float32, b [4]float32) float32 {
			return values[3*(32*int((b[1]+b[3])/2)+int((b[0]+b[2])/2))]
		}
		light := center(plain, o.Box) > 0
		require.Equal(t, light, set.Classes[o.Class] == "light")
		require.Equal(t, light, center(mirrored, others[i].Box) > 0)
	}
}

// Tiles are squares of the scaled images, from as many as asked for, with the class of what is in the middle.
func TestTiles(t *testing.T) {
	set, err := annotations.Open(t.Context(), newData(t, 6))
	require.NoError(t, err)
	cfg := TileConfig{Size: 128, Side: 16, PerImage: 40, Images: 5}
	require.NoError(t, cfg.Validate())
	tiles, err := Tiles(t.Context(), set, cfg)
	require.NoError(t, err)
	require.Len(t, tiles, 200)
	count := map[string]int{}
	for _, c := range tiles {
		count[c.Label]++
		im, err := png.Decode(bytes.NewReader(c.Image))
		require.NoError(t, err)
		side := im.Bounds().Dx()
		require.Equal(t, side, im.Bounds().Dy())
		require.True(t, 16 <= side && side <= 24)
		gray, _, _, _ := im.At(side/2, side/2).RGBA()
		switch c.Label { // scaling blurs the edges
		case "light":
			require.Greater(t, gray>>8, uint32(130))
		case "dark":
			require.Less(t, gray>>8, uint32(126))
		}
	}
	require.Len(t, count, 3)
	require.Greater(t, count[Background], 100)
	again, err := Tiles(t.Context(), set, cfg)
	require.NoError(t, err)
	require.Equal(t, tiles, again)
	require.Error(t, TileConfig{Size: 16, Side: 32, PerImage: 1, Images: 1}.Validate())
}

// What is measured is written in three forms and drawn.
func TestResults(t *testing.T) {
	data := newData(t, 4)
	set, err := annotations.Open(t.Context(), data)
	require.NoError(t, err)
	detectors := []Detector{{Net: "good", Seed: 1}, {Net: "bad", Seed: 1}}
	var found []Detection
	for i, im := range set.Images {
		for _, o := range im.Objects {
			found = append(found, Detection{
				Net: "good", Seed: 1, Image: int64(i), Class: set.Classes[o.Class], Score: .9,
				Left: o.Box[0], Top: o.Box[1], Width: o.Box[2], Height: o.Box[3],
			}, Detection{Net: "bad", Seed: 1, Image: int64(i), Class: "unknown", Score: .9, Width: 4, Height: 4})
		}
	}
	var rows []annotations.Row
	for _, o := range set.Objects() {
		rows = append(rows, annotations.Row{
			Image: int64(o.Image), Class: int64(o.Class), Name: set.Classes[o.Class],
			Left: o.Box[0], Top: o.Box[1], Width: o.Box[2], Height: o.Box[3], Area: o.Area,
		})
	}
	r := Collect(measure(detectors, found, newTruth(rows, nil)), "data", set.Split)
	require.InDelta(t, 100, *r.Nets[0].AP, 1e-9)
	require.Nil(t, r.Nets[0].Difference)
	require.Nil(t, r.Nets[0].APLarge)
	require.Zero(t, *r.Nets[1].AP)
	require.InDelta(t, -100, *r.Nets[1].Difference, 1e-9)
	var b bytes.Buffer
	require.NoError(t, r.WriteTable(&b))
	require.Contains(t, b.String(), "AP - good")
	require.Contains(t, b.String(), "-100.0 (-100.0 to -100.0)")
	b.Reset()
	require.NoError(t, r.WriteCSV(&b))
	require.Len(t, strings.Split(strings.TrimSpace(b.String()), "\n"), 7)
	b.Reset()
	require.NoError(t, r.WriteJSON(&b))
	var back Results
	require.NoError(t, json.Unmarshal(b.Bytes(), &back))
	require.Equal(t, r.Nets, back.Nets)
	drawn, err := Draw(t.Context(), set, detectors, found)
	require.NoError(t, err)
	require.Len(t, drawn, len(detectors))
	for i := range found {
		found[i].Score = DrawnScore - .01
	}
	plain, err := Draw(t.Context(), set, detectors, found)
	require.NoError(t, err)
	require.Equal(t, plain[0], plain[1], "nothing is sure enough")
	require.Len(t, plain[0], len(set.Images))
	for i, im := range set.Images {
		for k := range detectors {
			require.Equal(t, im.Source, drawn[k][i].Source)
			picture, err := jpeg.Decode(bytes.NewReader(drawn[k][i].JPEG))
			require.NoError(t, err)
			require.Equal(t, sheetSize, picture.Bounds().Dx())
			require.NotEqual(t, plain[k][i], drawn[k][i])
		}
		require.NotEqual(t, drawn[0][i], drawn[1][i], "each detector found something else")
	}

	require.NoError(t, Validate(detectors))
	require.ErrorContains(t, Validate(append(detectors, Detector{Net: "bad", Seed: 2})), "good has the seeds [1] and bad has [1 2]")
}

// breakImages breaks an image, or its annotation, of Pascal VOC in each way there is, six in all.
func breakImages(t *testing.T, dir string) {
	change := func(name string, edit func(string) string) {
		path := filepath.Join(dir, name)
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		changed := edit(string(text))
		require.NotEqual(t, string(text), changed)
		require.NoError(t, os.WriteFile(path, []byte(changed), 0o644))
	}
	change("Annotations/im01.xml", func(s string) string { return s[:len(s)/2] })
	change("Annotations/im02.xml", func(s string) string {
		return regexp.MustCompile("<xmax>.*</xmax>").ReplaceAllString(s, "<xmax>0</xmax>")
	})
	change("Annotations/im03.xml", func(s string) string {
		return regexp.MustCompile("<xmin>.*?</xmin>(.*?)<xmax>.*?</xmax>").ReplaceAllString(s, "<xmin>70</xmin>$1<xmax>80</xmax>")
	})
	change("Annotations/im04.xml", func(s string) string { return strings.Replace(s, "<width>64", "<width>640", 1) })
	change("JPEGImages/im05.png", func(s string) string { return s[:len(s)/2] })
	require.NoError(t, os.Remove(filepath.Join(dir, "JPEGImages/im06.png")))
}

// Broken images and annotations are left out of all that uses them, and listed with the reason: what is made of the rest is
// what is made of a split without them, on both runners.
func TestBroken(t *testing.T) {
	const images, bad = 20, 6
	data, path := newData(t, images), newModel(t)
	breakImages(t, data.Path)
	rest := annotations.Config{Path: data.Path, Splits: []string{"rest"}}
	list, err := os.ReadFile(filepath.Join(data.Path, "ImageSets/Main/all.txt"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(data.Path, "ImageSets/Main/rest.txt"), regexp.MustCompile(`im0[1-6]\n`).ReplaceAll(list, nil), 0o644))

	limit := Limit{DeadLetter: filepath.Join(t.TempDir(), "dead-letter.parquet"), MaxBad: .3}
	letters := func() (all []string) {
		dead, err := ingest.ReadDead(t.Context(), limit.DeadLetter)
		require.NoError(t, err)
		for _, d := range dead {
			all = append(all, fmt.Sprintf("%d %s: %s", d.Index, filepath.Base(d.Source), d.Reason))
		}
		return all
	}
	pool := kernels.NewPool(2)
	defer pool.Close()
	var detectors [2][]byte
	var rows [2][]Row
	for i, from := range []annotations.Config{rest, data} {
		cfg := newConfig(t, from)
		cfg.Limit = limit
		d, err := cfg.train(t.Context(), Job{Net: "net", Model: path, Seed: 1})
		require.NoError(t, err)
		m, _, _, err := open(t.Context(), d.Path, 1, pool)
		require.NoError(t, err)
		m.Inputs = "" // names the split
		require.NoError(t, m.save(t.Context(), d.Path, detect.New(m.Detector, maps(nn.NewMaps(m.Backbone, m.First, 64, 1, pool, nn.Inference), 64), 1, pool, nn.Inference).Layout))
		detectors[i], err = os.ReadFile(d.Path)
		require.NoError(t, err)
		if from.Splits[0] == "rest" {
			require.NoFileExists(t, limit.DeadLetter)
		}
		for _, runner := range []string{"prism", "direct"} {
			out := t.TempDir()
			p, s := beam.NewPipelineWithRoot()
			all := beam.Create(s, record.Of([]Detector{d}))
			found, dead := Predict(s, all, from, limit)
			arrowio.WriteDir(s, out, Measure(s, all, found, dead, annotations.Read(s, from), []string{"net"}))
			_, err := beam.Run(t.Context(), runner, p)
			require.NoError(t, err)
			got, err := arrowio.LoadIPC[Row](t.Context(), filepath.Join(out, "*.arrow"))
			require.NoError(t, err)
			for k := range got {
				require.EqualValues(t, bad*i, got[k].LeftOut)
				require.EqualValues(t, images-bad, got[k].Images)
				got[k].LeftOut = 0
			}
			if rows[i] == nil {
				rows[i] = got
			}
			require.Equal(t, fmt.Sprint(rows[0]), fmt.Sprint(got), runner)
		}
	}
	require.Equal(t, detectors[0], detectors[1])
	all := letters()
	require.Len(t, all, bad)
	for i, want := range []string{
		"1 im01.xml: no annotation of Pascal VOC", "2 im02.xml: object 0", "3 im03.png: object 0", "4 im04.png: it has 64 x 48 pixels, but its boxes are for 640 x 48",
		"5 im05.png: ", "6 im06.xml: it has no image in JPEGImages",
	} {
		require.Contains(t, all[i], want)
	}
	require.Contains(t, all[2], "is outside the image")

	set, err := annotations.Open(t.Context(), data)
	require.NoError(t, err)
	tiles, err := Tiles(t.Context(), set, TileConfig{Size: 64, Side: 16, PerImage: 2, Images: images, Limit: limit})
	require.NoError(t, err)
	require.Len(t, tiles, 2*(images-bad))
	require.Len(t, letters(), bad)
	j, err := newJudge(t.Context(), set, 64, images, limit, pool)
	require.NoError(t, err)
	require.Len(t, j.pictures, images-bad)
	require.Len(t, j.set.Images, images-bad)
	require.Len(t, letters(), bad)
	drawn, err := Draw(t.Context(), set, []Detector{{Net: "net", Seed: 1}}, nil)
	require.NoError(t, err)
	require.Len(t, drawn[0], 12-4, "of every 20/12th image, the broken 1, 3, 5 and 6 are left out")

	limit.MaxBad = .29
	_, _, err = limit.load(t.Context(), set, 64)
	require.ErrorIs(t, fault.Parse(err), ingest.ErrTooManyBad)
	require.ErrorContains(t, err, "6 of 20 images cannot be read, more than the allowed fraction of 0.29")
	require.ErrorContains(t, err, "im01.xml")
	require.Len(t, letters(), bad, "too many are listed, too")
}

// Errors name the file, and what to do.
func TestErrors(t *testing.T) {
	cfg, path := newConfig(t, annotations.Config{}), newModel(t)
	_, err := ReadCard(t.Context(), path)
	require.ErrorContains(t, err, "is no detector")
	_, err = parseCard("x.safetensors", map[string]string{cardKey: `{"format": 2}`})
	require.ErrorIs(t, err, run.ErrNewer)
	require.ErrorContains(t, err, "x.safetensors")
	for _, bad := range []Config{{}, {Size: 50, Channels: 16, Batch: 1, Epochs: 1, LR: 1}, {Size: 64, Channels: 12, Batch: 1, Epochs: 1, LR: 1}, {Size: 64, Channels: 16, Batch: 1, Epochs: 1, LR: math.NaN()}} {
		require.Error(t, bad.Validate())
	}
	require.NoError(t, cfg.Validate())
}

// FuzzCard: any text in place of what a detector's file says of it is an error that names the file, or can be used.
func FuzzCard(f *testing.F) {
	f.Add(`{"detector": {"classes": 1, "channels": 8, "convolutions": 1}, "classes": ["a"], "backbone": {"arch": "resnet18", "stem": "small", "width": 4}, "input": {"size": 32, "mean": [0, 0, 0], "std": [1, 1, 1]}, "first": 3}`)
	f.Add(`{"first": -1}`)
	f.Add("null")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseCard("x.safetensors", map[string]string{cardKey: text})
		if err != nil {
			require.ErrorContains(t, err, "x.safetensors")
			return
		}
		require.Len(t, c.Classes, c.Detector.Classes)
		require.LessOrEqual(t, c.First, c.Backbone.Stages())
	})
}

// A net that shows the squares is better for a detector than one that shows nothing, with statistics of the images, too.
func TestScore(t *testing.T) {
	set, err := annotations.Open(t.Context(), newData(t, 24))
	require.NoError(t, err)
	m, err := inference.Load(t.Context(), newModel(t))
	require.NoError(t, err)
	blind := *m
	blind.Params = make([]float32, len(m.Params))
	pool := kernels.NewPool(2)
	defer pool.Close()
	j, err := newJudge(t.Context(), set, 64, 20, Limit{}, pool)
	require.NoError(t, err)
	require.Len(t, j.pictures, 20)
	stats, err := j.statistics([]*inference.Model{m, &blind})
	require.NoError(t, err)
	require.NotEqual(t, m.Stats, stats[0])
	backbone := nn.NewMaps(m.Backbone, firstStage(m.Backbone), 64, finderBatch, pool, nn.Inference)
	tuned := *m
	tuned.Stats = stats[0]
	last := *m // like m but for its last weights
	last.Params = slices.Clone(m.Params)
	last.Params[len(last.Params)-1]++
	nets := []*inference.Model{m, &tuned, &blind, &last, m}
	values, err := j.maps(t.Context(), backbone, nets)
	require.NoError(t, err)
	var scores []float64
	for i, net := range nets {
		alone, err := j.maps(t.Context(), backbone, []*inference.Model{net})
		require.NoError(t, err)
		require.Equal(t, alone[0], values[i])
		score, without, err := j.score(maps(backbone, 64), values[i])
		require.NoError(t, err)
		require.Len(t, without, parts)
		require.InDelta(t, score, without[0], 15)
		scores = append(scores, score)
	}
	require.Equal(t, scores[0], scores[4])
	require.NotEqual(t, values[3], values[4])
	require.Same(t, &values[3][0][0][0], &values[4][0][0][0], "the same map")
	require.Greater(t, scores[0], 4.)
	require.Greater(t, scores[1], 4.)
	require.Less(t, scores[2], 1.)
}

// Of the nets that are as good as the best one up to the noise of the difference, one nearest the root is taken.
func TestChoose(t *testing.T) {
	net := func(name string, level int64, score float64, noise ...float64) candidate {
		c := candidate{Score: route.Score{Subnet: name, Level: level, Score: score}}
		for _, v := range noise {
			c.without = append(c.without, score+v)
		}
		return c
	}
	leaf := net("0.1", 2, 30, -1, 1, -1, 1)
	for want, others := range map[string][]candidate{
		"0.1":     {net("root", 0, 28, -1, 1, -1, 1)},                                        // always worse by 2
		"unified": {net("root", 0, 28, 1, -1, 1, -1), net("unified", 0, 28.5, 1, -1, 1, -1)}, // worse by 2 up to 1.7
		"0":       {net("root", 0, 20, -1, 1, -1, 1), net("0", 1, 28.5, 1, -1, -1, 1)},       // the parent
	} {
		require.Equal(t, want, choose(append(others, leaf)).Subnet)
	}
}
