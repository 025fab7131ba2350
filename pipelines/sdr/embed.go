package main

import (
	"context"
	"fmt"
	"io"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newEmbed() *cobra.Command {
	return perImage(&cobra.Command{
		Use:   "embed --model FILE --data PATH --out FILE.parquet",
		Short: "Compute the features of images with a model",
		Long: `Writes one row per image, in the order in which the images are found: source, row,
label (-1 if there is none), class, feature, and error. Where no label is given, the
class is the name of the folder that the image is in. If an image could not be read,
error says why and its features are zeros.

` + dataHelp,
		Example: `  sdr embed --model pets/model.safetensors --data photos/ --out features.parquet`,
	}, "model file written by route or export, or its folder", func(ctx context.Context, out io.Writer, o pipelines.EmbedOptions) error {
		images, bad, err := pipelines.Embed(ctx, o)
		if err != nil {
			return err
		}
		return reportImages(out, o.Out, images, bad)
	})
}

// perImage completes a command that writes a row per image under a model.
func perImage(c *cobra.Command, model string, write func(ctx context.Context, out io.Writer, o pipelines.EmbedOptions) error) *cobra.Command {
	var o pipelines.EmbedOptions
	c.Args = noArgs
	c.RunE = func(c *cobra.Command, _ []string) error {
		if err := required(c, "model", "data", "out"); err != nil {
			return err
		}
		if err := checkFile("out", o.Out, ".parquet"); err != nil {
			return err
		}
		if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
			return err
		}
		return write(c.Context(), c.OutOrStdout(), o)
	}
	f := c.Flags()
	f.StringVar(&o.Model, "model", "", model)
	addData(c, &o.Data)
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "Parquet file to write; one that is there is replaced")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}

// reportImages says how many images are in a file, and fails if none of them could be read.
func reportImages(out io.Writer, path string, images, bad int64) error {
	if bad == images {
		return run.Usagef("none of the images could be read, %d in all; the column error of %s says why", images, path)
	}
	_, err := fmt.Fprintf(out, "%s in %s, %d of them could not be read\n", english.Plural(int(images), "image", ""), path, bad)
	return err
}
