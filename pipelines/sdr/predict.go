package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
)

func newPredict() *cobra.Command {
	return perImage(&cobra.Command{
		Use:   "predict --model FILE --data PATH --out FILE.parquet",
		Short: "Classify images with a model from sdr finetune",
		Long: `Writes one row per image, in the order in which the images are found: source, row,
label (the true class as an index into the model's classes, -1 if it is not known),
class, predicted, predicted_class, probabilities, and error. If an image could not
be read, error says why and predicted is -1. If true classes are known, their
accuracy goes to standard output, too.

` + dataHelp,
		Example: `  sdr predict --model flowers/model.safetensors --data photos/ --out predictions.parquet`,
	}, "model file written by finetune, or its folder", predict)
}

// predict writes the classes of images, and says how many are right.
func predict(ctx context.Context, out io.Writer, o pipelines.EmbedOptions) error {
	found, err := pipelines.Predict(ctx, o)
	if err != nil {
		return err
	}
	if err := reportImages(out, o.Out, found.Images, found.Bad); err != nil {
		return err
	}
	if found.Labeled > 0 {
		fmt.Fprintf(out, "accuracy %.2f %% on %s with a true class\n", found.Accuracy, english.Plural(int(found.Labeled), "image", ""))
	}
	if found.Labeled > 0 && found.Unknown > 0 {
		fmt.Fprintf(out, "%s a class that the model does not know\n", english.Plural(int(found.Unknown), "image has", "images have"))
	}
	return nil
}
