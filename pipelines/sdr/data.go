package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// dataHelp lists what --data accepts.
var dataHelp = "--data accepts any of these; a folder may contain any mix of them:\n  " + strings.Join(imageio.Kinds(), "\n  ")

func addData(c *cobra.Command, data *[]string) {
	c.Flags().StringArrayVar(data, "data", nil, "folder or file of images; can be repeated")
}

// addColumns adds --image-column and, where labels matter, --label-column.
func addColumns(c *cobra.Command, columns *imageio.Columns, labels bool) {
	c.Flags().StringVar(&columns.Image, "image-column", "", "column of images in Parquet files, such as sample.photo, or of paths in lists; default: image or another usual name")
	if labels {
		c.Flags().StringVar(&columns.Label, "label-column", "", "column of labels in Parquet files, lists and metadata files, or - for none; default: label or another usual name")
	}
}

// addMaxBad adds --max-bad.
func addMaxBad(c *cobra.Command, maxBad *float64) {
	c.Flags().Float64Var(maxBad, "max-bad", .01, "fraction of unreadable images above which the command fails")
}

func checkMaxBad(maxBad float64) error {
	if maxBad < 0 || maxBad > 1 {
		return run.Usagef("--max-bad %v: want a fraction between 0 and 1", maxBad)
	}
	return nil
}
