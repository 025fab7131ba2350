package main

import (
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
)

// addMode adds the flags that say what to do if --out holds a run, and returns what reads them.
func addMode(c *cobra.Command) func() (run.Mode, error) {
	resume := c.Flags().Bool("resume", false, "continue the run in --out")
	overwrite := c.Flags().Bool("overwrite", false, "replace the run in --out")
	return func() (run.Mode, error) {
		switch {
		case *resume && *overwrite:
			return run.Fresh, run.Usagef("--resume and --overwrite contradict each other")
		case *resume:
			return run.Resume, nil
		case *overwrite:
			return run.Overwrite, nil
		}
		return run.Fresh, nil
	}
}
