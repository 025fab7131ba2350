package evaluate

import (
	"fmt"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/transforms/knn"
)

// KNN is the usual vote of 20 neighbors, by which the router chooses, too.
const KNN = route.KNN

var (
	knn20  = neighbors(KNN, 20)
	knn200 = neighbors("knn200", 200)
)

// neighbors is a weighted vote of the k nearest training images.
func neighbors(name string, k int) Protocol {
	cfg := knn.Default
	cfg.K = k
	summary := fmt.Sprintf("weighted vote of the %d nearest training images (temperature %v)", k, cfg.Temperature)
	return classifier(name, route.KNN, summary, func(s beam.Scope, sets beam.PCollection) beam.PCollection {
		return knn.ClassifySets(s, sets, cfg)
	})
}
