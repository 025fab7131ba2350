package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// dataHelp says what addData's flag takes.
var dataHelp = "--data takes any of these, and a folder may hold any mix of them:\n  " + strings.Join(imageio.Kinds(), "\n  ")

func addData(c *cobra.Command, data *[]string) {
	c.Flags().StringArrayVar(data, "data", nil, "folder or file of images; may be given several times")
}
