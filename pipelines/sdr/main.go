// Command sdr turns one pile of unlabeled images into a backbone customized
// for each downstream task: it pre-trains an SDRnet (arXiv 2205.13267), routes
// tasks to its sub-nets and hands them out as ordinary ResNets.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/spf13/cobra"

	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem/local"
	//lint:ignore SA1019 --runner=direct is offered for comparison with prism
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/flink"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
)

// version is set by the linker. A program of `go install` has that of its module.
var version = "dev"

// Exit codes.
const (
	exitFailed      = 1   // the work failed
	exitUsage       = 2   // a different command line would fix it
	exitInterrupted = 130 // by a signal
)

func main() {
	if built, ok := debug.ReadBuildInfo(); ok && version == "dev" && !slices.Contains([]string{"", "(devel)"}, built.Main.Version) {
		version = built.Main.Version
	}
	compute.Tune(openTuning())
	serve()
	if err := flag.CommandLine.Parse(nil); err != nil {
		panic(err) // there is nothing to parse
	}
	beam.Init()
	// A signal's first arrival cancels the work, its second ends the program.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	c, err := newRoot().ExecuteContextC(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "sdr: interrupted"+continuation(c))
		os.Exit(exitInterrupted)
	case errors.Is(err, pipelines.ErrNotRun), errors.Is(err, pipelines.ErrSubmitted):
		fmt.Println(err)
	case errors.As(err, new(*run.UsageError)):
		fmt.Fprintln(os.Stderr, "sdr:", err)
		os.Exit(exitUsage)
	default:
		fmt.Fprintln(os.Stderr, "sdr:", err)
		os.Exit(exitFailed)
	}
}

// continuation says how to continue a command that was interrupted.
func continuation(c *cobra.Command) string {
	switch {
	case c.Flags().Lookup("resume") != nil:
		return "; the same command with --resume continues"
	case c.Name() == "study", c.CommandPath() == "sdr detect train", c.CommandPath() == "sdr route" && c.Flags().Changed("tasks"):
		return "; the same command continues"
	case c.Flags().Lookup("runner") != nil:
		return "; the same command begins anew"
	}
	return ""
}

// openTuning opens the machine's table of the fastest algorithms. Where there is no folder for it, nothing is tuned:
// two runs could not be told to choose the same.
func openTuning() *kernels.Tuning {
	dir, err := os.UserCacheDir()
	if err == nil {
		var table *kernels.Tuning
		if table, err = kernels.OpenTuning(filepath.Join(dir, "sdr", "tuning.json")); err == nil {
			return table
		}
	}
	slog.Warn("convolutions are not tuned", "error", err)
	return nil
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "sdr",
		Short: "Turn a pile of unlabeled images into a backbone for each task",
		Long: `sdr pre-trains on unlabeled images and hands out, for each downstream task, the
sub-net that suits it best: "Task-Customized Self-Supervised Pre-Training with
Scalable Dynamic Routing" (AAAI-22), as Apache Beam pipelines in one binary.

  init       a recipe file to edit, with every key explained
  pretrain   images in, a run folder with sub-nets out
  route      the best sub-net for one task, as an ordinary ResNet
  customize  the same, trained further on the task's own images
  finetune   a classifier: a sub-net trained on the labels of a task
  predict    the classes of images by such a classifier
  extend     new images for a run, with sub-nets for what is new in them
  evaluate   a table: unified net, routed sub-net, all sub-nets, task by task
  detect     detectors of objects on backbones: training, average precision, predictions
  study      recipes compared, over seeds and budgets, with intervals
  watch      a page that follows a run, or another training
  plan       what a run would take, on this machine or on many

Results go to standard output, logs to standard error, both without colors. Exit codes: 0 done,
1 failed, 2 fix the command line or the input, 130 interrupted.`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          commandArgs,
		RunE:          func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	if local() {
		root.Long += "\n\n" + strings.ToUpper(without[:1]) + without[1:] + "."
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		if before := c.Flags().Args(); len(before) > 0 && c.ValidateArgs(before) != nil {
			return c.ValidateArgs(before) // such as the name of a command that there is not, which has that flag
		}
		if local() && slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasSuffix(a, "dataflow") }) {
			return checkRunner("dataflow", false) // its flags are not there either
		}
		return run.Usagef("%w; see `%s --help`", err, c.CommandPath())
	})
	root.PersistentFlags().String("log-level", "info", "debug, info, warn or error")
	root.PersistentFlags().BoolP("quiet", "q", false, "show no progress, only warnings and errors; a run folder's train.log has it all")
	root.PersistentPreRunE = func(c *cobra.Command, args []string) error {
		return cmp.Or(setUpLog(c), checkPaths(c, args), findModels(c), sharePaths(c))
	}
	root.AddCommand(newInit(), newPretrain(), newRoute(), newCustomize(), newFinetune(), newExtend(), newEvaluate(), newDetect(), newStudy(), newEmbed(),
		newPredict(), newExport(), newInspect(), newWatch(), newPlan(), newBench(), newDoctor(), newMan())
	addCompletions(root)
	return root
}

// commandArgs refuses the name of a command that is not below this one.
func commandArgs(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := ""
	c.SuggestionsMinimumDistance = 2
	if near := c.SuggestionsFor(args[0]); len(near) > 0 {
		hint = fmt.Sprintf("; did you mean %q?", near[0])
	}
	return run.Usagef("there is no command %q%s", args[0], hint)
}

// noArgs refuses positional arguments with the usage exit code.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return run.Usagef("unexpected argument %q; see `%s --help`", args[0], c.CommandPath())
	}
	return nil
}

// checkFile refuses, before any work, the name of a file to write that does not end in the extension of its format, or
// that cannot be created.
func checkFile(flag, path, extension string) error {
	if !strings.EqualFold(filepath.Ext(path), extension) {
		return run.Usagef("--%s %s: give a name that ends in %s, which is the format of the file", flag, path, extension)
	}
	if !files.IsLocal(path) {
		return nil
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return run.Usagef("--%s %s is a folder; give the name of a file", flag, path)
	}
	if err := files.CheckWritable(filepath.Dir(path)); err != nil {
		return run.Usagef("--%s %s cannot be written: %w", flag, path, err)
	}
	return nil
}

// checkFolder makes a folder to write to, and refuses, before any work, one in which no file can be created.
func checkFolder(flag, path string) error {
	if err := files.CheckWritable(path); err != nil {
		return run.Usagef("--%s %s cannot be written: %w", flag, path, err)
	}
	return nil
}

// required refuses a command line that lacks one of the flags.
func required(c *cobra.Command, names ...string) error {
	for _, name := range names {
		if !c.Flags().Changed(name) {
			return run.Usagef("--%s is missing; see `%s --help`", name, c.CommandPath())
		}
	}
	return nil
}
