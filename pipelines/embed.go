package pipelines

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// EmbedOptions are the arguments of Embed.
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

// splitImages is the number of images per split.
const splitImages = 2048

// Embed writes the features of images under a model to a Parquet file, one row per image in the order in which they are
// found. It returns the number of images and how many of them could not be read.
func Embed(ctx context.Context, o EmbedOptions) (images, bad int64, err error) {
	model, err := inference.Load(ctx, o.Model)
	if err != nil {
		return 0, 0, run.Usage(err)
	}
	splits, sources, err := imageio.Survey(ctx, o.Data, splitImages, o.Columns)
	if err != nil {
		return 0, 0, run.Usage(err)
	}
	dir := o.Out + ".parts-" + uuid.NewString()
	defer func() { err = errors.Join(err, files.RemoveAll(context.WithoutCancel(ctx), dir)) }()
	features, dead := files.Join(dir, "features"), files.Join(dir, "dead")
	tuning := files.Join(dir, "tuning")
	if folder := runOf(ctx, o.Model); folder != nil {
		tuning = folder.TuningDir()
	}
	defer shareTuning(ctx, tuning)()

	p, s := beam.NewPipelineWithRoot()
	read, unread := imageio.ReadSplits(s, beam.CreateList(s, splits), imageio.ReadConfig{Size: model.Input.Size, Labels: true})
	embedded, failed := inference.Embed(s, read, inference.Config{Model: o.Model})
	arrowio.WriteDir(s, features, embedded)
	arrowio.WriteDir(s, dead, beam.Flatten(s, unread, failed))
	if err := runOn(ctx, o.Runner, o.Device, p); err != nil {
		return 0, 0, err
	}
	rows, bad, err := readEmbedded(ctx, features, dead, model.Backbone.FeatureDim(), sources)
	if err != nil {
		return 0, 0, err
	}
	var records []arrow.Record
	for part := range slices.Chunk(rows, 1<<16) {
		records = append(records, record.Of(part).Record)
	}
	return int64(len(rows)), bad, arrowio.SaveParquet(ctx, o.Out, records...)
}

// runOf returns the run whose folder has a model's file, such as models/NAME or routed/TASK/NAME; nil if there is none.
func runOf(ctx context.Context, model string) *run.Folder {
	if files.IsLocal(model) {
		if absolute, err := filepath.Abs(model); err == nil {
			model = absolute
		}
	}
	for dir, depth := files.Dir(model), 0; depth < 3 && dir != files.Dir(dir); dir, depth = files.Dir(dir), depth+1 {
		if folder, err := run.Open(ctx, dir); err == nil {
			return folder
		}
	}
	return nil
}

// readEmbedded reads what the pipeline wrote, in the order of the images, and logs a line about each source, a warning if
// it lost labels.
func readEmbedded(ctx context.Context, features, dead string, dim int, sources []imageio.Source) (rows []Embedded, bad int64, err error) {
	type good struct {
		Index     int64     `arrow:"index"`
		Source    string    `arrow:"source"`
		Row       int64     `arrow:"row"`
		Label     int64     `arrow:"label"`
		Class     string    `arrow:"class"`
		LabelLost bool      `arrow:"label_lost"`
		Feature   []float32 `arrow:"feature"`
	}
	type indexed struct {
		index     int64
		labelLost bool
		Embedded
	}
	var all []indexed
	read, err := readOut[good](ctx, features)
	if err != nil {
		return nil, 0, err
	}
	for _, r := range read {
		all = append(all, indexed{r.Index, r.LabelLost, Embedded{Source: r.Source, Row: r.Row, Label: r.Label, Class: r.Class, Feature: r.Feature}})
	}
	letters, err := readOut[imageio.Dead](ctx, dead)
	if err != nil {
		return nil, 0, err
	}
	for _, d := range letters {
		all = append(all, indexed{d.Index, false, Embedded{Source: d.Source, Row: d.Row, Label: -1, Feature: make([]float32, dim), Error: d.Reason}})
	}
	// A runner may have embedded an image twice, in other batches.
	slices.SortFunc(all, func(a, b indexed) int {
		return cmp.Or(cmp.Compare(a.index, b.index), strings.Compare(a.Error, b.Error))
	})
	all = slices.CompactFunc(all, func(a, b indexed) bool { return a.index == b.index })
	tallies := make([]imageio.Tally, len(sources))
	for _, r := range all {
		rows = append(rows, r.Embedded)
		t := &tallies[slices.IndexFunc(sources, func(s imageio.Source) bool { return s.Has(imageio.SplitOf(r.index)) })]
		if r.Error != "" {
			t.Dead++
			bad++
			continue
		}
		t.Images++
		if r.labelLost {
			t.Lost++
		} else if r.Label >= 0 || r.Class != "" {
			t.Labeled++
		}
	}
	for i, s := range sources {
		level := slog.LevelInfo
		if tallies[i].Lost > 0 {
			level = slog.LevelWarn
		}
		slog.Log(ctx, level, s.Summary(tallies[i]))
	}
	return rows, bad, nil
}
