package embed

import (
	"context"
	"fmt"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Row is a row of what Images emits: the features of one image.
type Row struct {
	// Split is the number of the image's split and Row that of the image in its
	// collection: together they order the images as they were found.
	Split int64 `arrow:"split"`
	Row   int64 `arrow:"row"`
	// Source is the image's file, or archive!member.
	Source string `arrow:"source"`
	// Label is the number of the image's class where its source has numbers as
	// labels, else -1.
	Label int64 `arrow:"label"`
	// Feature is of the model's feature dimension; all zeros where Error says
	// why the image could not be read.
	Feature []float32 `arrow:"feature"`
	// Error is empty where the image could be read.
	Error string `arrow:"error"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[imagesFn]())
}

// Images embeds every image of the splits under a model.
//
// out: *record.Batch of Row, at most inference.Batch rows each.
func Images(s beam.Scope, model string, splits []imageio.Split) beam.PCollection {
	s = s.Scope("embed.Images")
	return compute.ParDo(s, &imagesFn{Model: model}, beam.CreateList(s, splits))
}

type imagesFn struct{ Model string }

func (fn *imagesFn) ProcessElement(ctx context.Context, split imageio.Split, emit func(*record.Batch)) error {
	m, err := inference.Load(ctx, fn.Model)
	if err != nil {
		return err
	}
	return compute.Run(func(pool *kernels.Pool) error {
		b := pending{embedder: inference.NewEmbedder(m, pool), size: m.Input.Size, emit: emit}
		row := split.Begin
		err := imageio.Squares(ctx, split, m.Input.Size, func(raw imageio.Image, square imageio.RGB, damage error) error {
			b.add(Row{Split: split.Index, Row: row, Source: raw.Source, Label: raw.Label}, square.Pix, damage)
			row++
			return nil
		})
		if err != nil {
			return fmt.Errorf("embed: %w", err)
		}
		b.flush()
		return nil
	})
}

// pending collects images until there is a batch of them.
type pending struct {
	embedder *inference.Embedder
	size     int
	emit     func(*record.Batch)
	rows     []Row
	pixels   [][]uint8
}

func (b *pending) add(row Row, pixels []uint8, damage error) {
	if damage != nil {
		pixels, row.Error = make([]uint8, b.size*b.size*3), damage.Error()
	}
	b.pixels = append(b.pixels, pixels)
	if b.rows = append(b.rows, row); len(b.rows) == inference.Batch {
		b.flush()
	}
}

func (b *pending) flush() {
	if len(b.rows) == 0 {
		return
	}
	dim := b.embedder.Dim()
	features := b.embedder.Embed(len(b.rows), func(i int) []uint8 { return b.pixels[i] }).Data().([]float32)
	for i := range b.rows {
		b.rows[i].Feature = features[i*dim : (i+1)*dim]
		if b.rows[i].Error != "" {
			clear(b.rows[i].Feature)
		}
	}
	b.emit(record.Of(b.rows))
	b.rows, b.pixels = nil, nil
}
