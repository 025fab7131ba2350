package main

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

func newRoute() *cobra.Command {
	var o pipelines.RouteOptions
	c := &cobra.Command{
		Use:   "route --run RUN (--task PATH | --tasks DIR) --out DIR",
		Short: "Choose the best sub-net for a task, or for thousands",
		Long: `Scores every sub-net on the task's labeled training images, with the BatchNorm
statistics of its training and with those of the task's images, and chooses the
best; of those within one standard error of it, the one nearest the root.

With --task, DIR gets
  scores.parquet      the score of every net with either statistics, best first
  model.safetensors   the winner's backbone, under torchvision's names
  model.json          which sub-net it is and how its input is prepared

PATH is a folder CLASS/*, a task folder, of which only train/CLASS/* is read, or
a file of labeled images. Labels come from
` + imageio.LabelSources() + `.

With --tasks, a folder of tasks, a quoted glob, or a Parquet file whose column task
names the task of each row, one job routes them all. DIR gets
  scores.parquet      task, subnet, norm, score, std_err, rank and more, all tasks
  dead-letter.parquet the tasks that cannot be used, with the reason
and, with --models, the files of --task in a folder per task. A job that was
interrupted, or gets further tasks, reads the scores that it knows from the run.

The sub-nets of several runs compete if --run is given more than once, or with
--registry, a folder of runs; the column cost of scores.parquet has the millions of
multiplications per image.

--beam B does not score all nodes of the tree, but descends it: at each level it
scores the children of the B best nodes. The scorer nearest has no use for that: it
embeds the task's images with one net and scores only the leaves. The scorers are
` + scorerList(),
		Example: `  sdr route --run runs/first --task pets-train.parquet --out pets/
  sdr route --run runs/first --task flowers/ --out flowers-model/ --scorer linear
  sdr route --registry runs/ --tasks tasks/ --out routed/ --beam 2
  sdr route --run runs/first --tasks 'birds/*-train.parquet' --out routed/ --models`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "out"); err != nil {
				return err
			}
			if len(o.Runs) == 0 && o.Registry == "" {
				return run.Usagef("give --run, or --registry")
			}
			if (o.Task == "") == (o.Tasks == "") {
				return run.Usagef("give either --task or --tasks")
			}
			if o.Models && o.Tasks == "" {
				return run.Usagef("--models goes with --tasks; --task always writes the model")
			}
			if err := checkFolder("out", o.Out); err != nil {
				return err
			}
			if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
				return err
			}
			debug.SetGCPercent(50) // thousands of tasks leave much garbage
			made, err := pipelines.Route(c.Context(), o)
			if err != nil {
				return err
			}
			out := c.OutOrStdout()
			if o.Tasks == "" {
				s := made.Chosen[0]
				_, err := fmt.Fprintf(out, "%s: sub-net %s, %s score %.1f, in %s\n", s.Task, s.Subnet, s.Scorer, s.Score, o.Out)
				return err
			}
			for _, d := range made.Dead {
				slog.Warn("a task cannot be routed", "task", d.Task, "reason", d.Reason)
			}
			engine := ""
			if made.Engine > 0 {
				engine = fmt.Sprintf(" (%.0f %% of it in the tensor engine)", 100*made.Engine/made.Seconds)
			}
			_, err = fmt.Fprintf(out, "%s routed and %d left out in %.1f s%s, in %s\n",
				english.Plural(len(made.Chosen), "task", ""), len(made.Dead), made.Seconds, engine, o.Out)
			return err
		},
	}
	f := c.Flags()
	f.StringArrayVar(&o.Runs, "run", nil, "run folder; may be repeated")
	f.StringVar(&o.Registry, "registry", "", "folder of run folders")
	f.StringVar(&o.Task, "task", "", "labeled training images")
	f.StringVar(&o.Tasks, "tasks", "", "folder, glob or table of tasks, instead of --task")
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "folder for the results")
	f.BoolVar(&o.Models, "models", false, "write the model of each of --tasks")
	f.StringVar(&o.Scorer, "scorer", route.KNN, "how to score sub-nets")
	f.StringSliceVar(&o.Norms, "norm", route.Norms, "BatchNorm statistics to try")
	f.IntVar(&o.Beam, "beam", 0, "number of nodes whose children to score; 0 scores all")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}

// scorerList describes the scorers, one per line.
func scorerList() string {
	var b strings.Builder
	for _, name := range route.Scorers() {
		fmt.Fprintf(&b, "  %-9s %s\n", name, route.Summary(name))
	}
	return strings.TrimRight(b.String(), "\n")
}
