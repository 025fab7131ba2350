// Package tasks finds and loads downstream tasks: labelled training and test
// images, as NAME-train.parquet and NAME-test.parquet or as NAME/train/CLASS/*
// and NAME/test/CLASS/*.
package tasks

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Metrics of a task.
const (
	// Top1 is the share of the images that are classified correctly.
	Top1 = "top1"
	// MeanPerClass is that share within a class, averaged over the classes.
	MeanPerClass = "mean_per_class"
)

// Task is a labelled data set.
type Task struct {
	// Name is the task's name.
	Name string
	// Train and Test are the files or folders of the two splits; Test is empty
	// where only routing is asked for.
	Train, Test string
	// Metric is Top1 or MeanPerClass.
	Metric string
}

// meanPerClass begin the names of data sets that the literature scores by mean
// per-class accuracy (SimCLR, arXiv 2002.05709, appendix B.8).
var meanPerClass = []string{"aircraft", "caltech101", "cats_dogs", "flowers", "pets"}

// MetricOf returns the usual metric of a data set, by a word in its name.
func MetricOf(name string) string {
	name = strings.ToLower(name)
	for i := range len(name) {
		if i > 0 && (unicode.IsLetter(rune(name[i-1])) || unicode.IsDigit(rune(name[i-1]))) {
			continue // within a word
		}
		if slices.ContainsFunc(meanPerClass, func(m string) bool { return strings.HasPrefix(name[i:], m) }) {
			return MeanPerClass
		}
	}
	return Top1
}

const (
	trainSuffix = "-train.parquet"
	testSuffix  = "-test.parquet"
)

// Find lists the tasks in a local folder, by name.
func Find(dir string) ([]Task, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("tasks %s: %w", dir, err)
	}
	var found []Task
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		path := filepath.Join(dir, e.Name())
		name, isTrain := strings.CutSuffix(e.Name(), trainSuffix)
		t := Task{Name: name, Train: path, Test: filepath.Join(dir, name+testSuffix)}
		if isFolder(path) {
			t = Task{Name: e.Name(), Train: filepath.Join(path, "train"), Test: filepath.Join(path, "test")}
			isTrain = isFolder(t.Train)
		}
		if !isTrain {
			continue
		}
		if _, err := os.Stat(t.Test); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("task %s: there is %s but no %s; a task needs both", t.Name, t.Train, t.Test)
		} else if err != nil {
			return nil, fmt.Errorf("task %s: %w", t.Name, err)
		}
		if at := slices.IndexFunc(found, func(f Task) bool { return f.Name == t.Name }); at >= 0 {
			return nil, fmt.Errorf("task %s is there twice: %s and %s; rename one", t.Name, found[at].Train, t.Train)
		}
		t.Metric = MetricOf(t.Name)
		found = append(found, t)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s holds no task: want NAME-train.parquet with NAME-test.parquet, or NAME/train/CLASS/* with NAME/test/CLASS/*", dir)
	}
	slices.SortFunc(found, func(a, b Task) int { return cmp.Compare(a.Name, b.Name) })
	return found, nil
}

// Open describes one task whose training images are at a local path: a file
// NAME-train.parquet, a folder NAME with train/CLASS/*, or any labelled images.
func Open(path string) (Task, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(absolute)
	}
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", path, err)
	}
	t := Task{Name: filepath.Base(absolute), Train: path}
	switch train := filepath.Join(path, "train"); {
	case isFolder(train):
		t.Train = train
	case !isFolder(path):
		t.Name = strings.TrimSuffix(t.Name, ".gz")
		t.Name = strings.TrimSuffix(strings.TrimSuffix(t.Name, filepath.Ext(t.Name)), "-train")
	case t.Name == "train":
		t.Name = filepath.Base(filepath.Dir(absolute))
	}
	t.Metric = MetricOf(t.Name)
	return t, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
