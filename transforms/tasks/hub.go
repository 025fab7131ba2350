package tasks

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// parts are the names of splits on the Hugging Face Hub, by what a task uses them for. Later names stand in for earlier
// ones.
var parts = map[string][]string{
	"train": {"train"},
	"test":  {"test", "validation", "valid", "val", "dev"},
}

// shard matches the name of a split's file without its suffix: train, or one of several such as train-00000-of-00004.
var shard = regexp.MustCompile(`^([a-z]+)(?:-\d+-of-(\d+)(?:-[0-9a-f]+)?)?$`)

// hubSplits finds the splits of a data set in a folder that is laid out as on the Hugging Face Hub: files
// train-00000-of-00004.parquet in the folder itself, in its folder data, or in that of its only configuration; or
// folders train and test in one of these. The paths of splits are by the names of their parts, train and test; a split
// of several files is a glob.
func hubSplits(dir string) (map[string]string, error) {
	var configs []string
	var found map[string]string
	for _, sub := range append([]string{"."}, folders(dir)...) {
		splits, err := splitsOf(filepath.Join(dir, sub))
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
		return nil, fmt.Errorf("%s holds the data sets %s; give one of them, such as %s", dir, strings.Join(configs, ", "), filepath.Join(dir, configs[0]))
	}
	return found, nil
}

// folders lists the folders in a folder that are not hidden.
func folders(dir string) (names []string) {
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && isFolder(filepath.Join(dir, e.Name())) {
			names = append(names, e.Name())
		}
	}
	return names
}

// splitsOf finds the splits whose files or folders are directly in a folder. A folder goes before files.
func splitsOf(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, nil
	}
	byName := map[string][]string{} // files or folders of a split
	of := map[string]int{}          // number of its files, as their names say
	for _, e := range entries {
		stem, collection := imageio.Stem(e.Name())
		path := filepath.Join(dir, e.Name())
		if isFolder(path) {
			byName[e.Name()] = []string{path}
		} else if m := shard.FindStringSubmatch(stem); collection && m != nil && !isFolder(filepath.Join(dir, m[1])) {
			byName[m[1]] = append(byName[m[1]], path)
			of[m[1]], _ = strconv.Atoi(m[2])
		}
	}
	splits := map[string]string{}
	for part, names := range parts {
		at := slices.IndexFunc(names, func(n string) bool { return len(byName[n]) > 0 })
		if at < 0 {
			continue
		}
		name := names[at]
		paths, n := byName[name], of[name]
		if n > 0 && len(paths) != n {
			return nil, fmt.Errorf("%s: the split %s has %d of its %d files; download the others", dir, name, len(paths), n)
		}
		if at > 0 {
			slog.Info("there is no test split; another one stands in", "data_set", dir, "split", name)
		}
		splits[part] = paths[0]
		if len(paths) > 1 {
			splits[part] = files.Join(files.Quote(dir), name+"-*-of-*"+filepath.Ext(paths[0]))
		}
	}
	return splits, nil
}

// Paths returns the files or folders of a split's path, which may be a glob and end with a slice; see [Load].
func Paths(ctx context.Context, path string) ([]string, error) {
	path, _, _ = cutSlice(path)
	if found, err := files.Exists(ctx, path); found || err != nil || !strings.Contains(path, "*") {
		return []string{path}, err
	}
	return files.List(ctx, path)
}
