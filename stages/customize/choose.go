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
// the one to take: of those that were trained on the task the best, unless an untrained one is better by more than the
// standard error of their difference. Training helps more often than the noise of the scores shows on a small task.
func choose(ctx context.Context, versions []version, images *tasks.Images, start Start) (rows []Candidate, best int, err error) {
	predicted := make([][]int64, len(versions))
	for i, v := range versions {
		x, err := inference.Features(ctx, v.model, images.Len(), images.At)
		if err != nil {
			return nil, 0, err
		}
		if err := compute.Run(func(*kernels.Pool) (err error) {
			predicted[i], err = nearest.LeaveOneOut(x, images.Labels, len(images.Classes), nearest.Default)
			return err
		}); err != nil {
			return nil, 0, err
		}
		rows = append(rows, Candidate{
			Task: start.Task, Start: start.Start, Subnet: start.Subnet, Candidate: v.name, Images: v.images,
			Score: tasks.Percent(start.Metric, predicted[i], images.Labels),
			Error: 100 * pairedError(predicted[i], predicted[0], images.Labels),
		})
	}
	best = pick(rows, func(a, b int) float64 { return 100 * pairedError(predicted[a], predicted[b], images.Labels) })
	rows[best].Chosen = true
	return rows, best, nil
}

// pick returns the index of the version to take by the rule of choose; margin returns the standard error of the
// difference of two versions' scores.
func pick(rows []Candidate, margin func(a, b int) float64) (best int) {
	for i, r := range rows {
		if trained := r.Images > 0; trained && (rows[best].Images == 0 || r.Score > rows[best].Score) {
			best = i
		}
	}
	trained := best
	for i, r := range rows {
		if r.Images == 0 && r.Score > rows[trained].Score+margin(i, trained) && r.Score > rows[best].Score {
			best = i
		}
	}
	return best
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
