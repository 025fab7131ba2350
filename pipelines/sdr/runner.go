package main

import (
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
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
	"github.com/sdr-ml/sdr/transforms/files"
)

// without says what a program built with the tag local lacks.
const without = "this program was built with the tag local, without object stores and Dataflow; `make build` builds one that has them"

// local reports whether this is such a program.
func local() bool { return !slices.Contains(distant, "dataflow") }

// addRunner adds --runner, and Beam's own flags for the distant runners.
func addRunner(c *cobra.Command, runner *string) {
	c.Flags().StringVar(runner, "runner", "prism", "where the Beam pipeline runs: prism or direct (this process), "+
		strings.Join(distant, ", ")+"; flink needs --endpoint HOST:PORT of the Beam job server")
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
	case pipelines.DryRun() && runner != "dataflow":
		return run.Usagef("--dry_run: only --runner dataflow describes its job without running it")
	case runner == "flink":
		return checkFlink()
	case runner == "dataflow":
		return checkDataflow()
	}
	return nil
}

// workerBinary returns the program of a job's workers: --worker_binary or, if that is not given, this one. It is empty on
// machines for which the workers need another, which Beam then builds.
func workerBinary() (string, error) {
	if *jobopts.WorkerBinary != "" || runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return *jobopts.WorkerBinary, nil
	}
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("--worker_binary is missing, and this program cannot be found: %w", err)
	}
	return self, nil
}

// checkDataflow asks for what a job on Dataflow needs.
func checkDataflow() error {
	var missing []string
	for _, name := range []string{"project", "region", "staging_location"} {
		if f := flag.Lookup(name); f == nil || f.Value.String() == "" {
			missing = append(missing, "--"+name)
		}
	}
	if len(missing) > 0 {
		return run.Usagef("--runner dataflow: %s missing; give the project, the region, and a gs:// folder for the program and the job's files",
			strings.Join(missing, ", "))
	}
	if staging := flag.Lookup("staging_location").Value.String(); !strings.HasPrefix(staging, "gs://") {
		return run.Usagef("--staging_location %s: want a folder in gs://", staging)
	}
	self, err := workerBinary()
	if err != nil {
		return err
	}
	return flag.Set("worker_binary", self) // which is among the options that Beam reports
}

// checkFlink asks for what a job on Flink needs, and fills in the rest: this program is the workers', which the
// TaskManagers start from the same path, and there are as many of them as the cluster has slots.
func checkFlink() error {
	if *jobopts.Endpoint == "" {
		return run.Usagef("--runner flink: --endpoint is missing; give HOST:PORT of the Beam job server, such as localhost:8099")
	}
	binary, err := workerBinary()
	if err != nil {
		return err
	}
	if *jobopts.EnvironmentType == "" {
		if runtime.GOOS != "linux" {
			return run.Usagef("--runner flink: this program is for %s; give --environment_type and --environment_config of workers on the cluster", runtime.GOOS)
		}
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("this program, which is to be the workers', cannot be found: %w", err)
		}
		config, err := json.Marshal(map[string]string{"command": self})
		if err != nil {
			return err
		}
		*jobopts.EnvironmentType, *jobopts.EnvironmentConfig = "PROCESS", string(config)
		if *jobopts.WorkerBinary == "" {
			binary = os.DevNull // nothing is staged
		}
	}
	*jobopts.WorkerBinary = binary
	if *jobopts.Parallelism > 0 {
		return nil
	}
	cluster, err := pipelines.FlinkOf()
	if err != nil {
		return run.Usage(err)
	}
	slots, err := cluster.Slots(context.Background())
	switch {
	case err != nil:
		return run.Usagef("--runner flink: the cluster does not tell how many slots it has (%w); give --flink_rest HOST:PORT, or --parallelism", err)
	case slots == 0:
		return run.Usagef("--runner flink: the cluster at %s has no slots; start its TaskManagers", cluster.Address)
	}
	*jobopts.Parallelism = slots
	return nil
}

// paths are the flags whose values are paths.
var paths = []string{"data", "out", "run", "registry", "task", "tasks", "model", "images", "detectors", "detections"}

// sharePaths makes the paths of a job on other machines absolute, since its workers have other working directories, and
// refuses those that its workers cannot reach.
func sharePaths(c *cobra.Command) error {
	runner := c.Flags().Lookup("runner")
	if runner == nil || pipelines.InProcess(runner.Value.String()) {
		return nil
	}
	absolute := func(path string) (string, error) {
		switch {
		case path == "" || !files.IsLocal(path):
			return path, nil
		case runner.Value.String() == "dataflow" && !local() && !pipelines.DryRun():
			return "", run.Usagef("%s: Dataflow's workers do not see the files of this machine; give paths in gs://", path)
		}
		return filepath.Abs(path)
	}
	for _, name := range paths {
		f := c.Flags().Lookup(name)
		if f == nil || !f.Changed {
			continue
		}
		if err := edit(f, absolute); err != nil {
			return err
		}
	}
	return nil
}

// edit changes the values of a flag.
func edit(f *pflag.Flag, change func(value string) (string, error)) (err error) {
	values := valuesOf(f)
	for i := range values {
		if values[i], err = change(values[i]); err != nil {
			return err
		}
	}
	if list, many := f.Value.(pflag.SliceValue); many {
		return list.Replace(values)
	}
	return f.Value.Set(values[0])
}

// findModels takes, for a folder that is given as a model, the model file in it, and refuses one that has none.
func findModels(c *cobra.Command) error {
	f := c.Flags().Lookup("model")
	if f == nil || !f.Changed {
		return nil
	}
	return edit(f, func(path string) (string, error) {
		if !files.IsFolder(c.Context(), path) {
			return path, nil
		}
		file := files.Join(path, "model.safetensors")
		if found, err := files.Exists(c.Context(), file); err != nil || !found {
			return "", cmp.Or(err, run.Usagef("--model %s is a folder without a model.safetensors; give a file", path))
		}
		return file, nil
	})
}

// valuesOf returns the values of a flag: several if it can be repeated.
func valuesOf(f *pflag.Flag) []string {
	if list, many := f.Value.(pflag.SliceValue); many {
		return list.GetSlice()
	}
	return []string{f.Value.String()}
}

// remote matches paths that are not on this machine.
var remote = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://`)

// checkPaths refuses arguments and flags of the command's own that are paths of a filesystem that is not there, or of a home
// folder that the shell has left as it is written.
func checkPaths(c *cobra.Command, args []string) (err error) {
	values := slices.Clone(args)
	c.Flags().Visit(func(f *pflag.Flag) {
		if !f.Hidden {
			values = append(values, valuesOf(f)...)
		}
	})
	for _, path := range values {
		if (path == "~" || strings.HasPrefix(path, "~/")) && !files.IsFolder(c.Context(), "~") {
			return run.Usagef("%s: ~ is expanded by the shell, if it begins an argument and isn't quoted; leave out the quotes, or write $HOME", path)
		}
		if remote.MatchString(path) && !hasFilesystem(path) {
			scheme, _, _ := strings.Cut(path, "://")
			if local() {
				return run.Usagef("%s: %s", path, without)
			}
			return run.Usagef("%s: there is no filesystem for %s://; want gs://, s3:// or a path on this machine", path, scheme)
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
