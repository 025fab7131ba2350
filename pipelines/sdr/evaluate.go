package main

import (
	"io"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run"
)

func newEvaluate() *cobra.Command {
	var o pipelines.EvaluateOptions
	var format string
	formats := map[string]func(*evaluate.Results, io.Writer) error{
		"table": (*evaluate.Results).WriteTable,
		"json":  (*evaluate.Results).WriteJSON,
		"csv":   (*evaluate.Results).WriteCSV,
	}
	c := &cobra.Command{
		Use:   "evaluate --run RUN --tasks DIR",
		Short: "Compare the unified net, the routed sub-net and all sub-nets on tasks",
		Long: `Every NAME-train.parquet with NAME-test.parquet in DIR is a task, and every
NAME/train/CLASS/* with NAME/test/CLASS/*. For .parquet any file of labelled
images will do (see sdr pretrain --help). Each task is routed to a sub-net on its
training images; all nets are then measured on its test images.

Protocols classify with frozen features: knn is a weighted vote of the 20 nearest
training images (temperature 0.07), linear a logistic regression whose strength
of regularisation is chosen on a part of the training images.`,
		Example: `  sdr evaluate --run runs/first --tasks tasks/
  sdr evaluate --run runs/first --tasks tasks/ --protocol knn,linear --format json > results.json
  sdr evaluate --run runs/first --tasks tasks/ --out figures.parquet`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "tasks"); err != nil {
				return err
			}
			write, ok := formats[format]
			if !ok {
				return run.Usagef("--format %s: want table, json or csv", format)
			}
			if err := checkRunner(c, o.Runner); err != nil {
				return err
			}
			results, err := pipelines.Evaluate(c.Context(), o)
			if err != nil {
				return err
			}
			return write(results, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&o.Tasks, "tasks", "", "folder of tasks")
	f.StringSliceVar(&o.Protocols, "protocol", []string{"knn"}, "protocols: knn, linear")
	f.StringVar(&format, "format", "table", "what to print: table, json or csv")
	f.StringVar(&o.Out, "out", "", "Parquet file for the figures of every net")
	addRunner(c, &o.Runner)
	return c
}
