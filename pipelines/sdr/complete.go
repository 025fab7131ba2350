package main

import (
	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// addCompletions makes the shell complete the values of the flags --recipe and --set.
func addCompletions(c *cobra.Command) {
	complete := func(flag string, values func() []cobra.Completion, directive cobra.ShellCompDirective) {
		if c.Flags().Lookup(flag) == nil {
			return
		}
		if err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return values(), directive
		}); err != nil {
			panic(err) // the flag exists and is registered once
		}
	}
	complete("recipe", recipe.Names, cobra.ShellCompDirectiveDefault) // or a file
	complete("set", func() (all []cobra.Completion) {
		for _, key := range recipe.Keys() {
			all = append(all, cobra.CompletionWithDesc(key+"=", recipe.Usage(key)))
		}
		return all
	}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp)
}
