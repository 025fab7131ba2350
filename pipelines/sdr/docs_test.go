package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/require"
)

var (
	shell  = regexp.MustCompile("(?s)```sh\n(.*?)```")
	target = regexp.MustCompile(`(?m)^([a-z][a-z -]*):`)
)

// The commands in the documentation exist, with their flags, as do the targets of make and the programs of Python; .ci/run
// runs the main ones.
func TestDocumentedCommands(t *testing.T) {
	docs, err := filepath.Glob("../../docs/*.md")
	require.NoError(t, err)
	makefile, err := os.ReadFile("../../Makefile")
	require.NoError(t, err)
	targets := ""
	for _, m := range target.FindAllStringSubmatch(string(makefile), -1) {
		targets += " " + m[1] + " "
	}
	seen := 0
	for _, doc := range append(docs, "../../README.md") {
		text, err := os.ReadFile(doc)
		require.NoError(t, err)
		for _, block := range shell.FindAllStringSubmatch(string(text), -1) {
			for _, line := range strings.Split(strings.ReplaceAll(block[1], "\\\n", " "), "\n") {
				line, _, _ = strings.Cut(line, " #")
				words := strings.Fields(line)
				for len(words) > 0 && strings.Contains(words[0], "=") { // variables
					words = words[1:]
				}
				if len(words) == 0 {
					continue
				}
				seen++
				switch words[0] {
				case "sdr", "bin/sdr":
					c, rest, err := newRoot().Find(words[1:])
					require.NoError(t, err, line)
					require.NotEqual(t, "sdr", c.Name(), line)
					c.Flags().SortFlags = false
					flags := pflag.NewFlagSet("", pflag.ContinueOnError)
					flags.AddFlagSet(c.Flags())
					flags.AddFlagSet(c.InheritedFlags())
					require.NoError(t, flags.ParseAll(rest, func(f *pflag.Flag, value string) error {
						if _, ok := f.Value.(beamFlag); ok {
							return nil // it is of the whole process
						}
						return f.Value.Set(value)
					}), line)
				case "make":
					for _, word := range words[1:] {
						require.True(t, strings.Contains(word, "=") || strings.Contains(targets, " "+word+" "), "%s: %s", doc, line)
					}
				}
			}
		}
		for _, script := range regexp.MustCompile(`python (\S+\.py)`).FindAllStringSubmatch(string(text), -1) {
			require.FileExists(t, filepath.Join("../..", script[1]), doc)
		}
	}
	require.Greater(t, seen, 20)
}

// Every fuzz target has a row with its figures in the documentation.
func TestDocumentedFuzzTargets(t *testing.T) {
	text, err := os.ReadFile("../../docs/inputs.md")
	require.NoError(t, err)
	found := 0
	require.NoError(t, filepath.WalkDir("../..", func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "../..":
			return filepath.SkipDir
		case !strings.HasSuffix(path, "_test.go"):
			return nil
		}
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?m)^func (Fuzz\w+)`).FindAllStringSubmatch(string(source), -1) {
			found++
			require.Contains(t, string(text), fmt.Sprintf("| %s | %s |", m[1], strings.TrimPrefix(filepath.ToSlash(filepath.Dir(path)), "../../")))
		}
		return nil
	}))
	require.Greater(t, found, 30)
}
