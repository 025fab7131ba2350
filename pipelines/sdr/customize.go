package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newCustomize() *cobra.Command {
	var o pipelines.CustomizeOptions
	c := &cobra.Command{
		Use:   "customize --run RUN --task PATH --out DIR",
		Short: "Adapt the best sub-net to a task by training on its images",
		Long: `Chooses a sub-net as sdr route does, or takes the net that --subnet names, then goes on
with the run's self-supervised training on the task's own training images. Labels
only serve to choose, by a leave-one-out nearest-neighbor vote on the training
images: the best of the rates, unless the net as it was, or with BatchNorm
statistics of the task's images, is better by more than the standard error of the
difference.

DIR gets model.safetensors and model.json as from sdr route, and
candidates.parquet, all versions with their scores. With --tasks, every task in the
folder gets a subfolder of DIR. DIR/metrics has the losses of the trainings, which
sdr watch DIR draws, and DIR/tensorboard the same for TensorBoard.

If there are test images, NAME-test beside NAME-train, the net as it was and the
delivered one classify them by their nearest neighbors (knn of sdr evaluate). The
table says by how many percentage points the metric differs, with a 95 % interval,
what the training cost, and is saved as DIR/customized.parquet and, with the scores
of all versions, as the page DIR/customized.html.

--seconds bounds the training time per task; it is translated to a number of
images by timing a few steps. --images gives that number directly, so that another
run has the same result.`,
		Example: `  sdr customize --run runs/first --task flowers-train.parquet --out flowers/
  sdr customize --run runs/first --task photos/ --out mine/ --seconds 300 --device cuda
  sdr customize --run runs/first --tasks tasks/ --out customized/ --images 25600`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "out"); err != nil {
				return err
			}
			if (o.Task == "") == (o.Tasks == "") {
				return run.Usagef("give either --task or --tasks")
			}
			if o.Images < 0 || o.Images == 0 && !(o.Seconds > 0) {
				return run.Usagef("--images %d, --seconds %v: want a budget above 0", o.Images, o.Seconds)
			}
			for _, rate := range o.Rates {
				if !(rate > 0) {
					return run.Usagef("--lr %v: want learning rates above 0", rate)
				}
			}
			if err := checkFolder("out", o.Out); err != nil {
				return err
			}
			if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
				return err
			}
			start := time.Now()
			made, err := pipelines.Customize(c.Context(), o)
			if err != nil {
				return err
			}
			slog.Info("customized", "tasks", len(made), "took", time.Since(start).Round(100*time.Millisecond))
			return made.WriteTable(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder")
	f.StringVar(&o.Task, "task", "", "labeled training images of the task")
	f.StringVar(&o.Tasks, "tasks", "", "folder of tasks, instead of --task")
	f.StringVar(&o.Net, "subnet", "", "net of the run to customize instead of the one that the router chooses, such as unified")
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "folder for the model")
	f.Float64Var(&o.Seconds, "seconds", 60, "training time per task")
	f.Int64Var(&o.Images, "images", 0, "training budget per task as a number of images, instead of --seconds")
	f.Float64SliceVar(&o.Rates, "lr", []float64{.03}, "peak learning `RATES` to try, separated by commas; they share the budget")
	f.Lookup("lr").DefValue = "0.03"
	addMetrics(c)
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
