package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// methodsHelp lists the registered methods with their settings.
func methodsHelp() string {
	var b strings.Builder
	for _, name := range ssl.Methods() {
		m := ssl.Lookup(name)
		fmt.Fprintf(&b, "  %-8s %s\n", name, m.Summary())
		for _, s := range m.Settings() {
			fmt.Fprintf(&b, "           ssl.%s=%v: %s\n", s.Name, s.Default, s.Usage)
		}
	}
	return b.String()
}

// keysHelp lists the keys of a recipe. methodsHelp lists those of the methods.
func keysHelp() string {
	var b strings.Builder
	for _, key := range recipe.Keys() {
		fmt.Fprintf(&b, "  %-24s %s\n", key, recipe.Usage(key))
	}
	return b.String()
}

func newPretrain() *cobra.Command {
	var o pipelines.PretrainOptions
	var name string
	var set []string
	var mode func() (run.Mode, error)
	var seed uint64
	c := &cobra.Command{
		Use:   "pretrain --data PATH [--data PATH ...] --out RUN",
		Short: "Train sub-nets on unlabeled images",
		Long: `Reads images, clusters them into subsets and trains an SDRnet with one sub-net per
subset.

` + dataHelp + `

Labels are ignored. Unreadable images are listed in RUN/dead-letter.parquet; if
their fraction exceeds --max-bad, the run fails.

Use --resume to continue a run that was interrupted or killed. It ends with exactly
the same weights as an uninterrupted run.

--init begins with the weights of a ResNet of torchvision or timm, or of a model file of
sdr, instead of random ones (arXiv 2103.12718): its architecture, stem and width are
those of the recipe's backbone, and the heads begin anew. The untrained baseline, random,
is then this net itself, with the BatchNorm statistics of the file.

Self-supervised methods (ssl.method) and their settings:
` + methodsHelp() + `
Recipes: ` + strings.Join(recipe.Names(), ", ") + `, or a YAML file, which
` + "`sdr init`" + ` writes. Its keys, also for --set:
` + keysHelp() + `
views is a list of operations, such as [random_resized_crop, grayscale: {p: 0.2}],
or {first: [...], second: [...]}. To change a parameter of an operation in the list,
set views.OPERATION.PARAMETER, or views.second.OPERATION.PARAMETER for one view only.
The operations and their defaults:
  ` + strings.Join(recipe.Operations(), "\n  "),
		Example: `  sdr pretrain --data photos/ --out runs/first
  sdr pretrain --data photos/ --out runs/first --resume
  sdr pretrain --data pool.parquet --data more.tar --out runs/wide --set backbone.width=32 --set train.images=2000000
  sdr pretrain --data photos/ --tasks tasks/ --out runs/judged --recipe mine.yaml --seed 3
  sdr pretrain --data photos/ --out runs/blurred --set input.size=64 --set input.crop=64 --set views.gaussian_blur.p=0.5
  sdr pretrain --data photos/ --out runs/warm --init resnet50.safetensors --set backbone='{arch: resnet50, stem: imagenet, width: 64}'
  sdr pretrain --data photos/ --out runs/gpu --device cuda --gpu-mem 40GiB --set train.precision=bf16`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "data", "out"); err != nil {
				return err
			}
			if err := checkMachines(c, &o.Device, o.Runner, o.SingleJob); err != nil {
				return err
			}
			if err := evaluate.CheckProtocols(o.Protocols); err != nil {
				return err
			}
			if c.Flags().Changed("seed") {
				set = append(set, fmt.Sprint("seed=", seed))
			}
			var err error
			if o.Recipe, err = recipe.Load(name, set); err != nil {
				return run.Usage(err)
			}
			if o.Mode, err = mode(); err != nil {
				return err
			}
			if err := checkMaxBad(o.MaxBad); err != nil {
				return err
			}
			o.Version, o.Command = version, os.Args
			return pretrain(c, o)
		},
	}
	f := c.Flags()
	addData(c, &o.Data)
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "run folder to create")
	f.StringVar(&o.Init, "init", "", "safetensors file of torchvision, timm or sdr with the backbone to begin with; random weights if not given")
	f.StringVar(&name, "recipe", recipe.Default, "built-in recipe or YAML file")
	f.StringArrayVar(&set, "set", nil, "key=value, overrides the recipe; can be repeated")
	f.Uint64Var(&seed, "seed", 1, "seed of every random stream, overrides the recipe's")
	mode = addMode(c)
	addMetrics(c)
	f.BoolVar(&o.SingleJob, "single-job", false, "run all stages in one Beam pipeline; the weights are the same")
	addMaxBad(c, &o.MaxBad)
	f.StringVar(&o.Tasks, "tasks", "", "folder of downstream tasks to route and evaluate after training")
	f.StringSliceVar(&o.Protocols, "protocol", []string{"knn"}, "protocols for evaluating the tasks, as for sdr evaluate")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}

// remedies says which flags fix an error.
var remedies = []struct {
	err  error
	text string
}{
	{run.ErrNoRun, "choose another --out"},
	{run.ErrNoStudy, "choose another --out"},
	{run.ErrHoldsRun, "continue it with --resume, replace it with --overwrite, or choose another --out"},
	{run.ErrOtherRecipe, "start over with --overwrite"},
	{ingest.ErrTooFew, "add other images, or reduce the recipe's train.batch"},
	{ingest.ErrTooManyBad, "repair or remove them, or raise --max-bad"},
	{train.ErrOutOfMemory, "reduce the recipe's train.batch, or raise --gpu-mem"},
	{run.ErrOtherData, "give the same --data, or start over with --overwrite"},
	{run.ErrOtherInit, "give the same --init, or start over with --overwrite"},
	{run.ErrMoved, "move it back, or start over"},
	{run.ErrOtherVersion, "resume it with these, or start over with --overwrite"},
}

// withRemedy adds to an error which flags fix it, which makes it one of usage.
func withRemedy(err error) error {
	for _, r := range remedies {
		if errors.Is(err, r.err) {
			return run.Usagef("%w; %s", err, r.text)
		}
	}
	return err
}

// pretrain runs the job, keeps its log and prints its results.
func pretrain(c *cobra.Command, o pipelines.PretrainOptions) error {
	closeLog := func() {}
	defer func() { closeLog() }()
	o.Started = func(folder *run.Folder) { closeLog = keepLog(c, folder) }
	made, err := pipelines.Pretrain(c.Context(), o)
	if err != nil {
		return withRemedy(err)
	}
	out := c.OutOrStdout()
	if made.Results != nil {
		if err := made.Results.WriteTable(out); err != nil {
			return err
		}
	}
	if made.Dead > 0 {
		fmt.Fprintf(out, "%s could not be read: %s\n", english.Plural(int(made.Dead), "image", ""), made.Folder.DeadLetterPath())
	}
	fmt.Fprintf(out, "%s in %s\n", english.Plural(len(made.Models), "net", ""), made.Folder.Dir)
	for _, path := range made.Written {
		fmt.Fprintln(out, path)
	}
	return nil
}
