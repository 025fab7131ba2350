package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/sdr-ml/sdr/stages/run"
)

func newMan() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:     "man --out DIR",
		Short:   "Write man pages of all commands",
		Example: `  sdr man --out ~/.local/share/man/man1`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := required(c, "out"); err != nil {
				return err
			}
			if err := os.MkdirAll(out, 0o755); err != nil {
				return run.Usagef("--out %s: %w", out, err)
			}
			root := newRoot()
			root.DisableAutoGenTag = true
			for _, each := range append(root.Commands(), root) {
				each.Long = preformatted(each.Long)
			}
			header := &doc.GenManHeader{Section: "1", Source: "sdr " + version, Manual: "sdr"}
			if err := doc.GenManTree(root, header, out); err != nil {
				return fmt.Errorf("man pages: %w", err)
			}
			fmt.Fprintln(c.OutOrStdout(), out)
			return nil
		},
	}
	c.Flags().StringVar(&out, "out", "", "folder to write to, such as man1")
	return c
}

// preformatted indents the indented lines of a text so that Markdown keeps them as they are.
func preformatted(text string) string {
	var b strings.Builder
	was := false
	for _, line := range strings.Split(text, "\n") {
		is := strings.HasPrefix(line, "  ")
		if is && !was {
			b.WriteByte('\n')
		}
		if is {
			b.WriteString("    ")
		}
		b.WriteString(line + "\n")
		was = is
	}
	return b.String()
}
