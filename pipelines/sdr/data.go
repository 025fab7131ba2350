package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// dataHelp lists what --data accepts.
var dataHelp = "--data accepts any of these; a folder may contain any mix of them:\n  " + strings.Join(imageio.Kinds(), "\n  ")

func addData(c *cobra.Command, data *[]string) {
	c.Flags().StringArrayVar(data, "data", nil, "folder or file of images; can be repeated")
}
