package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/pipelines/export"
	"github.com/sdr-ml/sdr/stages/run"
)

// formatsHelp describes the formats, with how Python loads each.
func formatsHelp() string {
	var b strings.Builder
	for _, f := range export.Formats() {
		b.WriteString("\n" + f.Help())
	}
	return strings.TrimRight(b.String(), "\n")
}

func newExport() *cobra.Command {
	var o pipelines.ExportOptions
	var format *string
	c := &cobra.Command{
		Use:   "export (--run RUN --subnet unified|CODE | --model FILE) [--format FORMAT] --out FILE",
		Short: "Export a net to PyTorch, timm, ONNX or the Hugging Face Hub",
		Long: `Writes the backbone of one of a run's nets, or of a model file, such as sdr route and
sdr customize write, with the classifier if sdr finetune gave it one. What the
model.json beside a model file says, the card of --format hub repeats.

The formats are these, each with the lines of Python that load a ResNet-18 of width 64
with the small stem. Without that stem, leave out the lines of conv1 and maxpool. For
an even width W other than 64, timm also needs the arguments
  channels=[W, 2*W, 4*W, 8*W], stem_type="deep", stem_width=W//2
and always a new conv1: Conv2d(3, W, 3, 1, 1, bias=False) for the small stem, and
Conv2d(3, W, 7, 2, 3, bias=False) for the other. The card has the lines for its model.
` + formatsHelp(),
		Example: `  sdr export --run runs/first --subnet unified --out unified.safetensors
  sdr export --model flowers/model.safetensors --format onnx --preprocess --out flowers.onnx
  sdr export --run runs/first --subnet 2 --format hub --license cc-by-4.0 --out hub/`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := required(c, "out"); err != nil {
				return err
			}
			switch {
			case (o.Run == "") == (o.Model == ""):
				return run.Usagef("give either --run with --subnet, or --model")
			case o.Run != "" && o.Subnet == "":
				return run.Usagef("--subnet is missing; see `%s --help`", c.CommandPath())
			case o.Model != "" && o.Subnet != "":
				return run.Usagef("--subnet goes with --run; a model file is of one net")
			}
			if o.Format, err = export.Find(*format, o.Options); err != nil {
				return err
			}
			if o.Format.Extension != "" {
				if err := checkFile("out", o.Out, o.Format.Extension); err != nil {
					return err
				}
			}
			if err := pipelines.Export(c.Context(), o); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), o.Out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&o.Subnet, "subnet", "", "unified, root, a code, or any other net that sdr inspect lists")
	f.StringVar(&o.Model, "model", "", "model file, or its folder, instead of --run")
	format = addFormat(c, "format to write", export.Names()...)
	f.BoolVar(&o.Preprocess, "preprocess", false, "onnx: take uint8 images of any size, and scale, crop and normalize them in the graph")
	f.StringVar(&o.License, "license", "", "hub: the license in the card, such as apache-2.0; unknown if not given")
	f.StringVar(&o.Out, "out", "", "file or, for hub, folder to write; a file that is there is replaced")
	return c
}
