// Package tasks finds and loads downstream tasks: labeled training and test images, as files NAME-train and NAME-test
// of any kind that package imageio reads, such as NAME-train.parquet, or as folders NAME/train/CLASS/* and
// NAME/test/CLASS/*.
package tasks

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Metrics of a task.
const (
	// Top1 is top-1 accuracy: the fraction of images that are classified correctly.
	Top1 = "top1"
	// MeanPerClass is the accuracy per class, averaged over the classes.
	MeanPerClass = "mean_per_class"
)

// Task is a labeled data set with a train and a test split.
type Task struct {
	// Name is the task's name.
	Name string
	// Train and Test are the files or folders of the two splits; Test is empty if the task is only for routing.
	Train, Test string
	// Metric is Top1 or MeanPerClass.
	Metric string
}

// meanPerClass lists prefixes of the names of data sets that the literature evaluates by mean per-class accuracy
// (SimCLR, arXiv 2002.05709, appendix B.8).
var meanPerClass = []string{"aircraft", "caltech101", "cats_dogs", "flowers", "pets"}

// MetricOf returns the usual metric of a data set, recognized by a word in its name.
func MetricOf(name string) string {
	name = strings.ToLower(name)
	for i := range len(name) {
		if i > 0 && (unicode.IsLetter(rune(name[i-1])) || unicode.IsDigit(rune(name[i-1]))) {
			continue // not at the start of a word
		}
		if slices.ContainsFunc(meanPerClass, func(m string) bool { return strings.HasPrefix(name[i:], m) }) {
			return MeanPerClass
		}
	}
	return Top1
}

// Percent returns a metric of predictions for labeled images, in percent.
func Percent(metric string, predicted, labels []int64) float64 {
	if metric == MeanPerClass && len(labels) > 0 {
		return 100 * metrics.MeanPerClass(predicted, labels, int(slices.Max(labels))+1)
	}
	return 100 * metrics.Accuracy(predicted, labels)
}

// Find lists the tasks in a local folder, sorted by name.
func Find(dir string) ([]Task, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("tasks %s: %w", dir, err)
	}
	train, test := map[string]string{}, map[string]string{} // paths by the task's name
	for _, e := range entries {
		for _, s := range splitsIn(dir, e.Name()) {
			paths := train
			if s.part == "test" {
				paths = test
			}
			if paths[s.task] != "" {
				return nil, fmt.Errorf("task %s exists twice: %s and %s; rename one", s.task, paths[s.task], s.path)
			}
			paths[s.task] = s.path
		}
	}
	if len(train) == 0 {
		return nil, fmt.Errorf("%s holds no tasks: want labeled collections NAME-train.* with NAME-test.*, such as .parquet, or NAME/train/CLASS/* with NAME/test/CLASS/*", dir)
	}
	var found []Task
	for _, name := range slices.Sorted(maps.Keys(train)) {
		if test[name] == "" {
			return nil, fmt.Errorf("task %s: there is %s but no %s; a task needs both", name, train[name], testFor(train[name]))
		}
		found = append(found, Task{Name: name, Train: train[name], Test: test[name], Metric: MetricOf(name)})
	}
	return found, nil
}

// split is the path of the train or test split of a task.
type split struct{ task, part, path string }

// splitsIn finds the splits in a directory entry: a file NAME-train or NAME-test of any kind, or a folder NAME with
// folders train and test.
func splitsIn(dir, entry string) (found []split) {
	path := filepath.Join(dir, entry)
	stem, _ := imageio.Stem(entry)
	folder := isFolder(path) && !strings.HasPrefix(entry, ".")
	for _, part := range []string{"train", "test"} {
		if below := filepath.Join(path, part); folder && isFolder(below) {
			found = append(found, split{entry, part, below})
		}
		if task, ok := strings.CutSuffix(stem, "-"+part); ok && task != "" && !folder {
			found = append(found, split{task, part, path})
		}
	}
	return found
}

// testFor returns the expected path of the test split for that of the train split.
func testFor(train string) string {
	at := strings.LastIndex(train, "train")
	return train[:at] + "test" + train[at+len("train"):]
}

// Open returns the task whose training images are at a local path: a file NAME-train of any kind, a folder NAME with
// train/CLASS/*, or any labeled images. Its Test is empty.
func Open(path string) (Task, error) {
	absolute, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(absolute)
	}
	if err != nil {
		return Task{}, fmt.Errorf("task %s: %w", path, err)
	}
	t := Task{Name: filepath.Base(absolute), Train: path}
	if train := filepath.Join(path, "train"); isFolder(train) {
		t.Train = train
	} else if stem, _ := imageio.Stem(path); stem != "" && !isFolder(path) {
		t.Name = cmp.Or(strings.TrimSuffix(stem, "-train"), t.Name)
	}
	if t.Name == "train" {
		t.Name = filepath.Base(filepath.Dir(absolute))
	}
	t.Metric = MetricOf(t.Name)
	return t, nil
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
