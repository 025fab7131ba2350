package main

import (
	"flag"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sdr-ml/sdr/stages/run"
)

// The runners whose workers are other processes.
const (
	flink    = "flink"
	dataflow = "dataflow"
)

// runners are those that are built in.
var runners = []string{"prism", "direct", flink}

// distant reports whether a runner's workers are other processes.
func distant(runner string) bool { return runner == flink || runner == dataflow }

// addRunner adds --runner, and Beam's own flags for the distant runners.
func addRunner(c *cobra.Command, runner *string) {
	c.Flags().StringVar(runner, "runner", "prism", "where the Beam pipeline runs: prism or direct (this process), flink, dataflow")
	c.Flags().AddGoFlagSet(flag.CommandLine)
	flag.CommandLine.VisitAll(func(f *flag.Flag) {
		_ = c.Flags().MarkHidden(f.Name) // it was added above
	})
}

// checkRunner refuses a runner that is not there, and hands Beam its flags.
func checkRunner(c *cobra.Command, runner string) error {
	switch {
	case runner == dataflow && !slices.Contains(runners, runner):
		return run.Usagef("--runner dataflow: this program was built with the tag local, which leaves it out; build it without, by `make build`")
	case !slices.Contains(runners, runner):
		return run.Usagef("--runner %s: want one of %s", runner, strings.Join(runners, ", "))
	}
	var err error
	c.Flags().Visit(func(f *pflag.Flag) {
		if flag.Lookup(f.Name) != nil && err == nil {
			err = flag.Set(f.Name, f.Value.String()) // Beam asks which ones were set
		}
	})
	if err != nil {
		return run.Usage(err)
	}
	for _, name := range []string{"async", "execute_async", "template_location"} {
		if f := c.Flags().Lookup(name); f != nil && f.Changed {
			return run.Usagef("--%s: a job must end before its results are read; run the command in the background instead", name)
		}
	}
	if dryRun(c) && (runner != dataflow || c.Name() != "pretrain") {
		return run.Usagef("--dry_run: only `sdr pretrain --runner dataflow` can print its job instead of running it")
	}
	return shipWorker(c, runner)
}

// shipWorker makes this program the workers', where it can be: Beam would build one from source.
func shipWorker(c *cobra.Command, runner string) error {
	f := c.Flags().Lookup("worker_binary")
	if f == nil || f.Changed || !distant(runner) || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return nil
	}
	path, err := os.Executable()
	if err != nil {
		return err
	}
	return flag.Set(f.Name, path)
}

// dryRun reports whether Dataflow is to print the job instead of running it.
func dryRun(c *cobra.Command) bool {
	f := c.Flags().Lookup("dry_run")
	return f != nil && f.Value.String() == "true"
}
