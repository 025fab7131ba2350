package nearest

import (
	"fmt"
	"math"

	"gorgonia.org/tensor"
)

// Config configures kNN classification.
type Config struct {
	// K is the number of neighbors, at least 1. With fewer training images, all of them vote.
	K int
	// Temperature is the T in a vote's weight exp(similarity/T). With 0 every vote has the same weight: a majority vote.
	Temperature float64
}

// Default is the usual setting in the literature: 20 neighbors, temperature 0.07.
var Default = Config{K: 20, Temperature: 0.07}

// Validate returns an error if a field is out of range.
func (c Config) Validate() error {
	if c.K < 1 {
		return fmt.Errorf("nearest: K is %d, must be at least 1 (nearest.Default has %d)", c.K, Default.K)
	}
	if !(c.Temperature >= 0) || math.IsInf(c.Temperature, 1) {
		return fmt.Errorf("nearest: temperature is %v, must be finite and at least 0 (0 is majority vote)", c.Temperature)
	}
	return nil
}

// Classify predicts the class of every row of query from the labeled rows of train, by cosine similarity. train is
// [len(labels), dim] and query [queries, dim]; labels are in [0, classes). It returns one class per query row.
// Mismatched shapes, labels out of range and non-finite features are errors.
func Classify(train *tensor.Dense, labels []int64, classes int, query *tensor.Dense, cfg Config) ([]int64, error) {
	base, err := prepare("train", train, labels, classes, cfg)
	if err != nil {
		return nil, err
	}
	q, err := Normalize(query)
	if err != nil {
		return nil, fmt.Errorf("nearest: query: %w", err)
	}
	found, err := Search(base, q, cfg.K)
	if err != nil {
		return nil, err
	}
	return vote(found, labels, classes, cfg), nil
}

// LeaveOneOut predicts the class of every row of features from all other rows, as [Classify] would. features is
// [len(labels), dim], with at least two rows.
func LeaveOneOut(features *tensor.Dense, labels []int64, classes int, cfg Config) ([]int64, error) {
	x, err := prepare("features", features, labels, classes, cfg)
	if err != nil {
		return nil, err
	}
	if len(labels) < 2 {
		return nil, fmt.Errorf("nearest: leave-one-out needs at least 2 rows, got %d", len(labels))
	}
	found, err := SearchOthers(x, cfg.K)
	if err != nil {
		return nil, err
	}
	return vote(found, labels, classes, cfg), nil
}

// prepare validates labeled features and normalizes them.
func prepare(name string, x *tensor.Dense, labels []int64, classes int, cfg Config) (*tensor.Dense, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	unit, err := Normalize(x)
	if err != nil {
		return nil, fmt.Errorf("nearest: %s: %w", name, err)
	}
	if rows := x.Shape()[0]; rows != len(labels) {
		return nil, fmt.Errorf("nearest: %s has %d rows but %d labels, must be equally many", name, rows, len(labels))
	}
	for i, l := range labels {
		if l < 0 || l >= int64(classes) {
			return nil, fmt.Errorf("nearest: label of row %d of %s is %d, must be in [0, %d)", i, name, l, classes)
		}
	}
	return unit, nil
}

// vote returns the classes that the neighbors vote for.
func vote(n *Neighbours, labels []int64, classes int, cfg Config) []int64 {
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
				// Relative to the nearest one, so that the weights do not overflow at any temperature.
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
