package pipelines

import (
	"cmp"
	"context"
	"slices"
	"strconv"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// Predicted is the schema of the file that Predict writes: the class of one image.
type Predicted struct {
	// Source is the image's file, the file that contains it, or archive!member.
	Source string `arrow:"source"`
	// Row is the image's index in a file whose images have no names, otherwise 0.
	Row int64 `arrow:"row"`
	// Label is the image's true class as an index into the model's classes, otherwise -1; Class is its name in the source,
	// or empty.
	Label int64  `arrow:"label"`
	Class string `arrow:"class"`
	// Predicted is the most probable class, as an index into the model's classes, and PredictedClass its name. They are -1
	// and empty if the image could not be read.
	Predicted      int64  `arrow:"predicted"`
	PredictedClass string `arrow:"predicted_class"`
	// Probabilities are those of the model's classes; they are all zeros if the image could not be read.
	Probabilities []float32 `arrow:"probabilities"`
	// Error says why the image could not be read; otherwise it is empty.
	Error string `arrow:"error"`
}

// Predictions sums up what Predict found.
type Predictions struct {
	// Images is the number of images, and Bad that of those that could not be read.
	Images, Bad int64
	// Labeled is the number of images with a true class that the model knows, and Accuracy the percentage of these whose
	// class was predicted. Unknown is the number of images with another class, such as the name of any folder.
	Labeled, Unknown int64
	Accuracy         float64
}

// Predict writes the classes of images under a model that Finetune made to a Parquet file, one row per image in the order
// in which they are found.
func Predict(ctx context.Context, o EmbedOptions) (*Predictions, error) {
	model, err := inference.Load(ctx, o.Model)
	if err != nil {
		return nil, run.Usage(err)
	}
	if model.Classifier == nil {
		return nil, run.Usagef("model %s %w", o.Model, inference.ErrNoClassifier)
	}
	classes := model.Classifier.Classes
	var found Predictions
	type good struct {
		Index          int64     `arrow:"index"`
		Source         string    `arrow:"source"`
		Row            int64     `arrow:"row"`
		Label          int64     `arrow:"label"`
		Class          string    `arrow:"class"`
		LabelLost      bool      `arrow:"label_lost"`
		Damage         string    `arrow:"damage"`
		Predicted      int64     `arrow:"predicted"`
		PredictedClass string    `arrow:"predicted_class"`
		Probabilities  []float32 `arrow:"probabilities"`
	}
	rows, images, bad, err := perImage[good, Predicted]{
		o: o, tuning: tuningOf(ctx, o.Model), reading: imageio.ReadConfig{Size: model.Input.Size, Labels: true},
		compute: func(s beam.Scope, images beam.PCollection) (rows, dead beam.PCollection) {
			return inference.Predict(s, images, inference.Config{Model: o.Model})
		},
		good: func(r good) imageRow[Predicted] {
			return imageRow[Predicted]{
				index: r.Index, labeled: r.Label >= 0 || r.Class != "", lost: r.LabelLost, damaged: r.Damage != "",
				rows: []Predicted{{
					Source: r.Source, Row: r.Row, Label: labelOf(classes, r.Label, r.Class), Class: r.Class,
					Predicted: r.Predicted, PredictedClass: r.PredictedClass, Probabilities: r.Probabilities,
				}},
			}
		},
		bad: func(d imageio.Dead) Predicted {
			return Predicted{Source: d.Source, Row: d.Row, Label: -1, Predicted: -1, Probabilities: make([]float32, len(classes)), Error: d.Reason}
		},
	}.run(ctx)
	if err != nil {
		return nil, err
	}
	var predicted, labels []int64
	for _, r := range rows {
		switch {
		case r.Label >= 0:
			predicted, labels = append(predicted, r.Predicted), append(labels, r.Label)
		case r.Class != "":
			found.Unknown++
		}
	}
	found.Images, found.Bad, found.Labeled = images, bad, int64(len(labels))
	found.Accuracy = 100 * metrics.Accuracy(predicted, labels)
	return &found, nil
}

// labelOf returns the index of an image's class among a model's classes: by its name, which may be a number, or by its number
// if either has no name; -1 if the model does not know it.
func labelOf(classes []string, label int64, class string) int64 {
	number := strconv.FormatInt(label, 10)
	if at := slices.Index(classes, cmp.Or(class, number)); at >= 0 {
		return int64(at)
	}
	switch known := label >= 0 && label < int64(len(classes)); {
	case known && class == "" && !tasks.Numbered(classes), known && classes[label] == number:
		return label
	}
	return -1
}
