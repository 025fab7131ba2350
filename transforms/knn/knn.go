// Package knn is exact nearest-neighbour search and classification over dense features: plain functions on row-major
// matrices ([Search], [Classify], [LeaveOneOut]) and a Beam transform ([Score]) that scores many sets of labelled
// features at once, for example the features of one task under many candidate models.
//
// Classification is the weighted vote of Wu et al. 2018 (arXiv 1805.01978) that DINO and most self-supervised work
// reports: the K training images with the highest cosine similarity vote for their class with weight
// exp(similarity/Temperature).
//
// Results are the same from run to run and for any number of threads: of equal similarities the lower index is the
// nearer neighbour, and of equal votes the lower class wins.
package knn

import (
	"fmt"
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Config says how neighbours vote.
type Config struct {
	// K is the number of neighbours, at least 1. Where there are fewer training images, all of them vote.
	K int
	// Temperature divides the cosine similarity in a vote's weight exp(similarity/Temperature). With 0 every
	// neighbour has the same weight, which is plain majority vote.
	Temperature float64
}

// Default is the setting of the literature: 20 neighbours at temperature 0.07.
var Default = Config{K: 20, Temperature: 0.07}

// Validate returns an error if a field is out of range.
func (c Config) Validate() error {
	if c.K < 1 {
		return fmt.Errorf("knn: K is %d, must be at least 1 (knn.Default has %d)", c.K, Default.K)
	}
	if !(c.Temperature >= 0) || math.IsInf(c.Temperature, 1) {
		return fmt.Errorf("knn: temperature is %v, must be finite and at least 0 (0 is majority vote)", c.Temperature)
	}
	return nil
}

// Classify predicts the class of every row of query from the labelled rows of train, by cosine similarity. train is
// [len(labels), dim] and query [queries, dim], both row-major and of any length; labels are in [0, classes). It returns
// one class a query row. Shapes that do not fit, labels out of range and features that are not finite are errors.
func Classify(train []float32, dim int, labels []int64, classes int, query []float32, cfg Config, pool *kernels.Pool) ([]int64, error) {
	base, err := prepare("train", train, dim, labels, classes, cfg)
	if err != nil {
		return nil, err
	}
	q, err := normalized("query", query, dim)
	if err != nil {
		return nil, err
	}
	return vote(Search(base, dim, q, cfg.K, pool), labels, classes, cfg), nil
}

// LeaveOneOut predicts the class of every row of features from all the other rows, as [Classify] would. features is
// [len(labels), dim] row-major; it takes at least two rows.
func LeaveOneOut(features []float32, dim int, labels []int64, classes int, cfg Config, pool *kernels.Pool) ([]int64, error) {
	x, err := prepare("features", features, dim, labels, classes, cfg)
	if err != nil {
		return nil, err
	}
	if len(labels) < 2 {
		return nil, fmt.Errorf("knn: leave-one-out needs at least 2 rows, got %d", len(labels))
	}
	return vote(SearchOthers(x, dim, cfg.K, pool), labels, classes, cfg), nil
}

// prepare checks labelled features and normalises them.
func prepare(name string, x []float32, dim int, labels []int64, classes int, cfg Config) ([]float32, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	unit, err := normalized(name, x, dim)
	if err != nil {
		return nil, err
	}
	if len(labels) == 0 || len(x) != len(labels)*dim {
		return nil, fmt.Errorf("knn: %s has %d rows of %d values for %d labels, must be as many and not none", name, len(x)/dim, dim, len(labels))
	}
	for i, l := range labels {
		if l < 0 || l >= int64(classes) {
			return nil, fmt.Errorf("knn: label of row %d of %s is %d, must be in [0, %d)", i, name, l, classes)
		}
	}
	return unit, nil
}

// vote turns neighbours into classes.
func vote(n Neighbours, labels []int64, classes int, cfg Config) []int64 {
	pred := make([]int64, len(n.Index)/n.K)
	votes := make([]float64, classes)
	for q := range pred {
		clear(votes)
		sims := n.Similarity[q*n.K:][:n.K]
		for r, i := range n.Index[q*n.K:][:n.K] {
			if i < 0 {
				break
			}
			weight := 1.0
			if cfg.Temperature > 0 {
				// Relative to the nearest one, so that no temperature makes the weights overflow.
				weight = math.Exp((float64(sims[r]) - float64(sims[0])) / cfg.Temperature)
			}
			votes[labels[i]] += weight
		}
		best := 0
		for c, v := range votes {
			if v > votes[best] {
				best = c
			}
		}
		pred[q] = int64(best)
	}
	return pred
}
