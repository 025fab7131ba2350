package pipelines

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
)

// Inspect prints the status of a run: its stages, subsets, nets, losses and sizes on disk.
func Inspect(ctx context.Context, dir string, w io.Writer) error {
	folder, err := run.Open(ctx, dir)
	if err != nil {
		return err
	}
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return err
	}
	r, err := recipe.Parse(text)
	if err != nil {
		return fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	fmt.Fprintf(w, "run      %s\ncreated  %s by sdr %s\ndata     %v\nrecipe   %s: %s width %d, %s stem, paths %s, %s, %s images\n\n",
		folder.Info.ID, folder.Info.Created.Format("2006-01-02 15:04:05"), folder.Info.Version, folder.Info.Data,
		r.Name, r.Backbone.Arch, r.Backbone.Width, r.Backbone.Stem, r.Paths, r.SSL.Method, humanize.Comma(r.Train.Images))

	partitioned, err := printStages(ctx, folder, w)
	if err != nil {
		return err
	}
	if err := printSubsets(ctx, partitioned, w); err != nil {
		return err
	}
	models, err := train.ReadModels(ctx, dir)
	if err != nil {
		return err
	}
	t := newTable("net", "variant", "images seen", "images in subset", "loss", "embedding std", "file")
	for _, m := range models {
		t.AppendRow(table.Row{m.Subnet, m.Variant, humanize.Comma(m.Images), humanize.Comma(m.SubsetImages), fmt.Sprintf("%.4f", m.Loss), fmt.Sprintf("%.4f", m.Std), m.Path})
	}
	_, err = fmt.Fprintln(w, t.Render())
	return err
}

// Stages lists the stages of a run in order.
var Stages = []string{"ingest", "phase0", "features", "partition", "train", "random", "unified", "route", "evaluate", "deliver", "report"}

// printStages prints the stages and returns partition's output folder, or "" if partition is not done.
func printStages(ctx context.Context, folder *run.Folder, w io.Writer) (partitioned string, err error) {
	t := newTable("stage", "state", "seconds", "on disk")
	for _, name := range Stages {
		m, err := folder.ReadManifest(ctx, name)
		if err != nil {
			return "", err
		}
		state, seconds := "not done", ""
		if m != nil {
			state, seconds = "done "+m.Finished.Format("15:04:05"), fmt.Sprintf("%.1f", m.Seconds)
			if name == "partition" {
				partitioned = outDir(folder, name, m.Inputs)
			}
		}
		t.AppendRow(table.Row{name, state, seconds, humanize.IBytes(uint64(folder.Size(name)))})
	}
	for _, part := range []string{"checkpoints", "models"} {
		t.AppendRow(table.Row{part, "", "", humanize.IBytes(uint64(folder.Size(part)))})
	}
	_, err = fmt.Fprintln(w, t.Render())
	return partitioned, err
}

func printSubsets(ctx context.Context, partitioned string, w io.Writer) error {
	if partitioned == "" {
		return nil
	}
	refs, err := readOut[shards.Ref](ctx, partitioned)
	if err != nil {
		return err
	}
	sizes := map[string]int64{}
	for _, ref := range refs {
		for digits := range len(ref.Subset) {
			sizes[ref.Subset[:digits+1]] += ref.Rows
		}
	}
	t := newTable("subset", "images")
	for _, code := range slices.Sorted(maps.Keys(sizes)) {
		t.AppendRow(table.Row{code, humanize.Comma(sizes[code])})
	}
	if _, err = fmt.Fprintln(w, t.Render()); err != nil || !files.IsLocal(partitioned) {
		return err
	}
	agreement, err := partition.Agreement(ctx, refs)
	if err != nil {
		slog.Debug("the shards cannot be read", "error", err) // the run has moved, or was shrunk
		return nil
	}
	_, err = fmt.Fprintf(w, "adjusted mutual information of the subsets and the files or folders that the images come from: %.2f\n", agreement)
	return err
}

func newTable(header ...any) table.Writer {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.AppendHeader(header)
	return t
}
