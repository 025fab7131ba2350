package inference_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[embedded]())
	beam.RegisterFunction(printFeatures)
	beam.RegisterFunction(printDead)
}

func printFeatures(e embedded) {
	fmt.Printf("%s: %d features\n", filepath.Base(e.Source), len(e.Feature))
}

func printDead(d imageio.Dead) {
	reason, _, _ := strings.Cut(d.Reason, " of")
	fmt.Printf("%s: %s\n", filepath.Base(d.Source), reason)
}

func ExampleEmbed() {
	dir, err := os.MkdirTemp("", "inference")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	model := filepath.Join(dir, "model.safetensors")
	m := newModel("resnet18", "small", 3, nn.Heads{}) // of random weights
	err = files.Write(context.Background(), model, func(w io.Writer) error {
		return nn.SaveModel(w, m.Backbone, m.Heads, m.Params, m.Stats, metadata(input))
	})
	if err != nil {
		log.Fatal(err)
	}

	p, s := beam.NewPipelineWithRoot()
	images, dead := imageio.Read(s, "../../testdata/fixtures/odd")
	features, failed := inference.Embed(s, images, inference.Config{Model: model})
	beam.ParDo0(s, printFeatures, record.ToStructs[embedded](s, features))
	beam.ParDo0(s, printDead, record.ToStructs[imageio.Dead](s, beam.Flatten(s, dead, failed)))
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// cmyk.jpg: 24 features
	// exif_rotated.jpg: 24 features
	// upright.png: 24 features
	// corrupt.jpg: decode JPEG image
	// truncated.png: decode PNG image
}
