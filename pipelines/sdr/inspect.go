package main

import (
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newInspect() *cobra.Command {
	var all bool
	var format string
	c := &cobra.Command{
		Use:   "inspect RUN",
		Short: "Show the status of a run: stages, subsets, nets, losses, sizes",
		Example: `  sdr inspect runs/first
  sdr inspect runs/first --all
  sdr inspect runs/first --format json | jq '.nets[] | select(.steps == 0) | .subnet'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return run.Usagef("want one run folder; see `%s --help`", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			status, err := pipelines.Inspect(c.Context(), args[0])
			if err != nil {
				return err
			}
			if format == "json" {
				return status.WriteJSON(c.OutOrStdout())
			}
			return status.WriteTable(c.OutOrStdout(), all)
		},
	}
	f := c.Flags()
	f.BoolVar(&all, "all", false, "list every subset and net, however many there are")
	f.StringVar(&format, "format", "table", "output format: table or json")
	return c
}
