package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newPredict() *cobra.Command {
	var o pipelines.EmbedOptions
	c := &cobra.Command{
		Use:   "predict --model FILE --data PATH --out FILE.parquet",
		Short: "Classify images with a model from sdr finetune",
		Long: `Writes one row per image, in the order in which the images are found: source, row,
label (the true class as an index into the model's classes, -1 if it is not known),
class, predicted, predicted_class, probabilities, and error. If an image could not
be read, error says why and predicted is -1. If true classes are known, their
accuracy goes to standard output, too.

` + dataHelp,
		Example: `  sdr predict --model flowers/model.safetensors --data photos/ --out predictions.parquet`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "model", "data", "out"); err != nil {
				return err
			}
			if err := checkFile("out", o.Out, ".parquet"); err != nil {
				return err
			}
			if err := checkRunner(o.Runner, false); err != nil {
				return err
			}
			if err := checkDevice(c, &o.Device, o.Runner); err != nil {
				return err
			}
			found, err := pipelines.Predict(c.Context(), o)
			if err != nil {
				return err
			}
			if found.Bad == found.Images {
				return run.Usagef("none of the %d images could be read; the column error of %s says why", found.Images, o.Out)
			}
			out := c.OutOrStdout()
			fmt.Fprintf(out, "%d images in %s, %d of them could not be read\n", found.Images, o.Out, found.Bad)
			if found.Labeled > 0 {
				fmt.Fprintf(out, "accuracy %.2f %% on %s images with a true class\n", found.Accuracy, humanize.Comma(found.Labeled))
			}
			if found.Labeled > 0 && found.Unknown > 0 {
				fmt.Fprintf(out, "%s images have a class that the model does not know\n", humanize.Comma(found.Unknown))
			}
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "model file written by finetune")
	addData(c, &o.Data)
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "Parquet file to write")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
