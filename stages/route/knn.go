package route

import (
	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// KNN scores by the leave-one-out accuracy of a weighted nearest-neighbor vote.
const KNN = "knn"

func init() { RegisterScorer(KNN, leaveOneOut{}) }

type leaveOneOut struct{}

func (leaveOneOut) Summary() string { return "leave-one-out accuracy of a nearest-neighbor vote" }

func (leaveOneOut) Score(_ *kernels.Pool, s *labeled.Set, metric string) (score, stdErr float64, err error) {
	if metric == tasks.MeanAP {
		sets := tasks.Members(s.Labels, s.Sets)
		scores, err := nearest.LeaveOneOutScores(s.Features, sets, len(s.Classes), nearest.Default)
		if err != nil {
			return 0, 0, err
		}
		score, stdErr = ranked(scores, sets, len(s.Classes))
		return score, stdErr, nil
	}
	predicted, err := nearest.LeaveOneOut(s.Features, s.Labels, len(s.Classes), nearest.Default)
	if err != nil {
		return 0, 0, err
	}
	score, stdErr = accuracy(metric, predicted, s.Labels)
	return score, stdErr, nil
}
