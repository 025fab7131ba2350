package pipelines

import (
	"context"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// EmbedOptions are the arguments of Embed and Predict.
type EmbedOptions struct {
	// Model is the path of a model file.
	Model string
	// Data are folders and files of images.
	Data []string
	// Columns are those of Parquet files among them.
	Columns imageio.Columns
	// Out is the Parquet file to write.
	Out string
	// Device is the one of distant workers; this process computes on compute.Device.
	Device ssl.Device
	// Runner is the name of a registered Beam runner.
	Runner string
}

// Embedded is the schema of the file that Embed writes: the features of one image.
type Embedded struct {
	// Source is the image's file, the file that contains it, or archive!member.
	Source string `arrow:"source"`
	// Row is the image's index in a file whose images have no names, otherwise 0.
	Row int64 `arrow:"row"`
	// Label is the image's class number if its source has numeric labels, otherwise -1; Class is the class name, or
	// empty.
	Label int64  `arrow:"label"`
	Class string `arrow:"class"`
	// Feature has the model's feature dimension; it is all zeros if the image could not be read.
	Feature []float32 `arrow:"feature"`
	// Error says why the image could not be read; otherwise it is empty.
	Error string `arrow:"error"`
}

// Embed writes the features of images under a model to a Parquet file, one row per image in the order in which they are
// found. It returns the number of images and how many of them could not be read.
func Embed(ctx context.Context, o EmbedOptions) (images, bad int64, err error) {
	model, err := inference.Load(ctx, o.Model)
	if err != nil {
		return 0, 0, run.Usage(err)
	}
	type good struct {
		Index     int64     `arrow:"index"`
		Source    string    `arrow:"source"`
		Row       int64     `arrow:"row"`
		Label     int64     `arrow:"label"`
		Class     string    `arrow:"class"`
		LabelLost bool      `arrow:"label_lost"`
		Damage    string    `arrow:"damage"`
		Feature   []float32 `arrow:"feature"`
	}
	_, images, bad, err = perImage[good, Embedded]{
		o: o, tuning: tuningOf(ctx, o.Model), reading: imageio.ReadConfig{Size: model.Input.Size, Labels: true},
		compute: func(s beam.Scope, images beam.PCollection) (rows, dead beam.PCollection) {
			return inference.Embed(s, images, inference.Config{Model: o.Model})
		},
		good: func(r good) imageRow[Embedded] {
			return imageRow[Embedded]{
				index: r.Index, labeled: r.Label >= 0 || r.Class != "", lost: r.LabelLost, damaged: r.Damage != "",
				rows: []Embedded{{Source: r.Source, Row: r.Row, Label: r.Label, Class: r.Class, Feature: r.Feature}},
			}
		},
		bad: func(d imageio.Dead) Embedded {
			return Embedded{Source: d.Source, Row: d.Row, Label: -1, Feature: make([]float32, model.Backbone.FeatureDim()), Error: d.Reason}
		},
	}.run(ctx)
	return images, bad, err
}

// tuningOf returns the folder of the choices of algorithms of the run whose folder has a model's file, such as models/NAME or
// routed/TASK/NAME; empty if there is none.
func tuningOf(ctx context.Context, model string) string {
	if files.IsLocal(model) {
		if absolute, err := filepath.Abs(model); err == nil {
			model = absolute
		}
	}
	for dir, depth := files.Dir(model), 0; depth < 3 && dir != files.Dir(dir); dir, depth = files.Dir(dir), depth+1 {
		if folder, err := run.Open(ctx, dir); err == nil {
			return folder.TuningDir()
		}
	}
	return ""
}
