// Package tasks finds and loads downstream tasks: labeled training and test images, as files NAME-train and NAME-test
// of any kind that package imageio reads, such as NAME-train.parquet, as folders NAME/train/CLASS/* and
// NAME/test/CLASS/*, or as folders NAME of files train-00000-of-00001.parquet and test-00000-of-00001.parquet, as data
// sets on the Hugging Face Hub are.
package tasks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Task is a labeled data set with a train and a test split.
type Task struct {
	// Name is the task's name.
	Name string
	// Train and Test are the files or folders of the two splits, or globs of files; see [Paths]. Test is empty if the task
	// is only for routing.
	Train, Test string
	// Metric is Top1, MeanPerClass or MeanAP: what a file task.yaml or NAME.yaml says, such as "metric: mean_per_class", or
	// else Top1.
	Metric string
}

// Faulty is a task that cannot be used.
type Faulty struct {
	// Name is the task's name, and Err says what is wrong.
	Name string
	Err  error
}

// wanted is what a folder of tasks has.
const wanted = "labeled collections NAME-train.* with NAME-test.*, such as .parquet, or NAME/train/CLASS/* with NAME/test/CLASS/*, or NAME/train-00000-of-00001.parquet with NAME/test-00000-of-00001.parquet"

// Find lists the tasks in a folder, sorted by name, and those that are there but lack a split, or have one twice.
// The folder may also be that of a single task. It is an error if there is no task at all.
func Find(ctx context.Context, dir string) (found []Task, faulty []Faulty, err error) {
	all, err := find(ctx, dir)
	if err != nil {
		return nil, nil, err
	}
	faulty = all.faulty
	for _, t := range all.tasks {
		if t.Test == "" {
			faulty = append(faulty, Faulty{t.Name, fmt.Errorf("there is %s but no %s; a task needs both", t.Train, testFor(t.Train))})
			continue
		}
		standIn(t)
		found = append(found, t)
	}
	if len(found) == 0 && len(faulty) == 0 {
		return nil, nil, fmt.Errorf("%s holds no tasks: want %s", dir, wanted)
	}
	all.tell(dir)
	return found, faulty, nil
}

// FindTraining lists the tasks whose training images are in a folder, laid out as for Find but without the need of
// a test split, or are the files and folders that a glob matches, see Open, or the rows of a Parquet file with the
// same name in a column task, which must follow each other.
func FindTraining(ctx context.Context, path string) (found []Task, faulty []Faulty, err error) {
	runs, err := tableOf(ctx, path, "task")
	switch {
	case err != nil:
		return nil, nil, err
	case len(runs) > 0:
		found, faulty = rowsOf(path, runs)
	case files.IsFolder(ctx, path):
		var all listing
		all, err = find(ctx, path)
		found, faulty = all.tasks, all.faulty
		all.tell(path)
	default:
		found, faulty, err = openAll(ctx, path)
	}
	if err == nil && len(found) == 0 && len(faulty) == 0 {
		err = fmt.Errorf("tasks %s: there are none; want a folder of labeled collections NAME-train.* or NAME/train/CLASS/*, or a glob of labeled collections", path)
	}
	return found, faulty, err
}

// tableOf returns which rows of a Parquet file belong to which task or split, or nothing if it is none or has no such column.
func tableOf(ctx context.Context, path, column string) ([]imageio.Run, error) {
	if !strings.HasSuffix(path, ".parquet") || files.IsFolder(ctx, path) {
		return nil, nil
	}
	if found, err := files.Exists(ctx, path); err != nil || !found { // a glob
		return nil, err
	}
	return imageio.Runs(ctx, path, column)
}

// oneSplit returns an error if a Parquet file says in a column split that it has the rows of several.
func oneSplit(ctx context.Context, path string) error {
	runs, _ := tableOf(ctx, path, "split") // whoever reads the images says what is wrong with the file
	splits := map[string]bool{}
	for _, r := range runs {
		splits[r.Value] = true
	}
	if train, test := splitAmong(splits, "train"), splitAmong(splits, "test"); train != "" && test != "" {
		return fmt.Errorf("%s: its column split has rows of %s and %s; write each split to a file of its own", path, train, test)
	}
	return nil
}

