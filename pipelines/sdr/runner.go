package main

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam/io/filesystem"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/options/jobopts"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

// without says what a program built with the tag local lacks.
const without = "this program was built with the tag local, without object stores and Dataflow; `make build` builds one that has them"

// local reports whether this is such a program.
func local() bool { return !slices.Contains(distant, "dataflow") }

// addRunner adds --runner, and Beam's own flags for the distant runners.
func addRunner(c *cobra.Command, runner *string) {
	c.Flags().StringVar(runner, "runner", "prism", "where the Beam pipeline runs: prism or direct (this process), "+strings.Join(distant, ", "))
	flag.CommandLine.VisitAll(func(f *flag.Flag) {
		own := pflag.PFlagFromGoFlag(f)
		own.Value, own.Hidden = beamFlag{own.Value, f.Name}, true
		c.Flags().AddFlag(own)
	})
}

// beamFlag is a flag of Beam's. Runners ask Go's package flag which of them were given.
type beamFlag struct {
	pflag.Value
	name string
}

// Set implements [pflag.Value].
func (f beamFlag) Set(value string) error { return flag.Set(f.name, value) }

// dryRun reports whether Dataflow is to describe its job only.
func dryRun() bool {
	f := flag.Lookup("dry_run")
	return f != nil && f.Value.String() == "true"
}

// checkRunner refuses a runner that is not there or cannot do what Beam's flags ask of it, and makes this program that of
// a distant runner's workers. Alone says that the job is the last, and that nothing is done with what it writes.
func checkRunner(runner string, alone bool) error {
	inProcess := pipelines.InProcess(runner)
	switch {
	case runner == "dataflow" && local():
		return run.Usagef("--runner dataflow: %s", without)
	case !inProcess && !slices.Contains(distant, runner):
		return run.Usagef("--runner %s: want one of prism, direct, %s", runner, strings.Join(distant, ", "))
	case *jobopts.Async && inProcess:
		return run.Usagef("--async: the jobs of --runner %s end with this program", runner)
	case *jobopts.Async && !alone:
		return run.Usagef("--async is for `sdr pretrain --single-job`: whatever else there is reads what its jobs write")
	case dryRun() && runner != "dataflow":
		return run.Usagef("--dry_run: only --runner dataflow describes its job without running it")
	case !inProcess && *jobopts.WorkerBinary == "" && runtime.GOOS == "linux" && runtime.GOARCH == "amd64":
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("--worker_binary is missing, and this program cannot be found: %w", err)
		}
		return flag.Set("worker_binary", self)
	}
	return nil
}

// remote matches paths that are not on this machine.
var remote = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

// checkPaths refuses arguments and flags of the command's own that are paths of a filesystem that is not there.
func checkPaths(c *cobra.Command, args []string) (err error) {
	values := slices.Clone(args)
	c.Flags().Visit(func(f *pflag.Flag) {
		if list, ok := f.Value.(pflag.SliceValue); ok && !f.Hidden {
			values = append(values, list.GetSlice()...)
		} else if !f.Hidden {
			values = append(values, f.Value.String())
		}
	})
	for _, path := range values {
		if remote.MatchString(path) && !hasFilesystem(path) {
			scheme, _, _ := strings.Cut(path, "://")
			if local() {
				return run.Usagef("%s: %s", path, without)
			}
			return run.Usagef("%s: there is no filesystem for %s://; want gs:// or a path on this machine", path, scheme)
		}
	}
	return nil
}

// hasFilesystem reports whether Beam knows the scheme of a path.
func hasFilesystem(path string) (found bool) {
	defer func() { found = recover() == nil }()
	filesystem.ValidateScheme(path) // panics where it does not
	return
}
