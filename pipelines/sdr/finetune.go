package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/run"
)

func newFinetune() *cobra.Command {
	o := pipelines.FinetuneOptions{Config: finetune.Default}
	var mode func() (run.Mode, error)
	c := &cobra.Command{
		Use:   "finetune (--model FILE | --run RUN) --task PATH --out DIR",
		Short: "Train a classifier: a backbone and a linear layer on a task's labels",
		Long: `Starts from a model file, from the net --subnet of a run, or from the net of the run
that the router chooses for the task; adds a linear classifier; and trains all of it
on the task's labeled training images, by SGD with momentum and a cosine schedule.
Each block of the backbone learns more slowly than the one above it by the factor
--layer-decay. Part of the training images are held out: training stops when they
have shown no progress for --patience epochs, and the best epoch's weights are
taken. Training computes on the CPU.

DIR gets model.safetensors, which sdr predict, sdr embed, sdr export and torchvision
read; model.json, which describes it; metrics.jsonl, a line per epoch, and tensorboard/
with the same for TensorBoard; and results.parquet, the table. If there are test
images next to the training images, such as NAME-test.parquet next to
NAME-train.parquet, the finished model is measured on them. With --tasks, every
task in the folder gets a subfolder of DIR.`,
		Example: `  sdr finetune --run runs/first --task flowers-train.parquet --out flowers/
  sdr finetune --model pets/model.safetensors --task pets/train/ --out classifier/
  sdr finetune --run runs/first --subnet unified --tasks tasks/ --out classifiers/ --epochs 20`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if err := required(c, "out"); err != nil {
				return err
			}
			if (o.Model == "") == (o.Run == "") {
				return run.Usagef("give either --model or --run")
			}
			if o.Subnet != "" && o.Run == "" {
				return run.Usagef("--subnet is a net of a run: give --run, too")
			}
			if (o.Task == "") == (o.Tasks == "") {
				return run.Usagef("give either --task or --tasks")
			}
			if o.Mode, err = mode(); err != nil {
				return err
			}
			if err := checkMachines(c, &o.Device, o.Runner, false); err != nil {
				return err
			}
			start := time.Now()
			made, err := pipelines.Finetune(c.Context(), o)
			if err != nil {
				return err
			}
			slog.Info("fine-tuned", "tasks", len(made), "took", time.Since(start).Round(100*time.Millisecond))
			return made.WriteTable(c.OutOrStdout())
		},
	}
	f, cfg := c.Flags(), &o.Config
	f.StringVar(&o.Model, "model", "", "model file to start from, or its folder")
	f.StringVar(&o.Run, "run", "", "run folder to start from, instead of --model")
	f.StringVar(&o.Subnet, "subnet", "", "net of the run, as for sdr export; default: the one that the router chooses")
	f.StringVar(&o.Task, "task", "", "labeled training images of the task")
	f.StringVar(&o.Tasks, "tasks", "", "folder of tasks, instead of --task")
	addColumns(c, &o.Columns, true)
	f.StringVar(&o.Out, "out", "", "folder for the model")
	f.IntVar(&cfg.Epochs, "epochs", cfg.Epochs, "passes over the training images")
	f.IntVar(&cfg.Batch, "batch", cfg.Batch, "images per step")
	f.Float64Var(&cfg.LR, "lr", cfg.LR, "peak learning rate, that of the classifier")
	f.Float64Var(&cfg.LayerDecay, "layer-decay", cfg.LayerDecay, "learning rate of a block as a multiple of that of the block above it")
	f.Float64Var(&cfg.Momentum, "momentum", cfg.Momentum, "momentum of SGD")
	f.Float64Var(&cfg.WeightDecay, "weight-decay", cfg.WeightDecay, "weight decay, not of biases and BatchNorm")
	f.Float64Var(&cfg.Smoothing, "label-smoothing", cfg.Smoothing, "label smoothing")
	f.Float64Var(&cfg.Mixup, "mixup", cfg.Mixup, "alpha of mixup, such as 0.2; 0 means none")
	f.Float64Var(&cfg.Scale, "crop-scale", cfg.Scale, "least area of a random crop, as a fraction of the image's")
	f.Float64Var(&cfg.Flip, "flip", cfg.Flip, "probability of a horizontal flip; 0 where left and right matter")
	f.Float64Var(&cfg.HeldOut, "held-out", cfg.HeldOut, "fraction of the training images that is held out; 0 trains to the end on all of them")
	f.IntVar(&cfg.Patience, "patience", cfg.Patience, "epochs without progress on the held-out images after which training stops")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "seed of all random numbers")
	mode = addMode(c)
	addMetrics(c)
	addDevice(c, &o.Device)
	c.Flags().Lookup("device").Usage = "device for the router, not for training: cpu, cuda (an NVIDIA GPU), or auto (cuda if it works)"
	addRunner(c, &o.Runner)
	return c
}
