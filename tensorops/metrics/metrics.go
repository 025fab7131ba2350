// Package metrics measures predictions of classes.
package metrics

// Accuracy is the fraction of predictions that are right (top-1). It is 0 if there are none; pred and labels are
// equally long.
func Accuracy(pred, labels []int64) float64 {
	if len(labels) == 0 {
		return 0
	}
	right := 0
	for i, p := range pred {
		if p == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(labels))
}

// MeanPerClass is the mean over classes of the accuracy on a class's images. Labels are in [0, classes); classes
// without an image do not count.
func MeanPerClass(pred, labels []int64, classes int) float64 {
	right, images := make([]float64, classes), make([]float64, classes)
	for i, p := range pred {
		images[labels[i]]++
		if p == labels[i] {
			right[p]++
		}
	}
	sum, present := 0.0, 0.0
	for c, n := range images {
		if n > 0 {
			sum += right[c] / n
			present++
		}
	}
	if present == 0 {
		return 0
	}
	return sum / present
}
