package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/run"
)

func newStudy() *cobra.Command {
	var o pipelines.StudyOptions
	c := &cobra.Command{
		Use:   "study FILE --out DIR",
		Short: "Train and compare recipes, as a file describes",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := required(c, "out"); err != nil {
				return err
			}
			if len(args) != 1 {
				return run.Usagef("want one study file")
			}
			if err := checkRunner(o.Runner, false); err != nil {
				return err
			}
			if err := checkDevice(c, &o.Device, o.Runner); err != nil {
				return err
			}
			o.File, o.Version, o.Command = args[0], version, os.Args
			results, err := pipelines.Study(c.Context(), o)
			if err != nil {
				return withRemedy(err)
			}
			return results.WriteTable(c.OutOrStdout())
		},
	}
	c.Flags().StringVar(&o.Out, "out", "", "the study's folder")
	addDevice(c, &o.Device)
	addRunner(c, &o.Runner)
	return c
}
