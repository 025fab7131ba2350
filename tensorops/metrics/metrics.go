// Package metrics computes metrics of class predictions and of clusters, and their uncertainty.
package metrics

import (
	"math"
	"slices"
)

// Top returns the index of the highest score in each row, on ties the first. The scores are [rows, classes].
func Top(scores []float32, classes int) []int64 {
	top := make([]int64, 0, len(scores)/classes)
	for row := range slices.Chunk(scores, classes) {
		best := 0
		for k, p := range row {
			if p > row[best] {
				best = k
			}
		}
		top = append(top, int64(best))
	}
	return top
}

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
	right, images := perClass(pred, labels, classes)
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

// AccuracyError returns the standard error of Accuracy as an estimate for other images.
func AccuracyError(pred, labels []int64) float64 {
	if len(labels) == 0 {
		return 0
	}
	p := Accuracy(pred, labels)
	return math.Sqrt(p * (1 - p) / float64(len(labels)))
}

// MeanPerClassError returns the standard error of MeanPerClass as an estimate for other images of the same classes.
func MeanPerClassError(pred, labels []int64, classes int) float64 {
	right, images := perClass(pred, labels, classes)
	variance, present := 0.0, 0.0
	for c, n := range images {
		if n > 0 {
			p := right[c] / n
			variance += p * (1 - p) / n
			present++
		}
	}
	if present == 0 {
		return 0
	}
	return math.Sqrt(variance) / present
}

// perClass counts, for each class, the images and those predicted correctly.
func perClass(pred, labels []int64, classes int) (right, images []float64) {
	right, images = make([]float64, classes), make([]float64, classes)
	for i, p := range pred {
		images[labels[i]]++
		if p == labels[i] {
			right[p]++
		}
	}
	return right, images
}
