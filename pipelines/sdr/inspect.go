package main

import (
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newInspect() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect RUN",
		Short:   "Show the status of a run: stages, subsets, nets, losses, sizes",
		Example: `  sdr inspect runs/first`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return run.Usagef("want one run folder; see `%s --help`", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			return pipelines.Inspect(c.Context(), args[0], c.OutOrStdout())
		},
	}
}
