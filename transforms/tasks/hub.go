package tasks

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// parts are the names of splits in data sets, by what a task uses them for; t10k is MNIST's. Later names stand in for earlier
// ones.
var parts = map[string][]string{
	"train": {"train", "training", "trainval"},
	"test":  {"test", "testing", "t10k", "validation", "valid", "val", "dev", "eval"},
}

// shard matches the name, without its suffix and in lower case, of a split's only file, such as train, or of one of
// several: train-00000-of-00004, as on the Hugging Face Hub, or train-000000, as in WebDataset.
var shard = regexp.MustCompile(`^([a-z]+|t10k)(?:([-_])\d+(?:(-of-)(\d+)(-[0-9a-f]+)?)?)?$`)

// hubSplits finds the splits of a data set in a folder that is laid out as on the Hugging Face Hub: files such as
// train-00000-of-00004.parquet or folders train and test (split=train, if a table is partitioned so), in the folder itself,
// in its folder data, or in that of its only configuration; else those that its README.md names. The paths of splits are by
// the names of their parts, train and test; a split of several files is a glob.
func hubSplits(ctx context.Context, dir string) (map[string]string, error) {
	var configs []string
	var found map[string]string
	for _, sub := range append([]string{"."}, folders(ctx, dir)...) {
		splits, err := splitsOf(ctx, files.Join(dir, sub))
		if err != nil {
			return nil, err
		}
		if len(splits) == 0 {
			continue
		}
		if sub == "." {
			return splits, nil
		}
		configs, found = append(configs, sub), splits
	}
	if len(configs) > 1 {
		return nil, fmt.Errorf("%s holds the data sets %s; give one of them, such as %s", dir, strings.Join(configs, ", "), files.Join(dir, configs[0]))
	}
	if found == nil {
		return cardSplits(ctx, dir)
	}
	return found, nil
}

// folders lists the folders in a folder that are not hidden.
func folders(ctx context.Context, dir string) (names []string) {
	entries, _ := files.ReadDir(ctx, dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name, ".") && e.Folder {
			names = append(names, e.Name)
		}
	}
	return names
}

// pieces are the files of a split that belong together, or its folder.
type pieces struct {
	paths []string
	glob  string // that matches them
	of    int    // their number, if their names tell
}

// splitsOf finds the splits whose files or folders are directly in a folder. A folder goes before files.
func splitsOf(ctx context.Context, dir string) (map[string]string, error) {
	entries, err := files.ReadDir(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	found := map[string]map[string]*pieces{} // by split, then by glob, which is empty for a folder
	add := func(split, glob, path string, of int) {
		if found[split] == nil {
			found[split] = map[string]*pieces{}
		}
		if found[split][glob] == nil {
			found[split][glob] = &pieces{glob: glob, of: of}
		}
		found[split][glob].paths = append(found[split][glob].paths, path)
	}
	for _, e := range entries {
		path := files.Join(dir, e.Name)
		if e.Folder {
			found[strings.TrimPrefix(strings.ToLower(e.Name), "split=")] = map[string]*pieces{"": {paths: []string{path}}}
			continue
		}
		stem, collection := imageio.Stem(e.Name)
		m := shard.FindStringSubmatch(strings.ToLower(stem))
		if !collection || m == nil || found[m[1]][""] != nil {
			continue
		}
		suffix, glob := e.Name[len(stem):], stem[:len(m[1])]
		if m[2] != "" {
			glob += m[2] + "[0-9]*"
		}
		of, _ := strconv.Atoi(m[4])
		if m[3] != "" {
			glob += fmt.Sprintf("-of-%s*", m[4])
		}
		if packed := strings.ToLower(e.Name); strings.HasSuffix(packed, ".gz") && slices.ContainsFunc(entries, func(o files.Entry) bool { return strings.ToLower(o.Name)+".gz" == packed }) {
			continue // it is there unpacked, too
		}
		add(m[1], glob+suffix, path, of)
	}
	splits := map[string]string{}
	for _, part := range []string{"train", "test"} {
		names := parts[part]
		at := slices.IndexFunc(names, func(n string) bool { return len(found[n]) > 0 })
		if at < 0 {
			continue
		}
		if splits[part], err = one(ctx, dir, names[at], found[names[at]]); err != nil {
			return nil, err
		}
	}
	return splits, nil
}

// one returns the path of a split: of its only file or folder, or a glob that matches its files and no others.
func one(ctx context.Context, dir, split string, kinds map[string]*pieces) (string, error) {
	var all []*pieces
	for _, p := range kinds {
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b *pieces) int { return strings.Compare(a.paths[0], b.paths[0]) })
	p := all[0]
	switch {
	case len(all) > 1:
		return "", fmt.Errorf("%s: the split %s is in both %s and %s; remove one of them", dir, split, filepath.Base(p.paths[0]), filepath.Base(all[1].paths[0]))
	case p.of > 0 && len(p.paths) != p.of:
		return "", fmt.Errorf("%s: the split %s has %d of its %d files; download the others", dir, split, len(p.paths), p.of)
	case len(p.paths) == 1:
		return p.paths[0], nil
	}
	glob := files.Join(files.Quote(dir), p.glob)
	matched, err := files.List(ctx, glob)
	if err != nil {
		return "", err
	}
	for _, path := range matched {
		if !slices.Contains(p.paths, path) {
			return "", fmt.Errorf("%s: is %s a file of the split %s? Rename or move it", dir, filepath.Base(path), split)
		}
	}
	return glob, nil
}

// standIn logs that another split stands in for the missing test split.
func standIn(t Task) {
	name := strings.ToLower(filepath.Base(t.Test))
	if stem, collection := imageio.Stem(name); collection {
		name, _, _ = strings.Cut(stem, "[") // of a glob
	}
	if m := shard.FindStringSubmatch(strings.TrimRight(name, "-_")); m != nil && slices.Index(parts["test"], m[1]) >= slices.Index(parts["test"], "validation") {
		slog.Info("there is no test split; another one stands in", "task", t.Name, "split", t.Test)
	}
}

// words returns the words of a name, in lower case: its longest sequences of letters.
func words(name string) []string {
	return strings.FieldsFunc(strings.ToLower(name), func(r rune) bool { return !unicode.IsLetter(r) })
}

// mixed returns an error if a folder without known splits has entries that look like those of several.
func mixed(ctx context.Context, dir string) error {
	entries, err := files.ReadDir(ctx, dir)
	if err != nil {
		return err
	}
	seen := map[string]string{}
	for _, e := range entries {
		for part, names := range parts {
			if slices.ContainsFunc(words(e.Name), func(word string) bool { return slices.Contains(names, word) }) {
				seen[part] = e.Name
			}
		}
	}
	if seen["train"] != "" && seen["test"] != "" {
		return fmt.Errorf("%s holds %s and %s, which look like splits; give the training images alone", dir, seen["train"], seen["test"])
	}
	return nil
}

// Paths returns the files or folders of a split's path, which may be a glob and end with columns and a slice; see [Load].
func Paths(ctx context.Context, path string) ([]string, error) {
	path, _, _ = cutPath(path)
	if found, err := files.Exists(ctx, path); found || err != nil || !strings.Contains(path, "*") {
		return []string{path}, err
	}
	return files.List(ctx, path)
}
