package route

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Nearest scores a leaf by the percentage of the images that are nearest to its subset, by the features of phase 0 that
// the subsets were made of. It scores no other nodes, and costs one net's features for any number of sub-nets. Labels make
// no difference.
const Nearest = "nearest"

func init() { RegisterRunScorer(Nearest, nearestSubset{}) }

type nearestSubset struct{}

func (nearestSubset) Summary() string { return "percentage of the images nearest to a leaf's subset" }

func (nearestSubset) ScoreRun(ctx context.Context, pairs []Pair, yield func(p Pair, score, stdErr float64) error) error {
	level := int64(0)
	for _, p := range pairs {
		if p.Candidate {
			level = max(level, p.Level)
		}
	}
	leaves := slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool { return !p.Candidate || p.Level != level })
	dir := Score{Model: pairs[0].Model}.Run()
	if level == 0 {
		return fmt.Errorf("%s has no sub-nets of subsets", dir)
	}
	found, n, err := countNearest(ctx, dir, pairs[0].Train, leaves)
	if err != nil {
		return err
	}
	for _, p := range leaves {
		share := float64(found[code(p.Subnet)]) / float64(n)
		if err := yield(p, 100*share, 100*math.Sqrt(share*(1-share)/float64(n))); err != nil {
			return err
		}
	}
	return nil
}

// countNearest counts of the labeled images at a path those that are nearest to each of some leaves of a run. n is the number
// of all.
func countNearest(ctx context.Context, dir, path string, leaves []Pair) (found map[string]int, n int, err error) {
	folder := &run.Folder{Dir: dir}
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return nil, 0, err
	}
	r, err := recipe.Parse(text)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	centroids, whitening, err := partition.ReadSubsets(ctx, folder.StageDir("partition"), r.Partition.Whiten)
	if err != nil {
		return nil, 0, err
	}
	centroids = slices.DeleteFunc(centroids, func(c kmeans.Centroid) bool {
		return !slices.ContainsFunc(leaves, func(p Pair) bool { return code(p.Subnet) == c.Code })
	})
	var rows []assignment
	phase0 := labeled.Net{Model: run.ModelPath(dir, train.Phase0)}
	err = labeled.Split(ctx, []labeled.Net{phase0}, path, nil, func(_ int, set *labeled.Set) error {
		column, err := record.FromDense(partition.Whitening.Column, set.Features)
		if err != nil {
			return err
		}
		b := record.With(record.Of(make([]image, len(set.Labels))), partition.Whitening.Column, column)
		if r.Partition.Whiten {
			if b, err = kmeans.WhitenBatch(b, whitening, partition.Whitening); err != nil {
				return err
			}
		}
		if b, err = kmeans.AssignBatch(b, record.Of(centroids), kmeans.AssignConfig{Column: partition.Whitening.Column}); err != nil {
			return err
		}
		rows, err = record.Rows[assignment](b)
		return err
	})
	found = map[string]int{}
	for _, row := range rows {
		found[row.Code]++
	}
	return found, len(rows), err
}

// image is a row of a task, whose features are added.
type image struct {
	Number int64 `arrow:"number"`
}

// assignment is the subset of an image.
type assignment struct {
	Code string `arrow:"code"`
}
