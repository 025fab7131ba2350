package customize

import (
	"context"
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// choose scores the versions of a net by a leave-one-out vote on the task's training images and returns the index of
// the best. Another version than the first, the net as it was, must be better than that by more than the standard error
// of their difference.
func choose(ctx context.Context, versions []version, images *tasks.Images, start Start) (rows []Candidate, best int, err error) {
	var first []int64 // predictions of the net as it was
	for i, v := range versions {
		x, err := inference.Features(ctx, v.model, images.Len(), images.At)
		if err != nil {
			return nil, 0, err
		}
		var predicted []int64
		if err := compute.Run(func(*kernels.Pool) (err error) {
			predicted, err = nearest.LeaveOneOut(x, images.Labels, len(images.Classes), nearest.Default)
			return err
		}); err != nil {
			return nil, 0, err
		}
		if i == 0 {
			first = predicted
		}
		rows = append(rows, Candidate{
			Task: start.Task, Start: start.Start, Subnet: start.Subnet, Candidate: v.name, Images: v.images,
			Score: tasks.Percent(start.Metric, predicted, images.Labels), Error: 100 * pairedError(predicted, first, images.Labels),
		})
		if rows[i].Score > rows[best].Score && rows[i].Score > rows[0].Score+rows[i].Error {
			best = i
		}
	}
	rows[best].Chosen = true
	return rows, best, nil
}

// pairedError returns the standard error of the difference of two accuracies on the same images: only images that one
// classifier gets right and the other wrong contribute (McNemar).
func pairedError(a, b, labels []int64) float64 {
	differ := 0
	for i, l := range labels {
		if (a[i] == l) != (b[i] == l) {
			differ++
		}
	}
	return math.Sqrt(float64(differ)) / float64(len(labels))
}
