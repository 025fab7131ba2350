package imageio_test

import (
	"context"
	"fmt"
	"log"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterFunction(printRow)
	beam.RegisterFunction(printDead)
}

func printRow(r imageio.Row) {
	fmt.Printf("%s: %d x %d pixels\n", filepath.Base(r.Source), r.Width, r.Height)
}

func printDead(d imageio.Dead) { fmt.Println(filepath.Base(d.Source), "cannot be read") }

func ExampleRead() {
	p, s := beam.NewPipelineWithRoot()
	images, dead := imageio.Read(s, "../../testdata/fixtures/odd")
	beam.ParDo0(s, printRow, record.ToStructs[imageio.Row](s, images))
	beam.ParDo0(s, printDead, record.ToStructs[imageio.Dead](s, dead))
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// cmyk.jpg: 32 x 32 pixels
	// exif_rotated.jpg: 32 x 32 pixels
	// upright.png: 32 x 32 pixels
	// corrupt.jpg cannot be read
	// truncated.png cannot be read
}

// Images from paths found by the pipeline, resized to one size.
func ExampleReadAll() {
	p, s := beam.NewPipelineWithRoot()
	paths := beam.Create(s, "../../testdata/fixtures/odd/upright.png", "../../testdata/fixtures/odd/cmyk.jpg")
	images, _ := imageio.ReadAll(s, paths, imageio.ReadConfig{Size: 8})
	beam.ParDo0(s, printRow, record.ToStructs[imageio.Row](s, images))
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// cmyk.jpg: 8 x 8 pixels
	// upright.png: 8 x 8 pixels
}
