package pipelines

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

// splitImages is the number of images per split.
const splitImages = 2048

// perImage is a job that computes rows for each image of o.Data with a model and writes them to o.Out.
type perImage[In, Out any] struct {
	o EmbedOptions
	// tuning is the folder of the choices of algorithms that belong to the model; if it is empty, the job makes its own.
	tuning string
	// reading says how to read the images.
	reading imageio.ReadConfig
	// compute returns rows In and, if images can fail, dead letters.
	compute func(s beam.Scope, images beam.PCollection) (rows, dead beam.PCollection)
	// good and bad make the rows of the file.
	good func(In) imageRow[Out]
	bad  func(imageio.Dead) Out
}

// imageRow is the rows of an image, mostly one, with what their order and the summary of their sources need.
type imageRow[Out any] struct {
	index         int64
	labeled, lost bool   // lost is that of a label
	damaged       bool   // but read
	reason        string // why the image could not be read
	rows          []Out
}

// run runs the job and returns the rows that it wrote, in the order in which the images are found, the number of images, and
// how many of them could not be read.
func (j perImage[In, Out]) run(ctx context.Context) (rows []Out, images, bad int64, err error) {
	o := j.o
	splits, sources, err := imageio.Survey(ctx, o.Data, splitImages, o.Columns)
	if err != nil {
		return nil, 0, 0, run.Usage(err)
	}
	warnTwice(o.Data)
	if err := (reads{o.Data, o.Columns, []string{o.Model}}).spare(ctx, o.Out); err != nil {
		return nil, 0, 0, err
	}
	dir := o.Out + ".parts-" + uuid.NewString()
	defer func() {
		ctx := context.WithoutCancel(ctx)
		removal := files.RemoveAll(ctx, dir)
		for left := 20; err != nil && left > 0; left-- { // bundles of a failed job may still write there
			time.Sleep(50 * time.Millisecond)
			if removal == nil && !files.IsFolder(ctx, dir) {
				break
			}
			removal = files.RemoveAll(ctx, dir)
		}
		err = cmp.Or(err, removal)
	}()
	computed, dead := files.Join(dir, "computed"), files.Join(dir, "dead")
	defer shareTuning(ctx, cmp.Or(j.tuning, files.Join(dir, "tuning")))()

	p, s := beam.NewPipelineWithRoot()
	reading := j.reading
	elsewhere := slices.ContainsFunc(splits, func(s imageio.Split) bool { return s.Path != splits[0].Path })
	reading.Strict = o.Columns.Label != "" || !elsewhere // the user's own choice, or all there is
	read, unread := imageio.ReadSplits(s, beam.CreateList(s, splits), reading)
	made, failed := j.compute(s, read)
	if failed.IsValid() {
		unread = beam.Flatten(s, unread, failed)
	}
	arrowio.WriteDir(s, computed, made)
	arrowio.WriteDir(s, dead, unread)
	switch err := runOn(ctx, o.Runner, o.Device, p); {
	case errors.Is(err, imageio.ErrLabel):
		return nil, 0, 0, run.Usage(err)
	case err != nil:
		return nil, 0, 0, err
	}
	all, err := j.read(ctx, computed, dead)
	if err != nil {
		return nil, 0, 0, err
	}
	for _, r := range all {
		rows = append(rows, r.rows...)
		if r.reason != "" {
			bad++
		}
	}
	summarize(ctx, all, sources)
	var records []arrow.Record
	for part := range slices.Chunk(rows, 1<<16) {
		records = append(records, record.Of(part).Record)
	}
	return rows, int64(len(all)), bad, arrowio.SaveParquet(ctx, o.Out, records...)
}

// read reads what the pipeline wrote, in the order of the images.
func (j perImage[In, Out]) read(ctx context.Context, computed, dead string) (all []imageRow[Out], err error) {
	read, err := readOut[In](ctx, computed)
	if err != nil {
		return nil, err
	}
	for _, r := range read {
		all = append(all, j.good(r))
	}
	letters, err := readOut[imageio.Dead](ctx, dead)
	if err != nil {
		return nil, err
	}
	for _, d := range letters {
		all = append(all, imageRow[Out]{index: d.Index, reason: d.Reason, rows: []Out{j.bad(d)}})
	}
	// A runner may have computed an image twice, in other batches.
	slices.SortFunc(all, func(a, b imageRow[Out]) int {
		return cmp.Or(cmp.Compare(a.index, b.index), strings.Compare(a.reason, b.reason))
	})
	return slices.CompactFunc(all, func(a, b imageRow[Out]) bool { return a.index == b.index }), nil
}

// summarize logs a line about each source, a warning if it lost labels.
func summarize[Out any](ctx context.Context, all []imageRow[Out], sources []imageio.Source) {
	tallies := make([]imageio.Tally, len(sources))
	for _, r := range all {
		t := &tallies[slices.IndexFunc(sources, func(s imageio.Source) bool { return s.Has(imageio.SplitOf(r.index)) })]
		switch {
		case r.reason != "":
			t.Dead++
			continue
		case r.lost:
			t.Lost++
		case r.labeled:
			t.Labeled++
		}
		if t.Images++; r.damaged {
			t.Damaged++
		}
	}
	for i, s := range sources {
		level := slog.LevelInfo
		if tallies[i].Lost > 0 {
			level = slog.LevelWarn
		}
		slog.Log(ctx, level, s.Summary(tallies[i]))
	}
}
