package nearest

import (
	"fmt"
	"math"
	"slices"

	"gorgonia.org/tensor"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// Episodes configures few-shot classification: how many small problems are drawn, and how large each is.
type Episodes struct {
	// Ways is the number of classes of an episode, all of them if there are fewer.
	Ways int
	// Shots is the number of training images of each class, and Queries that of the images of each class to classify, all of
	// them if there are fewer.
	Shots, Queries int
	// Episodes is the number of episodes, and Seed determines which are drawn.
	Episodes int
	Seed     uint64
}

// DefaultEpisodes is the usual setting in the literature: 600 episodes of 5 classes with 15 queries each.
var DefaultEpisodes = Episodes{Ways: 5, Shots: 1, Queries: 15, Episodes: 600}

// FewShot returns the accuracies of episodes. In each, a query belongs to the class whose mean of the shots is nearest, by
// Euclidean distance, as in prototypical networks (arXiv 1703.05175). The shots are rows of train [len(labels), dim], and
// the queries rows of query [len(truth), dim]. Classes with fewer rows in train than shots, or none in query, are left out;
// it is an error if fewer than two are left.
func FewShot(train *tensor.Dense, labels []int64, query *tensor.Dense, truth []int64, cfg Episodes) ([]float64, error) {
	if cfg.Ways < 2 || cfg.Shots < 1 || cfg.Queries < 1 || cfg.Episodes < 1 {
		return nil, fmt.Errorf("nearest: %+v: want at least 2 ways, and 1 of all else", cfg)
	}
	e, err := dense.Of(train)
	if err != nil {
		return nil, fmt.Errorf("nearest: train: %w", err)
	}
	var rows [2]matrix
	var byClass [2]map[int64][]int
	for i, t := range []struct {
		name   string
		x      *tensor.Dense
		labels []int64
	}{{"train", train, labels}, {"query", query, truth}} {
		data, n, dim, err := dense.Rows(t.x)
		if err != nil {
			return nil, fmt.Errorf("nearest: %s: %w", t.name, err)
		}
		if n != len(t.labels) {
			return nil, fmt.Errorf("nearest: %s has %d rows but %d labels, must be equally many", t.name, n, len(t.labels))
		}
		rows[i], byClass[i] = matrix{data, dim}, map[int64][]int{}
		for row, l := range t.labels {
			byClass[i][l] = append(byClass[i][l], row)
		}
	}
	if rows[0].dim != rows[1].dim {
		return nil, fmt.Errorf("nearest: train has vectors of %d values and query of %d, must be equally many", rows[0].dim, rows[1].dim)
	}
	var classes []int64
	for l, all := range byClass[0] {
		if len(all) >= cfg.Shots && len(byClass[1][l]) > 0 {
			classes = append(classes, l)
		}
	}
	if len(classes) < 2 {
		return nil, fmt.Errorf("nearest: %d classes have %d training images and an image to classify; episodes need at least 2", len(classes), cfg.Shots)
	}
	slices.Sort(classes)
	accuracies := make([]float64, cfg.Episodes)
	e.Pool().For(cfg.Episodes, func(_, episode int) {
		random := rng.New(cfg.Seed, rng.Sample, uint64(episode))
		draw := func(from []int, n int) (some []int) {
			for _, at := range random.Perm(len(from))[:min(n, len(from))] {
				some = append(some, from[at])
			}
			return some
		}
		var shots, queries [][]int
		for _, at := range random.Perm(len(classes))[:min(cfg.Ways, len(classes))] {
			shots = append(shots, draw(byClass[0][classes[at]], cfg.Shots))
			queries = append(queries, draw(byClass[1][classes[at]], cfg.Queries))
		}
		accuracies[episode] = byMeans(rows[0], rows[1], shots, queries)
	})
	return accuracies, nil
}

// matrix is rows of dim values.
type matrix struct {
	data []float32
	dim  int
}

func (m matrix) row(i int) []float32 { return m.data[i*m.dim:][:m.dim] }

// byMeans returns the accuracy of classifying queries by the nearest of the means of shots; both are lists of rows by class.
func byMeans(train, query matrix, shots, queries [][]int) float64 {
	means := make([][]float64, len(shots))
	for class, rows := range shots {
		means[class] = make([]float64, train.dim)
		for _, row := range rows {
			for j, v := range train.row(row) {
				means[class][j] += float64(v) / float64(len(rows))
			}
		}
	}
	right, all := 0, 0
	for class, rows := range queries {
		for _, row := range rows {
			best, least := 0, math.Inf(1)
			for k, mean := range means {
				var distance float64
				for j, v := range query.row(row) {
					distance += (float64(v) - mean[j]) * (float64(v) - mean[j])
				}
				if distance < least {
					best, least = k, distance
				}
			}
			all++
			if best == class {
				right++
			}
		}
	}
	return float64(right) / float64(all)
}
