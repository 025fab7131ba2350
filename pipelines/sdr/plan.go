package main

import (
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/pipelines/bench"
	"github.com/sdr-ml/sdr/stages/forecast"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

func newPlan() *cobra.Command {
	o := pipelines.ForecastOptions{Seed: 1}
	m := bench.MachineOptions{}
	var images, set []string
	var name, profile, save string
	var format *string
	var spread float64
	c := &cobra.Command{
		Use:   "plan",
		Short: "Say what a run would take, on this machine or on many like it",
		Long: `Measures in half a minute how fast this machine does the work of a recipe's stages,
and simulates sdr pretrain for pools of several sizes and on several workers: the
time of the run and of its stages, the bytes that are shuffled and stored, the
memory of a worker, and the rounds of a training in bins and their length.

A worker is a machine like the one measured. Its speed is drawn anew for each stage
and each round, from a log-normal distribution with the spread that was measured
(--spread sets another), and what all workers do ends with the slowest. Where the
recipe has a single bin, several workers have a bin each.

Measure on one of the machines that are to do the work, while nothing else runs
there, and plan anywhere: --save-profile writes the measurements to a file, and
--profile reads them. docs/plan.md says what is in a plan, and how plans compare
with runs.`,
		Example: `  sdr plan
  sdr plan --images 1.28M --workers 1,2,4,8 --recipe laptop --epochs 100 --data photos/
  sdr plan --recipe mine.yaml --save-profile worker.json --images 1M
  sdr plan --profile worker.json --images 100M,1B --workers 64,256 --set train.rounds.steps=500
  sdr plan --profile worker.json --format json | jq '.plans[] | [.images, .workers, .seconds / 3600]'`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Images, err = parseCounts(images); err != nil {
				return err
			}
			for _, n := range o.Workers {
				if n < 1 || n > maxWorkers {
					return run.Usagef("--workers %d: want 1 to %d", n, maxWorkers)
				}
			}
			if !(o.Epochs >= 0 && o.Epochs <= 1e6) {
				return run.Usagef("--epochs %v: want a number above 0, or 0 for the recipe's train.images", o.Epochs)
			}
			if !(spread >= 0 && spread <= 2) {
				return run.Usagef("--spread %v: want 0 to 2", spread)
			}
			if m.Time < 0 {
				return run.Usagef("--time %v: want 0 or more", m.Time)
			}
			if save != "" {
				if err := checkFile("save-profile", save, ".json"); err != nil {
					return err
				}
			}
			if profile != "" {
				o.Recipe, o.Profile, err = readProfile(c, profile, name, set)
			} else if o.Recipe, err = recipe.Load(name, set); err != nil {
				err = run.Usage(err)
			} else if err = checkDevice(c, &m.Device, "prism"); err == nil {
				m.Recipe = o.Recipe
				o.Profile, err = bench.Machine(c.Context(), m)
			}
			if err != nil {
				return err
			}
			if save != "" {
				if err := o.Profile.Save(c.Context(), save); err != nil {
					return err
				}
			}
			if c.Flags().Changed("spread") {
				o.Profile.Spread = spread
			}
			plans, err := pipelines.Forecast(o)
			if err != nil {
				return err
			}
			if *format == "json" {
				return forecast.WriteJSON(c.OutOrStdout(), o.Profile, plans)
			}
			return forecast.WriteTable(c.OutOrStdout(), plans)
		},
	}
	f := c.Flags()
	f.StringSliceVar(&images, "images", []string{"1.28M", "100M", "1B"}, "numbers of images of the pool")
	f.IntSliceVar(&o.Workers, "workers", []int{1, 2, 4, 8, 16, 32, 64, 128, 256}, "numbers of workers")
	f.Float64Var(&o.Epochs, "epochs", 10, "how often the training sees each image; 0: the recipe's train.images say how many it sees")
	f.StringVar(&name, "recipe", recipe.Default, strings.Join(recipe.Names(), ", ")+", or a YAML file; default with --profile: the one that was measured")
	f.StringArrayVar(&set, "set", nil, "`KEY=VALUE` of the recipe to override; see sdr pretrain --help")
	f.StringVar(&profile, "profile", "", "`FILE` with the measurements of a worker, instead of measuring this machine")
	f.StringVar(&save, "save-profile", "", "`FILE`.json to write the measurements to")
	f.StringVar(&m.Data, "data", "", "folder or file with images like those of the pool, to measure how fast they are read; default: synthetic photos of 500x375 pixels")
	f.DurationVar(&m.Time, "time", 3*time.Second, "duration of a measurement")
	f.Float64Var(&spread, "spread", 0, "standard deviation of the logarithm of the workers' speeds; default: as measured")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "seed of the workers' speeds")
	format = addFormat(c, "output format", "table", "json")
	addDevice(c, &m.Device)
	return c
}

// maxWorkers is the largest number of workers, each with a bin, that a recipe may have.
const maxWorkers = 1 << 12

// parseCounts reads numbers of images.
func parseCounts(texts []string) (counts []int64, err error) {
	for _, text := range texts {
		n, err := forecast.ParseCount(text)
		if err != nil {
			return nil, run.Usagef("--images: %w", err)
		}
		counts = append(counts, n)
	}
	return counts, nil
}

// readProfile reads the measurements of a worker, and the recipe to plan for: the one that was measured, unless another
// is given.
func readProfile(c *cobra.Command, path, name string, set []string) (*recipe.Recipe, *forecast.Profile, error) {
	for _, flag := range []string{"save-profile", "data", "device", "time"} {
		if c.Flags().Changed(flag) {
			return nil, nil, run.Usagef("--profile and --%s contradict each other: a profile is what was measured before", flag)
		}
	}
	p, err := forecast.Load(c.Context(), path)
	if err != nil {
		return nil, nil, err
	}
	var r *recipe.Recipe
	if c.Flags().Changed("recipe") {
		r, err = recipe.Load(name, set)
	} else if r, err = recipe.Parse([]byte(p.Recipe)); err == nil {
		r, err = r.Set(set)
	}
	if err != nil {
		return nil, nil, run.Usage(err)
	}
	return r, p, nil
}
