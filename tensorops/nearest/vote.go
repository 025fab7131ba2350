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
	l := labeled{len(labels), func(i int) []int64 { return labels[i : i+1] }, classes}
	found, err := l.search(train, query, cfg)
	if err != nil {
		return nil, err
	}
	return l.winners(found, cfg), nil
}

// LeaveOneOut predicts the class of every row of features from all other rows, as [Classify] would. features is
// [len(labels), dim], with at least two rows.
func LeaveOneOut(features *tensor.Dense, labels []int64, classes int, cfg Config) ([]int64, error) {
	l := labeled{len(labels), func(i int) []int64 { return labels[i : i+1] }, classes}
	found, err := l.searchOthers(features, cfg)
	if err != nil {
		return nil, err
	}
	return l.winners(found, cfg), nil
}

// Scores is [Classify] for rows that may have several classes, sets, each of which gets a row's vote. It returns the shares
// of the votes, [queries, classes].
func Scores(train *tensor.Dense, sets [][]int64, classes int, query *tensor.Dense, cfg Config) ([]float32, error) {
	l := labeled{len(sets), func(i int) []int64 { return sets[i] }, classes}
	found, err := l.search(train, query, cfg)
	if err != nil {
		return nil, err
	}
	return l.shares(found, cfg), nil
}

// LeaveOneOutScores returns the [Scores] of every row of features from all other rows.
func LeaveOneOutScores(features *tensor.Dense, sets [][]int64, classes int, cfg Config) ([]float32, error) {
	l := labeled{len(sets), func(i int) []int64 { return sets[i] }, classes}
	found, err := l.searchOthers(features, cfg)
	if err != nil {
		return nil, err
	}
	return l.shares(found, cfg), nil
}

// labeled says which classes rows have.
type labeled struct {
	rows    int
	of      func(row int) []int64
	classes int
}

// search finds the neighbors of the rows of query.
func (l labeled) search(train, query *tensor.Dense, cfg Config) (*Neighbours, error) {
	base, err := l.prepare("train", train, cfg)
	if err != nil {
		return nil, err
	}
	q, err := Normalize(query)
	if err != nil {
		return nil, fmt.Errorf("nearest: query: %w", err)
	}
	return Search(base, q, cfg.K)
}

// searchOthers finds the neighbors of each row among the others.
func (l labeled) searchOthers(features *tensor.Dense, cfg Config) (*Neighbours, error) {
	x, err := l.prepare("features", features, cfg)
	if err != nil {
		return nil, err
	}
	if l.rows < 2 {
		return nil, fmt.Errorf("nearest: leave-one-out needs at least 2 rows, got %d", l.rows)
	}
	return SearchOthers(x, cfg.K)
}

// prepare validates labeled features and normalizes them.
func (l labeled) prepare(name string, x *tensor.Dense, cfg Config) (*tensor.Dense, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	unit, err := Normalize(x)
	if err != nil {
		return nil, fmt.Errorf("nearest: %s: %w", name, err)
	}
	if rows := x.Shape()[0]; rows != l.rows {
		return nil, fmt.Errorf("nearest: %s has %d rows but %d labels, must be equally many", name, rows, l.rows)
	}
	for i := range l.rows {
		for _, c := range l.of(i) {
			if c < 0 || c >= int64(l.classes) {
				return nil, fmt.Errorf("nearest: label of row %d of %s is %d, must be in [0, %d)", i, name, c, l.classes)
			}
		}
	}
	return unit, nil
}

// vote calls yield with the votes of each query's neighbors for the classes, and the sum of their weights.
func (l labeled) vote(n *Neighbours, cfg Config, yield func(query int, votes []float64, total float64)) {
	votes := make([]float64, l.classes)
	for q := range len(n.Index) / n.K {
		clear(votes)
		total := 0.
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
			for _, c := range l.of(int(i)) {
				votes[c] += weight
			}
			total += weight
		}
		yield(q, votes, total)
	}
}

// winners returns the classes with the most votes, the lowest on ties.
func (l labeled) winners(n *Neighbours, cfg Config) []int64 {
	pred := make([]int64, len(n.Index)/n.K)
	l.vote(n, cfg, func(q int, votes []float64, _ float64) {
		best := 0
		for c, v := range votes {
			if v > votes[best] {
				best = c
			}
		}
		pred[q] = int64(best)
	})
	return pred
}

// shares returns the classes' shares of the votes.
func (l labeled) shares(n *Neighbours, cfg Config) (scores []float32) {
	l.vote(n, cfg, func(_ int, votes []float64, total float64) {
		for _, v := range votes {
			scores = append(scores, float32(v/total))
		}
	})
	return scores
}
