package pipelines

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/embed"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// EmbedOptions are the arguments of Embed.
type EmbedOptions struct {
	// Model is a model file.
	Model string
	// Data are folders and files of images.
	Data []string
	// Out is the Parquet file to write.
	Out string
	// Runner is a registered Beam runner.
	Runner string
}

// Embed writes the features of images under a model to a Parquet file, one row
// an image in the order in which they were found, and returns how many images
// there were and how many of them could not be read.
func Embed(ctx context.Context, o EmbedOptions) (images, bad int64, err error) {
	if _, err := inference.Load(ctx, o.Model); err != nil {
		return 0, 0, run.Usage(err)
	}
	splits, err := imageio.Plan(ctx, o.Data, 2048)
	if err != nil {
		return 0, 0, run.Usage(err)
	}
	if err := os.MkdirAll(filepath.Dir(o.Out), 0o755); err != nil {
		return 0, 0, fmt.Errorf("embed: %w", err)
	}
	dir, err := os.MkdirTemp(filepath.Dir(o.Out), filepath.Base(o.Out)+".parts-")
	if err != nil {
		return 0, 0, fmt.Errorf("embed: %w", err)
	}
	defer os.RemoveAll(dir)
	p, s := beam.NewPipelineWithRoot()
	arrowio.WriteDir(s, dir, embed.Images(s, o.Model, splits))
	if err := runPipeline(ctx, o.Runner, p); err != nil {
		return 0, 0, err
	}
	rows, err := readOut[embed.Row](ctx, dir)
	if err != nil {
		return 0, 0, err
	}
	slices.SortFunc(rows, func(a, b embed.Row) int {
		return cmp.Or(cmp.Compare(a.Split, b.Split), cmp.Compare(a.Row, b.Row))
	})
	for _, r := range rows {
		if r.Error != "" {
			bad++
		}
	}
	var records []arrow.Record
	for part := range slices.Chunk(rows, 1<<16) {
		records = append(records, record.Of(part).Record)
	}
	return int64(len(rows)), bad, arrowio.SaveParquet(ctx, o.Out, records...)
}
