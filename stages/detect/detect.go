// Package detect is the stage that trains detectors of objects on backbones, predicts with them, and measures them. Its
// three composites follow each other: Train, Predict and Measure; Find is for images without annotations. What is compared
// is the backbones: all detectors of a job have the same data, size and budget.
//
// A detector is one safetensors file: the backbone, the pyramid and the head, under torchvision's names for FCOS. Training
// writes it last, and checkpoints until then, so that a job that was killed goes on where it was and ends with the same
// weights. Everything is computed on the CPU.
package detect

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

// Job is a detector to train, the schema of Train's input.
type Job struct {
	// Net is the name of the backbone, and Model its file.
	Net   string `arrow:"net"`
	Model string `arrow:"model"`
	// Seed selects the initial weights of the head, the order of the images and which are mirrored.
	Seed int64 `arrow:"seed"`
}

// Detector is a trained detector, the schema of Train's output.
type Detector struct {
	// Net and Seed are those of the Job, and Path is the file.
	Net  string `arrow:"net"`
	Seed int64  `arrow:"seed"`
	Path string `arrow:"path"`
	// Loss is the mean loss of the last epoch.
	Loss float64 `arrow:"loss"`
}

// Detection is a detected object, the schema of Predict's output. An image in which nothing is found has no row.
type Detection struct {
	// Net and Seed are those of the detector.
	Net  string `arrow:"net"`
	Seed int64  `arrow:"seed"`
	// Image is the image's number in the split, and Source its path or archive!member.
	Image  int64  `arrow:"image"`
	Source string `arrow:"source"`
	// Class is the name of the class, and Score how sure the detector is, from 0 to 1.
	Class string  `arrow:"class"`
	Score float64 `arrow:"score"`
	// Left, Top, Width and Height are the box, in pixels of the image.
	Left   float64 `arrow:"left"`
	Top    float64 `arrow:"top"`
	Width  float64 `arrow:"width"`
	Height float64 `arrow:"height"`
}

func (d Detection) box() metrics.Box { return metrics.Box{d.Left, d.Top, d.Width, d.Height} }

func init() {
	beam.RegisterDoFn(reflect.TypeFor[routeFn]())
	beam.RegisterDoFn(reflect.TypeFor[trainFn]())
	beam.RegisterDoFn(reflect.TypeFor[predictFn]())
	beam.RegisterDoFn(reflect.TypeFor[findFn]())
	beam.RegisterDoFn(reflect.TypeFor[measureFn]())
}
