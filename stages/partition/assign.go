package partition

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Methods of dividing the images into subsets.
const (
	// KMeans clusters the features, level by level.
	KMeans = "kmeans"
	// Residual and Product cluster all images at each level: what the levels above leave over, or a part of the features'
	// dimensions. So a choice means the same below every other one, as the filters that it selects are the same.
	Residual = "residual"
	Product  = "product"
	// Random draws subsets of about equal size: a baseline that has everything but the clusters.
	Random = "random"
	// Source makes one subset of each of the files and folders that the images come from.
	Source = "source"
)

// Methods lists the methods.
var Methods = []string{KMeans, Residual, Product, Random, Source}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[randomFn]())
	beam.RegisterDoFn(reflect.TypeFor[sourceFn]())
}

// assign gives every image a code: batches with the columns of assignment.
func assign(s beam.Scope, features beam.PCollection, cfg Config) beam.PCollection {
	switch cfg.Method {
	case Random:
		return beam.ParDo(s, &randomFn{Branching: cfg.Branching, Seed: cfg.Seed}, features)
	case Source:
		return beam.ParDo(s, &sourceFn{Shards: cfg.Shards, Branching: cfg.Branching, Sources: cfg.Sources}, features)
	}
	k := kmeans.Config{
		Column: Whitening.Column, Branching: cfg.Branching, Iterations: cfg.Iterations,
		Balance: cfg.Balance, Seed: cfg.Seed, Local: cfg.Local, Gather: cfg.Gather,
	}
	if cfg.Whiten {
		basis := kmeans.FitWhiten(s, features, Whitening)
		arrowio.WriteDir(s, WhiteningDir(cfg.Dir), basis)
		features = kmeans.ApplyWhiten(s, features, basis, Whitening)
	}
	if cfg.Method == Residual || cfg.Method == Product {
		return aligned(s, features, k, cfg.Method)
	}
	assigned, centroids := kmeans.Cluster(s, features, k)
	arrowio.WriteDir(s, CentroidsDir(cfg.Dir), centroids)
	return assigned
}

// Whitening configures how the features are whitened; directions that vary less than Floor says are noise.
var Whitening = kmeans.WhitenConfig{Column: "feature", Floor: .01, Normalize: true}

// CentroidsDir and WhiteningDir are the folders, in the stage's, of the centroids and of what kmeans.FitWhiten found.
func CentroidsDir(stage string) string { return files.Join(stage, "centroids") }
func WhiteningDir(stage string) string { return files.Join(stage, "whitening") }

// ReadSubsets reads the centroids of all levels, sorted by code, that the stage left in its folder and, if whiten is set,
// what kmeans.FitWhiten found. A run without them is an error.
func ReadSubsets(ctx context.Context, stage string, whiten bool) (centroids []kmeans.Centroid, whitening *record.Batch, err error) {
	read := func(dir string, yield func(*record.Batch) error) error {
		found, err := files.List(ctx, files.Join(files.Quote(dir), "*.arrow"))
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("%s is empty or not there: it was removed, or the run is of an older version of sdr or has no subsets by k-means", dir)
		}
		for _, path := range found {
			err = cmp.Or(err, arrowio.Each(ctx, path, yield))
		}
		return err
	}
	err = read(CentroidsDir(stage), func(b *record.Batch) error {
		rows, err := record.Rows[kmeans.Centroid](b)
		centroids = append(centroids, rows...)
		return err
	})
	if err == nil && whiten {
		err = read(WhiteningDir(stage), func(b *record.Batch) error {
			whitening = b
			return nil
		})
	}
	slices.SortFunc(centroids, func(a, b kmeans.Centroid) int { return sdrnet.Compare(a.Code, b.Code) })
	return centroids, whitening, err
}

// place is the part of the features' rows that says which image it is.
type place struct {
	Shard string `arrow:"shard"`
	Row   int64  `arrow:"row"`
}

// randomFn draws the subset of each image.
type randomFn struct {
	Branching []int
	Seed      uint64
}

func (fn *randomFn) ProcessElement(b *record.Batch) (*record.Batch, error) {
	places, err := record.Rows[place](b)
	if err != nil {
		return nil, err
	}
	random := rng.NewGenerator()
	rows := make([]assignment, len(places))
	for i, p := range places {
		random.Seek(fn.Seed, rng.Subset, rng.Name(p.Shard), uint64(p.Row))
		rows[i] = assignment{p.Shard, p.Row, kmeans.Code(random.IntN(kmeans.Leaves(fn.Branching)), fn.Branching)}
	}
	return record.Of(rows), nil
}

// sourceFn looks up in the shards where each image comes from.
type sourceFn struct {
	Shards    string
	Branching []int
	Sources   []string
}

func (fn *sourceFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	if n := kmeans.Leaves(fn.Branching); n != len(fn.Sources) {
		return nil, fmt.Errorf("partition: method %s: the images come from %d files and folders, but paths makes %d subsets; make these equal", Source, len(fn.Sources), n)
	}
	places, err := record.Rows[place](b)
	if err != nil {
		return nil, err
	}
	sources := map[string][]string{} // of the images of each shard
	rows := make([]assignment, len(places))
	for i, p := range places {
		if sources[p.Shard] == nil {
			found, err := shards.ReadSources(ctx, files.Join(fn.Shards, p.Shard))
			if err != nil {
				return nil, fmt.Errorf("partition: shard %s: %w", p.Shard, err)
			}
			for _, f := range found {
				sources[p.Shard] = append(sources[p.Shard], f.Source)
			}
		}
		subset, err := fn.subset(sources[p.Shard][p.Row])
		if err != nil {
			return nil, err
		}
		rows[i] = assignment{p.Shard, p.Row, kmeans.Code(subset, fn.Branching)}
	}
	return record.Of(rows), nil
}

// subset returns the index of the longest of fn.Sources that an image's source begins with.
func (fn *sourceFn) subset(source string) (int, error) {
	best := -1
	for i, s := range fn.Sources {
		if strings.HasPrefix(source, s) && (best < 0 || len(s) > len(fn.Sources[best])) {
			best = i
		}
	}
	if best < 0 {
		return 0, fmt.Errorf("partition: %s is from none of %v", source, fn.Sources)
	}
	return best, nil
}
