// Package metrics computes metrics of class predictions and of clusters, and their uncertainty.
package metrics

// Accuracy returns the top-1 accuracy: the fraction of correct predictions, 0 if there are none. pred and labels have
// the same length.
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

// MeanPerClass returns the accuracy per class, averaged over the classes. Labels are in [0, classes); classes without
// images do not count.
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