// rowsOf returns the tasks of a Parquet file.
func rowsOf(path string, runs []imageio.Run) (found []Task, faulty []Faulty) {
	begins := map[string][]int64{}
	for _, r := range runs {
		begins[r.Value] = append(begins[r.Value], r.Begin)
	}
	for _, r := range runs {
		at := begins[r.Value]
		switch {
		case at[0] < r.Begin:
			continue
		case len(at) > 1:
			faulty = append(faulty, Faulty{r.Value, fmt.Errorf("%s: its rows are in several places, such as %d and %d; sort the file by the column task", path, at[0], at[1])})
			continue
		case r.Value == "" || strings.ContainsAny(r.Value, `/\`) || strings.HasPrefix(r.Value, "."):
			faulty = append(faulty, Faulty{r.Value, fmt.Errorf("%s: the name of the task of row %d is %q; want one that can be the name of a folder", path, r.Begin, r.Value)})
			continue
		}
		found = append(found, Task{Name: r.Value, Train: fmt.Sprintf("%s[%d:%d:1]", path, r.Begin, r.End), Metric: Top1})
	}
	return found, faulty
}

// openAll opens what a glob matches.
func openAll(ctx context.Context, glob string) (found []Task, faulty []Faulty, err error) {
	list := filepath.Glob // also folders
	if !files.IsLocal(glob) {
		list = func(glob string) ([]string, error) { return files.List(ctx, glob) }
	}
	matches, err := list(glob)
	if err != nil {
		return nil, nil, fmt.Errorf("tasks %s: %w", glob, err)
	}
	seen := map[string]bool{}
	for _, path := range matches {
		t, err := Open(ctx, path)
		if err == nil && seen[t.Name] {
			err = fmt.Errorf("%s: there is another task %s; rename one", path, t.Name)
		}
		if err != nil {
			faulty = append(faulty, Faulty{path, err})
			continue
		}
		seen[t.Name] = true
		found = append(found, t)
	}
	return found, faulty, nil
}

// listing is what is in a folder of tasks.
type listing struct {
	tasks  []Task // whose Test may be empty
	faulty []Faulty
	passed []string // folders and collections of images that belong to no task
}

// tell logs what is passed over.
func (l listing) tell(dir string) {
	if len(l.passed) > 0 {
		slog.Info("some entries are passed over: a task is NAME-train.* with NAME-test.*, or a folder with train and test", "tasks", dir, "entries", strings.Join(l.passed, ", "))
	}
}

// find lists the tasks in a folder, or the folder itself if it is a task's.
func find(ctx context.Context, dir string) (l listing, err error) {
	for _, place := range []struct {
		dir    string
		splits func(ctx context.Context, dir string) (map[string]string, error)
	}{{dir, splitsOf}, {files.Join(dir, "data"), splitsOf}, {dir, cardSplits}} {
		splits, err := place.splits(ctx, place.dir)
		if err != nil {
			return l, err
		}
		if splits["train"] != "" && splits["test"] != "" {
			name, err := nameOf(dir)
			t := Task{Name: name, Train: splits["train"], Test: splits["test"], Metric: Top1}
			if err == nil {
				err = t.describe(ctx)
			}
			return listing{tasks: []Task{t}}, err
		}
	}
	entries, err := files.ReadDir(ctx, dir)
	if errors.Is(err, syscall.ENOTDIR) {
		return l, fmt.Errorf("%s is a file: want the folder of tasks that it is in, or that of a single task; a folder of tasks has %s", dir, wanted)
	}
	if err != nil {
		return l, fmt.Errorf("tasks %s: %w", dir, err)
	}
	byName := map[string]*Task{}
	bad := map[string]error{}
	for _, e := range entries {
		name, splits, err := splitsIn(ctx, dir, e)
		if err != nil {
			bad[name] = err
		}
		if len(splits) == 0 {
			if _, collection := imageio.Stem(e.Name); err == nil && !strings.HasPrefix(e.Name, ".") && (e.Folder || collection) {
				l.passed = append(l.passed, e.Name)
			}
			continue
		}
		if byName[name] == nil {
			byName[name] = &Task{Name: name, Metric: Top1}
		}
		t := byName[name]
		for part, to := range map[string]*string{"train": &t.Train, "test": &t.Test} {
			switch path := splits[part]; {
			case path != "" && *to != "":
				bad[name] = fmt.Errorf("it exists twice: %s and %s; rename one", *to, path)
			case path != "":
				*to = path
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		if bad[name] != nil {
			continue
		}
		if byName[name].Train == "" {
			l.passed = append(l.passed, path.Base(filepath.ToSlash(byName[name].Test)))
			continue
		}
		if err := byName[name].describe(ctx); err != nil {
			bad[name] = err
			continue
		}
		l.tasks = append(l.tasks, *byName[name])
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		l.faulty = append(l.faulty, Faulty{name, bad[name]})
	}
	return l, nil
}

// splitsIn finds the splits of a task in a directory entry: a file NAME-train or NAME-test of any kind, or NAME_train and
// NAME_test, or those in a folder NAME.
func splitsIn(ctx context.Context, dir string, entry files.Entry) (task string, splits map[string]string, err error) {
	path := files.Join(dir, entry.Name)
	if strings.HasPrefix(entry.Name, ".") {
		return "", nil, nil
	}
	if entry.Folder {
		splits, err = hubSplits(ctx, path)
		return entry.Name, splits, err
	}
	stem, _ := imageio.Stem(entry.Name)
	if m := splitEnd.FindStringSubmatch(stem); m != nil {
		return m[1], map[string]string{m[2]: path}, nil
	}
	return "", nil, nil
}

// splitEnd matches the name, without its suffix, of a file of a task's split, and trainEnd what follows the name of the task.
var (
	splitEnd = regexp.MustCompile(`^(.+)[-_](train|test)$`)
	trainEnd = regexp.MustCompile(`[-_]train$`)
)

// nameOf returns the name of a folder.
func nameOf(dir string) (string, error) {
	if !files.IsLocal(dir) {
		return path.Base(dir), nil
	}
	absolute, err := filepath.Abs(dir)
	return filepath.Base(absolute), err
}

var trainWord = regexp.MustCompile(`(?i)train`)

// testFor returns the expected path of the test split for that of the train split.
func testFor(train string) string {
	all := trainWord.FindAllStringIndex(train, -1)
	at := all[len(all)-1]
	return train[:at[0]] + "test" + train[at[1]:]
}

// Open returns the task whose training images are at a path: a file NAME-train of any kind, the folder of a task,
// or any labeled images. Its Test is empty. A folder with the splits of several tasks is an error.
func Open(ctx context.Context, path string) (Task, error) {
	name, err := nameOf(path)
	folder := files.IsFolder(ctx, path)
	if found := folder; err == nil && !found {
		if found, err = files.Exists(ctx, path); err == nil && !found {
			err = errors.New("no such file or folder")
		}
	}
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", path, err)
	}
	t := Task{Name: name, Train: path}
	if folder {
		if t.Train, err = trainingIn(ctx, path); err != nil {
			return Task{}, err
		}
	} else if err := oneSplit(ctx, path); err != nil {
		return Task{}, err
	} else if stem, _ := imageio.Stem(path); stem != "" {
		t.Name = cmp.Or(trainEnd.ReplaceAllString(stem, ""), t.Name)
	}
	if t.Name == "train" {
		above := filepath.Join(path, "..")
		if !files.IsLocal(path) {
			above = files.Dir(strings.TrimSuffix(path, "/"))
		}
		if t.Name, err = nameOf(above); err != nil {
			return Task{}, err
		}
	}
	t.Metric = Top1
	return t, t.describe(ctx)
}

// TestOf returns the path of the test split that belongs to a task from [Open], where [Find] would find it; empty if there
// is none.
func TestOf(ctx context.Context, t Task) (string, error) {
	clean := func(path string) string {
		if files.IsLocal(path) {
			return filepath.Clean(path)
		}
		return strings.TrimSuffix(path, "/")
	}
	train := clean(t.Train)
	if !trainWord.MatchString(path.Base(filepath.ToSlash(train))) {
		return "", nil
	}
	all, err := find(ctx, files.Dir(train))
	if err != nil {
		return "", err
	}
	for _, f := range all.tasks {
		if clean(f.Train) == train {
			standIn(f)
			return f.Test, nil
		}
	}
	return "", nil
}

// trainingIn returns the training split in a folder: its only one, or all of it if it has no splits.
func trainingIn(ctx context.Context, dir string) (string, error) {
	splits, err := hubSplits(ctx, dir)
	if err != nil || splits["train"] != "" {
		return splits["train"], err
	}
	all, err := find(ctx, dir)
	switch {
	case err != nil:
		return "", err
	case len(all.faulty) > 0:
		return "", fmt.Errorf("%s: task %s: %w", dir, all.faulty[0].Name, all.faulty[0].Err)
	case len(all.tasks) > 1:
		return "", fmt.Errorf("%s holds %d tasks; give one of them, such as %s", dir, len(all.tasks), all.tasks[0].Train)
	case len(all.tasks) == 1:
		return all.tasks[0].Train, nil
	}
	return dir, mixed(ctx, dir)
}
