package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/transforms/files"
)

func newInit() *cobra.Command {
	var name, out string
	var set []string
	var overwrite bool
	c := &cobra.Command{
		Use:   "init [--recipe NAME] [--out FILE.yaml]",
		Short: "Write a recipe file to edit, with every key explained",
		Long: `Writes a recipe with every key, its value and what it means, to a file. Edit it,
delete what you do not change, and give it to sdr pretrain.`,
		Example: `  sdr init
  sdr init --recipe laptop --set backbone.arch=mobilenet_v2 --out mine.yaml
  sdr pretrain --recipe mine.yaml --data photos/ --out runs/mine`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkFile("out", out, ".yaml"); err != nil {
				return err
			}
			r, err := recipe.Load(name, set)
			if err != nil {
				return run.Usage(err)
			}
			exists, err := files.Exists(c.Context(), out)
			if err != nil {
				return err
			}
			if exists && !overwrite {
				return run.Usagef("%s exists; replace it with --overwrite, or give another --out", out)
			}
			text := fmt.Appendf(nil, "# A recipe for `sdr pretrain --recipe %s`. A key that you delete gets its default, which `sdr init` shows.\n%s", out, r.Commented())
			if err := files.WriteBytes(c.Context(), out, text); err != nil {
				return err
			}
			fmt.Fprintln(c.OutOrStdout(), out)
			return nil
		},
	}
	f := c.Flags()
	f.StringVar(&name, "recipe", recipe.Default, "recipe to start from: built in, or a YAML file")
	f.StringArrayVar(&set, "set", nil, "key=value, overrides that recipe; can be repeated")
	f.StringVar(&out, "out", "recipe.yaml", "file to write")
	f.BoolVar(&overwrite, "overwrite", false, "replace the file")
	return c
}
