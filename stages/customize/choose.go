package customize

import (
	"context"
	"math"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/metrics"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// choose scores the versions of a net by a leave-one-out vote on the task's training images and returns the index of
// the one to take: of those that were trained on the task the best, unless an untrained one is better by more than the
// standard error of their difference. Training helps more often than the noise of the scores shows on a small task.
func choose(ctx context.Context, versions []version, images *tasks.Images, start Start) (rows []Candidate, best int, err error) {
	if err := tasks.CheckMetric(start.Metric, images.Sets); err != nil {
		return nil, 0, err
	}
	answers := make([]answer, len(versions))
	for i, v := range versions {
		x, err := inference.Features(ctx, v.model, images.Len(), images.At)
		if err != nil {
			return nil, 0, err
		}
		if err := compute.Run(func(*kernels.Pool) (err error) {
			answers[i], err = ask(x, images, start.Metric)
			return err
		}); err != nil {
			return nil, 0, err
		}
		rows = append(rows, Candidate{
			Task: start.Task, Start: start.Start, Subnet: start.Subnet, Candidate: v.name, Images: v.images, Seconds: v.seconds,
			Score: answers[i].score(start.Metric, images.Labels),
			Error: answers[i].errorFrom(answers[0], images.Labels),
		})
	}
	best = pick(rows, func(a, b int) float64 { return answers[a].errorFrom(answers[b], images.Labels) })
	rows[best].Chosen = true
	return rows, best, nil
}

// answer is a leave-one-out vote: the predicted classes, or the scores if the metric is tasks.MeanAP.
type answer struct {
	predicted []int64
	ranked    *metrics.Ranked
}

// ask lets a version's features of the training images vote.
func ask(x *tensor.Dense, images *tasks.Images, metric string) (a answer, err error) {
	classes := len(images.Classes)
	if metric != tasks.MeanAP {
		a.predicted, err = nearest.LeaveOneOut(x, images.Labels, classes, nearest.Default)
		return a, err
	}
	sets := tasks.Members(images.Labels, images.Sets)
	scores, err := nearest.LeaveOneOutScores(x, sets, classes, nearest.Default)
	if err == nil {
		a.ranked = new(metrics.NewRanked(scores, sets, classes))
	}
	return a, err
}

// score returns the metric in percent.
func (a answer) score(metric string, labels []int64) float64 {
	if a.ranked != nil {
		return 100 * a.ranked.MeanAP()
	}
	return tasks.Percent(metric, a.predicted, labels)
}

// errorFrom returns the standard error of the difference of two scores.
func (a answer) errorFrom(b answer, labels []int64) float64 {
	if a.ranked != nil {
		return 100 * a.ranked.ErrorFrom(*b.ranked)
	}
	return 100 * pairedError(a.predicted, b.predicted, labels)
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
