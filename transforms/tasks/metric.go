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

	"github.com/dustin/go-humanize/english"
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
// that holds the splits train and test. A task without one keeps its metric.
func (t *Task) describe(ctx context.Context) error {
	base, _, _ := cutPath(t.Train)
	if files.IsLocal(base) {
		base = filepath.ToSlash(filepath.Clean(base))
	}
	if !strings.Contains(strings.ToLower(path.Base(base)), "train") {
		return nil // there are no splits
	}
	file := "task.yaml"
	stem, _ := imageio.Stem(base)
	if m := splitEnd.FindStringSubmatch(stem); m != nil {
		file = m[1] + ".yaml"
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
	if t.Metric, err = ParseMetric(d.Metric); err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	return nil
}

// ParseMetric returns the metric of a name.
func ParseMetric(name string) (metric string, err error) {
	if all := []string{Top1, MeanPerClass, MeanAP}; !slices.Contains(all, name) {
		return "", fmt.Errorf("metric %q: want %s", name, english.WordSeries(all, "or"))
	}
	return name, nil
}

// Percent returns a metric of predictions for labeled images, Top1 or MeanPerClass, in percent.
func Percent(metric string, predicted, labels []int64) float64 {
	if metric == MeanPerClass && len(labels) > 0 {
		return 100 * metrics.MeanPerClass(predicted, labels, int(slices.Max(labels))+1)
	}
	return 100 * metrics.Accuracy(predicted, labels)
}
