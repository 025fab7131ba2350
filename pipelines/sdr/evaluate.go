package main

import (
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/evaluate"
)

func newEvaluate() *cobra.Command {
	var o pipelines.EvaluateOptions
	var format *string
	formats := map[string]func(*evaluate.Results, io.Writer) error{
		"table": (*evaluate.Results).WriteTable,
		"json":  (*evaluate.Results).WriteJSON,
		"csv":   (*evaluate.Results).WriteCSV,
	}
	c := &cobra.Command{
		Use:   "evaluate --run RUN --tasks DIR",
		Short: "Compare the unified net, the routed sub-net and all sub-nets on tasks",
		Long: `A task in DIR is a pair NAME-train.parquet and NAME-test.parquet, or a pair of
folders NAME/train/CLASS/* and NAME/test/CLASS/*. Any other format with labels
works in place of .parquet (see sdr pretrain --help). The metric is top-1 accuracy,
unless NAME.yaml or NAME/task.yaml says metric: mean_per_class or, for images of
several classes, map11. The router chooses a sub-net for each task from its training
images, and whether it uses the BatchNorm statistics of its training or of the
task's images (norm); then all nets are measured on its test images. "Unified, best
norm" is the unified net with its statistics chosen in the same way. Differences are
paired, as all nets classify the same test images, and have 95 % intervals of a
bootstrap over these.

All protocols but finetune measure frozen features. finetune trains each net for each
task, minutes of two cores per net and 10,000 images:
` + evaluate.Help(),
		Example: `  sdr evaluate --run runs/first --tasks tasks/
  sdr evaluate --run runs/first --tasks tasks/ --protocol knn,linear --format json > results.json
  sdr evaluate --run runs/first --tasks tasks/ --out figures.parquet`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "tasks"); err != nil {
				return err
			}
			if o.Out != "" {
				if err := checkFile("out", o.Out, ".parquet"); err != nil {
					return err
				}
			}
			if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
				return err
			}
			results, err := pipelines.Evaluate(c.Context(), o)
			if err != nil {
				return err
			}
			return formats[*format](results, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&o.Tasks, "tasks", "", "folder of tasks")
	addColumns(c, &o.Columns, true)
	f.StringSliceVar(&o.Protocols, "protocol", []string{"knn"}, "protocols to run: "+strings.Join(evaluate.Protocols(), ", "))
	format = addFormat(c, "output format", "table", "json", "csv")
	f.StringVar(&o.Out, "out", "", "also write the results of every net, with its predictions, to this Parquet file, replacing it")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
