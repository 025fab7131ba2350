package main

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines/bench"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
)

func newBench() *cobra.Command {
	var o bench.Options
	var filter string
	var format *string
	c := &cobra.Command{
		Use:   "bench GROUP...",
		Short: "Benchmark the tensor engine, alone or against PyTorch",
		Long: `Measures how fast this machine trains. Prints one line of JSON per case, with the
median seconds, the rate in GFLOPS, and that rate as a share of the peak measured
on matrices that stay in the cache. With --torch, the same cases alternate with
PyTorch in that Python; a "ratio" above 1 means that sdr is faster.

  gemm      matrix products
  conv      convolutions of ResNet-18: forward and both gradients
  step      training steps of SimSiam and NT-Xent, and their memory use
  loop      training from encoded images: decode, two views, step
  augment   making one view, decoding one image
  forward   features of ResNet-50
  kmeans    an iteration of k-means, and a whole job: against scikit-learn and faiss
  knn       exact nearest neighbors: against faiss
  all       all of these

With --device cuda, step, loop, forward, kmeans and knn are computed on a GPU, on
both sides: PyTorch is the other one then. Vectors to search begin in the CPU's memory,
as do those of a job; for an iteration they are on the GPU.

sdr bench pipeline says where the time of a whole main job goes, and what Beam costs.

Nothing else should run on the machine; "neighbours" is the load from other
programs. The environment variable SDR_CPU overrides the instruction set:
portable, avx2, avx512, bf16.`,
		Example: `  sdr bench all --format table
  sdr bench gemm conv --threads 1 --filter 'width64/layer4|1024'
  sdr bench step --torch .cache/torch/bin/python --rounds 9
  sdr bench step loop forward kmeans knn --device cuda --torch python3
  SDR_CPU=avx2 sdr bench step --filter simsiam/width16`,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 0 {
				return run.Usagef("name what to measure: %s or all; see `%s --help`", strings.Join(bench.Groups(), ", "), c.CommandPath())
			}
			o.Groups, o.Tuning = args, compute.Tuning()
			if slices.Contains(args, "all") {
				o.Groups = bench.Groups()
			}
			if o.Rounds < 1 || o.Threads < 0 || o.Time <= 0 {
				return run.Usagef("--rounds %d, --threads %d, --time %v: want at least 1, at least 0 and more than 0", o.Rounds, o.Threads, o.Time)
			}
			if _, err := os.Stat(o.Data); err != nil && !c.Flags().Changed("data") {
				o.Data = "" // not in a checkout
			}
			var err error
			if o.Filter, err = regexp.Compile(filter); err != nil {
				return run.Usagef("--filter: %w", err)
			}
			out := c.OutOrStdout()
			if *format == "json" {
				lines := json.NewEncoder(out)
				return bench.Run(c.Context(), o, func(r bench.Result) error { return lines.Encode(r) })
			}
			var results []bench.Result
			err = bench.Run(c.Context(), o, func(r bench.Result) error {
				results = append(results, r)
				return nil
			})
			if len(results) > 0 { // including results from before an error
				fmt.Fprintln(out, bench.Table(results))
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.Threads, "threads", 0, "threads on each side; 0 = all processors")
	f.IntVar(&o.Rounds, "rounds", 5, "measurements per side; their median is reported")
	f.DurationVar(&o.Time, "time", 500*time.Millisecond, "duration of a measurement, which repeats a case as often as fits, at least once")
	f.StringVar(&filter, "filter", "", "`REGEXP` that the names of cases must match")
	format = addFormat(c, "output format", "json", "table")
	f.StringVar(&o.Data, "data", "testdata/pool", "images for loop and augment; synthetic images if the default is missing")
	f.StringVar(&o.Python, "torch", "", "`PYTHON` interpreter to compare with, which needs "+bench.Packages+"; make bench-torch installs one")
	f.BoolVar(&o.Compile, "compile", false, "also let PyTorch try torch.compile for training steps, which takes minutes")
	f.StringVar(&o.Device.Name, "device", ssl.CPU, "where to compute, on both sides: cpu or cuda ("+strings.Join(bench.OnGPU, ", ")+")")
	f.BoolVar(&o.BF16, "bf16", false, "add convolutions and training in bfloat16, which is less precise; training in bfloat16 is always included if the CPU supports it")
	c.AddCommand(newBenchPipeline())
	return c
}

func newBenchPipeline() *cobra.Command {
	var o bench.PipelineOptions
	var name string
	var format *string
	var set []string
	c := &cobra.Command{
		Use:   "pipeline",
		Short: "Say where the time of a whole main job goes, and what Beam costs",
		Long: `Runs the main job on prism, and then its work without Beam: decodes the images,
computes their features, and trains as the stages do, each training also once more
as a job, in turns. Prints for each stage the seconds of its job, for how many of
them the tensor engine computed (training steps, forward passes, products of k-means
and of nearest neighbors; of ingest, how long the decoding takes without Beam), the
rest, which is Beam's and everything else's, and the seconds of the same work without
Beam, which are as many as the engine's where a stage has none. Other programs
disturb the two sides' processor times, and what is in one job, less than times.`,
		Example: `  sdr bench pipeline
  sdr bench pipeline --set train.images=500000 --rounds 3
  sdr bench pipeline --data photos/ --tasks "" --recipe laptop --format json`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Rounds < 1 {
				return run.Usagef("--rounds %d: want at least 1", o.Rounds)
			}
			if o.Recipe, err = recipe.Load(name, append([]string{fmt.Sprint("train.images=", benchImages)}, set...)); err != nil {
				return run.Usage(err)
			}
			if err := checkDevice(c, &o.Device, "prism"); err != nil {
				return err
			}
			costs, err := bench.Pipeline(c.Context(), o)
			if err != nil {
				return err
			}
			if *format == "json" {
				return json.NewEncoder(c.OutOrStdout()).Encode(costs)
			}
			return costs.WriteTable(c.OutOrStdout())
		},
	}
	f := c.Flags()
	f.StringSliceVar(&o.Data, "data", []string{"testdata/pool"}, "images to train on")
	f.StringVar(&o.Tasks, "tasks", "testdata/tasks", "folder of downstream tasks; empty for none")
	f.StringVar(&name, "recipe", "quickstart", "built-in recipe or YAML file")
	f.StringArrayVar(&set, "set", nil, "key=value, overrides the recipe; can be repeated")
	f.IntVar(&o.Rounds, "rounds", 1, "measurements of each training on each side; their medians are compared")
	format = addFormat(c, "output format", "table", "json")
	addDevice(c, &o.Device)
	return c
}

// benchImages is the budget of sdr bench pipeline, for about a minute.
const benchImages = 16000
