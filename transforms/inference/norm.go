package inference

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// Estimate returns BatchNorm statistics of a model on images: for a net that has none yet, or to adapt a net to other
// images than it was trained on (AdaBN, arXiv 1603.04779). They are the averages of the batch statistics of n images, in
// batches of at most 256, fewer for images above 64 px. at returns image i, [Input.Size, Input.Size, 3] bytes; i may exceed n in the last batch, since all
// batches are full. The caller has the thread pool from compute.Run.
func Estimate(pool *kernels.Pool, m *Model, n int, at func(i int) []uint8) ([]float32, error) {
	all, err := EstimateEach(pool, []*Model{m}, n, at)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// EstimateEach returns the statistics of several models of the same backbone, heads and input. What consecutive models
// have in common, from the stem on, is computed once.
func EstimateEach(pool *kernels.Pool, models []*Model, n int, at func(i int) []uint8) (stats [][]float32, err error) {
	if err := sameShape(models); err != nil {
		return nil, err
	}
	m := models[0]
	batch := passImages(m.Input.Size)
	err = withExtractor(shape{m.Backbone, m.Heads, m.Input.Size, batch, pool}, func(x ssl.Extractor) error {
		unused := make([]float32, nn.NewLayout(m.Backbone, m.Heads).NumStats)
		observed := make([]nn.Statistics, len(models))
		for from := 0; from < n; from += batch {
			fill(x, m.Input, pool, from, batch, at)
			for i, m := range models {
				if err := x.Load(m.Params, unused); err != nil {
					return err
				}
				if err := x.Observe(&observed[i]); err != nil {
					return err
				}
			}
		}
		for i := range observed {
			stats = append(stats, observed[i].Average())
		}
		return nil
	})
	return stats, err
}
