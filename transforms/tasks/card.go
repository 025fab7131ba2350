package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"syscall"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/transforms/files"
)

// cardConfig is a configuration in the card of a data set on the Hugging Face Hub, which of its files each split has.
type cardConfig struct {
	Name    string `yaml:"config_name"`
	Default bool   `yaml:"default"`
	Files   []struct {
		Split string `yaml:"split"`
		Path  any    `yaml:"path"` // a glob, or several
	} `yaml:"data_files"`
}

// path returns the path of a split; "" if there is no such split.
func (c cardConfig) path(split string) (string, error) {
	for _, f := range c.Files {
		if f.Split != split {
			continue
		}
		if list, ok := f.Path.([]any); ok && len(list) == 1 {
			f.Path = list[0]
		}
		if path, ok := f.Path.(string); ok {
			return path, nil
		}
		return "", fmt.Errorf("README.md gives the split %s several paths; give the files of one split alone", split)
	}
	return "", nil
}

// cardSplits returns the splits that the card of a data set names, README.md, which begins with a block of YAML. It is for data
// sets whose files are not named after their splits. Of several configurations it takes the default one.
func cardSplits(ctx context.Context, dir string) (map[string]string, error) {
	text, err := files.Read(ctx, files.Join(dir, "README.md"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	rest, _ := strings.CutPrefix(strings.ReplaceAll(string(text), "\r\n", "\n"), "---\n")
	block, _, found := strings.Cut(rest, "\n---")
	var card struct {
		Configs []cardConfig `yaml:"configs"`
	}
	if !found || yaml.Unmarshal([]byte(block), &card) != nil { // a text like others, or data_files of another form
		return nil, nil
	}
	at := slices.IndexFunc(card.Configs, func(c cardConfig) bool { return c.Default || c.Name == "default" || len(card.Configs) == 1 })
	if at < 0 {
		return nil, nil
	}
	splits := map[string]string{}
	for _, part := range []string{"train", "test"} {
		for _, name := range parts[part] {
			path, err := card.Configs[at].path(name)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", dir, err)
			}
			if path == "" || splits[part] != "" {
				continue
			}
			if splits[part] = files.Join(dir, path); strings.Contains(path, "*") {
				splits[part] = files.Join(files.Quote(dir), path)
			}
		}
	}
	return splits, nil
}
