package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/study"
)

func newStudy() *cobra.Command {
	var o pipelines.StudyOptions
	var format *string
	var plan bool
	formats := map[string]func(*study.Results, io.Writer) error{
		"table":    (*study.Results).WriteTable,
		"markdown": (*study.Results).WriteMarkdown,
		"csv":      (*study.Results).WriteCSV,
		"json":     (*study.Results).WriteJSON,
	}
	c := &cobra.Command{
		Use:   "study FILE --out DIR",
		Short: "Train and compare recipes, as a file describes",
		Long: `Trains every arm of a study with every budget and seed, and compares on each task
the routed sub-net with a net that is not trained (random), the unified net and
the unified net on one-subset batches, all of the same size, and with the first
arm. Every mean and difference has a 95 % interval, of a paired bootstrap over
test images and seeds; a difference whose interval contains 0 is level.

FILE is YAML:

  data: [$POOL/photos, more.tar]   # images, as for sdr pretrain --data
  tasks: $TASKS                    # folder of tasks, as for sdr evaluate
  metrics: {flowers: mean_per_class}  # optional; default: the task's own, see sdr evaluate
  halves: true                     # optional, see below
  protocols: [knn, linear]         # ` + strings.Join(evaluate.Predicting(), ", ") + `; default: ` + evaluate.KNN + `
  init: $WEIGHTS                   # optional: weights to begin with, as for --init
  recipe: laptop                   # what the arms change; default: ` + recipe.Default + `
  seeds: [1, 2, 3]                 # default: 1
  budgets: [500000, 1000000]       # images seen; default: the recipe's train.images
  customize: {images: 25600}       # per task and net, see below; default: 0, none
  arms:
    laptop:                        # the recipe as it is
    late: {train: {phases: [0.75]}}
    wide:
      backbone: {width: 32}
      train: {lr: 0.06}

data, tasks, init and recipe may contain environment variables. With init, every arm
has its backbone, and the net "random" is the file's. With halves, one half of
each task's training images is classified from the other, and its test images are
not touched: use it while you choose between arms, and a study without it to report
on your choice. An arm may change every key of the recipe (see sdr pretrain --help)
except name, seed, train.images and train.baselines.

With customize, the routed and the unified net of every training go on with their
training on each task's images, as sdr customize does, and are compared, too; rates
lists the learning rates to try (default: [0.03]), which share the images.

Trainings share what they have in common: arms that differ only in their sub-nets
share the images, the unified net and, as far as it goes, phase 0. What DIR already
holds is not computed again, so the same command continues a study that was
interrupted, and an arm, seed or budget more costs only what is new. --plan shows
what is left.

DIR/study.html shows it all; results.parquet has every net on every task,
means.parquet and comparisons.parquet have the estimates, in the mean over tasks
(task is empty) and for each task.`,
		Example: `  sdr study late.yaml --out studies/late --plan
  sdr study late.yaml --out studies/late
  sdr study late.yaml --out studies/late --format markdown > late.md`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return run.Usagef("want one study file; see `%s --help`", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := required(c, "out"); err != nil {
				return err
			}
			if err := checkRunner(o.Runner, false); err != nil {
				return err
			}
			if err := checkMaxBad(o.MaxBad); err != nil {
				return err
			}
			o.File, o.Version, o.Command = args[0], version, os.Args
			if plan {
				status, err := pipelines.PlanStudy(c.Context(), o)
				if err != nil {
					return withRemedy(err)
				}
				return status.Write(c.OutOrStdout())
			}
			if err := checkDevice(c, &o.Device, o.Runner); err != nil {
				return err
			}
			closeLog := func() {}
			defer func() { closeLog() }()
			o.Started = func(folder *run.Folder) { closeLog = keepLog(c, folder) }
			results, err := pipelines.Study(c.Context(), o)
			if err != nil {
				return withRemedy(err)
			}
			return formats[*format](results, c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringVar(&o.Out, "out", "", "the study's folder, to create or to continue")
	f.BoolVar(&plan, "plan", false, "only show which trainings there are, and what is done and left")
	format = addFormat(c, "output format", "table", "markdown", "csv", "json")
	addMetrics(c)
	addMaxBad(c, &o.MaxBad)
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
