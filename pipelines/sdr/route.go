package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

func newRoute() *cobra.Command {
	var o pipelines.RouteOptions
	var device ssl.Device
	c := &cobra.Command{
		Use:   "route --run RUN --task PATH --out DIR",
		Short: "Export the best sub-net for a task",
		Long: `Scores every sub-net on the task's labeled training images, with the BatchNorm
statistics of its training and with those of the task's images, and writes to DIR

  scores.parquet      the score of every net with either statistics, best first
  model.safetensors   the winner's backbone, under torchvision's names
  model.json          which sub-net it is and how its input is prepared

PATH is a folder CLASS/*, a task folder, of which only train/CLASS/* is read, or
a file of labeled images. Labels come from
` + imageio.LabelSources() + ".",
		Example: `  sdr route --run runs/first --task pets-train.parquet --out pets/
  sdr route --run runs/first --task flowers/ --out flowers-model/`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "task", "out"); err != nil {
				return err
			}
			if err := checkRunner(o.Runner, false); err != nil {
				return err
			}
			if err := checkDevice(c, &device, o.Runner); err != nil {
				return err
			}
			made, err := pipelines.Route(c.Context(), o)
			if err != nil {
				return err
			}
			fmt.Fprintf(c.OutOrStdout(), "%s: sub-net %s, %s score %.1f %%, in %s\n", made.Task, made.Subnet, made.Scorer, made.Score, made.Dir)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&o.Task, "task", "", "labeled training images")
	f.StringVar(&o.Out, "out", "", "folder for the model")
	f.StringVar(&o.Scorer, "scorer", route.KNN, "how to score sub-nets: knn (leave-one-out)")
	addDevice(c, &device)
	addRunner(c, &o.Runner)
	return c
}
