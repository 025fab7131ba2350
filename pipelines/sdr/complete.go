package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/sdr-ml/sdr/pipelines"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// addCompletions makes the shell complete the values of flags that have a few, and the keys of --set, for a command and all
// below it.
func addCompletions(c *cobra.Command) {
	flags := c.LocalFlags()
	complete := func(flag string, values func() []cobra.Completion, directive cobra.ShellCompDirective) {
		if flags.Lookup(flag) == nil {
			return
		}
		if err := c.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
			return values(), directive
		}); err != nil {
			panic(err) // the flag exists and is registered once
		}
	}
	complete("recipe", recipe.Names, cobra.ShellCompDirectiveDefault) // or a file
	for flag, values := range map[string][]string{
		"protocol":  evaluate.Protocols(),
		"scorer":    route.Scorers(),
		"norm":      route.Norms,
		"runner":    slices.Concat([]string{"prism", "direct"}, distant),
		"device":    {ssl.Auto, ssl.CPU, ssl.CUDA},
		"log-level": {"debug", "info", "warn", "error"},
	} {
		complete(flag, func() []cobra.Completion { return values }, cobra.ShellCompDirectiveNoFileComp)
	}
	complete("set", func() (all []cobra.Completion) {
		for _, key := range recipe.Keys() {
			all = append(all, cobra.CompletionWithDesc(key+"=", recipe.Usage(key)))
		}
		return all
	}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp)
	complete("subnet", func() (all []cobra.Completion) {
		status, err := pipelines.Inspect(c.Context(), c.Flag("run").Value.String())
		if err != nil {
			return nil // there is no such run
		}
		for _, n := range status.Nets {
			all = append(all, n.Name)
		}
		return all
	}, cobra.ShellCompDirectiveNoFileComp)
	for _, below := range c.Commands() {
		addCompletions(below)
	}
}
