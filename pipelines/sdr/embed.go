package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newEmbed() *cobra.Command {
	var o pipelines.EmbedOptions
	c := &cobra.Command{
		Use:   "embed --model FILE --data PATH --out FILE.parquet",
		Short: "Compute the features of images with a model",
		Long: `Writes one row per image, in the order in which the images are found: source, row,
label (-1 if there is none), class, feature, and error. If an image could not be
read, error says why and its features are zeros.

` + dataHelp,
		Example: `  sdr embed --model pets/model.safetensors --data photos/ --out features.parquet`,
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
			images, bad, err := pipelines.Embed(c.Context(), o)
			if err != nil {
				return err
			}
			if bad == images {
				return run.Usagef("none of the %d images could be read; the column error of %s says why", images, o.Out)
			}
			fmt.Fprintf(c.OutOrStdout(), "%d images in %s, %d of them could not be read\n", images, o.Out, bad)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "model file written by route or export")
	addData(c, &o.Data)
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "Parquet file to write")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
