package evaluate

import (
	"math"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/probe"
)

// Linear is logistic regression with a few candidates for the strength of its penalty.
const Linear = route.Linear

var (
	linear   = classifier(Linear, route.Linear, "logistic regression; the best of 6 penalties on a held-out fifth, then all training images", probing(probe.Config{}))
	linear45 = classifier("linear45", route.Linear, "the same with 45 penalties, as SimCLR and ssl-transfer; slow", probing(probe.Config{C: strengths()}))
)

// probing fits a classifier to the training images and predicts with it.
func probing(cfg probe.Config) func(s beam.Scope, sets beam.PCollection) beam.PCollection {
	return func(s beam.Scope, sets beam.PCollection) beam.PCollection { return probe.ClassifySets(s, sets, cfg) }
}

// strengths returns the inverses of 45 penalties, logarithmically spaced from 1e-6 to 1e5 (SimCLR, arXiv 2002.05709,
// appendix B.8).
func strengths() (c []float64) {
	const n = 45
	for i := range n {
		c = append(c, math.Pow(10, 6-11*float64(i)/(n-1)))
	}
	return c
}
