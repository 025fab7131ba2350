package main

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize/english"
	"github.com/spf13/cobra"
)

// addFormat adds the flag --format to a command, with the names of the formats, of which the first is the default. The shell
// completes them, and others are refused.
func addFormat(c *cobra.Command, usage string, names ...string) (name *string) {
	f := &format{name: names[0], names: names}
	c.Flags().Var(f, "format", usage+": "+english.WordSeries(names, "or"))
	if err := c.RegisterFlagCompletionFunc("format", cobra.FixedCompletions(names, cobra.ShellCompDirectiveNoFileComp)); err != nil {
		panic(err) // the flag exists and is registered once
	}
	return &f.name
}

// format is the value of such a flag.
type format struct {
	name  string
	names []string
}

// Set implements [pflag.Value].
func (f *format) Set(name string) error {
	if !slices.Contains(f.names, name) {
		return fmt.Errorf("want %s", english.WordSeries(f.names, "or"))
	}
	f.name = name
	return nil
}

// String implements [pflag.Value].
func (f *format) String() string { return f.name }

// Type implements [pflag.Value].
func (f *format) Type() string { return "string" }
