package main

import (
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

func newInspect() *cobra.Command {
	var all bool
	var format *string
	var labels []string
	var columns imageio.Columns
	c := &cobra.Command{
		Use:   "inspect RUN",
		Short: "Show the status of a run: stages, subsets, nets, losses, sizes",
		Example: `  sdr inspect runs/first
  sdr inspect runs/first --all
  sdr inspect runs/first --labels photos.parquet --label-column species
  sdr inspect runs/first --format json | jq '.nets[] | select(.steps == 0) | .subnet'`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 {
				return run.Usagef("want one run folder; see `%s --help`", c.CommandPath())
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			status, err := pipelines.Inspect(c.Context(), args[0])
			if err != nil {
				return err
			}
			if len(labels) > 0 {
				if err := status.CompareLabels(c.Context(), labels, columns); err != nil {
					return err
				}
			}
			if *format == "json" {
				return status.WriteJSON(c.OutOrStdout())
			}
			return status.WriteTable(c.OutOrStdout(), all)
		},
	}
	f := c.Flags()
	f.BoolVar(&all, "all", false, "list every subset and net, however many there are")
	f.StringArrayVar(&labels, "labels", nil, "labeled images, as given to --data: how well their labels and the subsets agree; may be repeated")
	addColumns(c, &columns, true)
	format = addFormat(c, "output format", "table", "json")
	return c
}
