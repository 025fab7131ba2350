package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
)

func newEmbed() *cobra.Command {
	var o pipelines.EmbedOptions
	c := &cobra.Command{
		Use:   "embed --model FILE --data PATH --out FILE.parquet",
		Short: "Write the features of images under a model",
		Long: `Writes one row per image, in the order in which the images are found: source, row,
label (-1 where there is none), class, feature, and an error where the image could
not be read, whose features are zeros.

` + dataHelp,
		Example: `  sdr embed --model pets/model.safetensors --data photos/ --out features.parquet`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "model", "data", "out"); err != nil {
				return err
			}
			if err := checkRunner(c, o.Runner); err != nil {
				return err
			}
			images, bad, err := pipelines.Embed(c.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%d images in %s, %d of them could not be read\n", images, o.Out, bad)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", "model file, as route and export write it")
	addData(c, &o.Data)
	f.StringVar(&o.Out, "out", "", "Parquet file to write")
	addRunner(c, &o.Runner)
	return c
}
