package main

import (
	"fmt"
	"os"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newExtend() *cobra.Command {
	var o pipelines.ExtendOptions
	var mode func() (run.Mode, error)
	c := &cobra.Command{
		Use:   "extend --run RUN --data PATH [--data PATH ...] --out NEWRUN",
		Short: "Take new images into a trained run, with sub-nets for what is new in them",
		Long: `Assigns new images to the subsets of a run. Those that are farther from the nearest
one than --far of its old images are far from all. If these are at least two
mini-batches, and more than four times as many as would be far if the new images were
like the old ones, they become new subsets, about as large as the old ones.

A new subset gets a sub-net, a copy of that of the nearest subset with a choice of
its own at the last level. Only the weights of this choice are trained, on the
subset's images, by the run's self-supervised method. All nets of RUN stay as they
are, bit by bit.

NEWRUN is a run like RUN, and independent of it, for all other commands and to be
extended again. On the same disk, its models and images are links to those of RUN
and take no space. Besides, it has
  assigned.parquet  source, row, code of the subset, distance and far, per new image
  subsets.parquet   the old and new images of each subset, as in the table printed

RUN must have its folders ingest, features and partition, and subsets by k-means.

` + dataHelp,
		Example: `  sdr extend --run runs/first --data more-photos/ --out runs/second
  sdr extend --run runs/first --data scans.tar --out runs/scans --far 0.999 --images 100000
  sdr extend --run runs/first --data new.parquet --out runs/second --overwrite --device cuda`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "run", "data", "out"); err != nil {
				return err
			}
			if err := checkMaxBad(o.MaxBad); err != nil {
				return err
			}
			if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
				return err
			}
			var err error
			if o.Mode, err = mode(); err != nil {
				return err
			}
			o.Version, o.Command = version, os.Args
			return extendRun(c, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.Run, "run", "", "run folder to extend, which stays as it is")
	addData(c, &o.Data)
	addColumns(c, &o.Columns, false)
	f.StringVar(&o.Out, "out", "", "run folder to create")
	mode = addMode(c)
	addMetrics(c)
	f.Float64Var(&o.Far, "far", .99, "fraction of a subset's old images that are not far from it")
	f.Int64Var(&o.Images, "images", 25600, "number of images that each new sub-net sees")
	f.Float64Var(&o.Rate, "lr", .03, "peak learning rate of a new sub-net")
	addMaxBad(c, &o.MaxBad)
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}

// extendRun runs the job, keeps its log and prints its results.
func extendRun(c *cobra.Command, o pipelines.ExtendOptions) error {
	closeLog := func() {}
	defer func() { closeLog() }()
	o.Started = func(folder *run.Folder) { closeLog = keepLog(c, folder) }
	made, err := pipelines.Extend(c.Context(), o)
	if err != nil {
		return withRemedy(err)
	}
	out := c.OutOrStdout()
	if err := made.WriteTable(out); err != nil {
		return err
	}
	if made.Dead > 0 {
		fmt.Fprintf(out, "%s could not be read: %s\n", english.Plural(int(made.Dead), "image", ""), made.Folder.DeadLetterPath())
	}
	_, err = fmt.Fprintf(out, "%s in %s\n", english.Plural(int(made.Models), "net", ""), made.Folder.Dir)
	return err
}
