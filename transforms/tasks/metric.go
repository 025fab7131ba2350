package tasks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// Metrics of a task.
const (
	// Top1 is top-1 accuracy: the fraction of images that are classified correctly.
	Top1 = "top1"
	// MeanPerClass is the accuracy per class, averaged over the classes.
	MeanPerClass = "mean_per_class"
	// MeanAP is the average precision per class with 11 points, averaged over the classes, see [metrics.Ranked]: that of tasks
	// whose images may have several classes.
	MeanAP = "map11"
)

// description is the content of a file that describes a task.
type description struct {
	Metric string `yaml:"metric"`
}

// describe gives a task the metric that its description states: NAME.yaml next to NAME-train.*, or task.yaml in the folder
// that holds the splits train and test. A task without one keeps its metric, the usual one of a data set of its name.
func (t *Task) describe(ctx context.Context) error {
	base, _, _ := cutPath(t.Train)
	if files.IsLocal(base) {
		base = filepath.ToSlash(filepath.Clean(base))
	}
	if !strings.Contains(strings.ToLower(path.Base(base)), "train") {
		return nil // there are no splits
	}
	file := "task.yaml"
	if stem, _ := imageio.Stem(base); strings.HasSuffix(stem, "-train") && stem != "-train" {
		file = strings.TrimSuffix(stem, "-train") + ".yaml"
	}
	at := files.Join(files.Dir(strings.TrimSuffix(base, "/")), file)
	text, err := files.Read(ctx, at)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var d description
	if err == nil {
		err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).DecodeContext(ctx, &d)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	if d.Metric != Top1 && d.Metric != MeanPerClass && d.Metric != MeanAP {
		return fmt.Errorf("%s: metric %q: want %s, %s or %s", at, d.Metric, Top1, MeanPerClass, MeanAP)
	}
	t.Metric = d.Metric
	return nil
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

// Percent returns a metric of predictions for labeled images, Top1 or MeanPerClass, in percent.
func Percent(metric string, predicted, labels []int64) float64 {
	if metric == MeanPerClass && len(labels) > 0 {
		return 100 * metrics.MeanPerClass(predicted, labels, int(slices.Max(labels))+1)
	}
	return 100 * metrics.Accuracy(predicted, labels)
}
