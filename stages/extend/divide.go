package extend

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Subset is a new subset, made of images that are far from the old leaves.
type Subset struct {
	// Code is its code: that of Parent, the nearest leaf with a sub-net, but for the last choice.
	Code   string `arrow:"code"`
	Parent string `arrow:"parent"`
	// Images is the number of its images, and Centroid their mean.
	Images   int64     `arrow:"images"`
	Centroid []float32 `arrow:"centroid"`
	// Cluster is its code in the clustering of the far images.
	Cluster string `arrow:"cluster"`
}

// Divided is what Divide returns.
type Divided struct {
	// Refs is a *record.Batch of shards.Ref per shard with new images, one row per subset in that shard.
	Refs beam.PCollection
	// Subsets is a *record.Batch of Subset, or none.
	Subsets beam.PCollection
	// Images are *record.Batch of Image, with the codes that the images have now.
	Images beam.PCollection
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[farFn]())
	beam.RegisterDoFn(reflect.TypeFor[oneFn]())
	beam.RegisterDoFn(reflect.TypeFor[nameFn]())
	beam.RegisterDoFn(reflect.TypeFor[codeFn]())
	beam.RegisterFunction(places)
}

// Divide makes cfg.Clusters new subsets of the far images, and rewrites the shards with new images sorted by subset, as
// partition does.
//
// in: *record.Batch of features.Row, and *record.Batch of Image, as Assign returns them.
func Divide(s beam.Scope, rows, images beam.PCollection, cfg Config) Divided {
	s = s.Scope("extend.Divide")
	subsets := beam.CreateList(s, []*record.Batch{})
	if cfg.Clusters > 0 {
		far := cfg.whiten(s, beam.ParDo(s, &farFn{}, rows, beam.SideInput{Input: images}), partition.Whitening)
		var assigned, centroids beam.PCollection
		if cfg.Clusters == 1 {
			assigned, centroids = beam.ParDo2(s, &oneFn{}, beam.Impulse(s), beam.SideInput{Input: far})
		} else {
			assigned, centroids = kmeans.Cluster(s, far, kmeans.Config{
				Column: partition.Whitening.Column, Branching: []int{cfg.Clusters}, Iterations: cfg.Iterations, Balance: cfg.Balance, Seed: cfg.Seed,
				Local: cfg.Local, Gather: cfg.Gather,
			})
		}
		subsets = beam.ParDo(s, &nameFn{Nets: cfg.Nets}, beam.Impulse(s), beam.SideInput{Input: centroids}, beam.SideInput{Input: cfg.leaves(s)})
		images = beam.ParDo(s, &codeFn{}, images, beam.SideInput{Input: assigned}, beam.SideInput{Input: subsets})
	}
	return Divided{Refs: partition.Sort(s, beam.ParDo(s, places, images), cfg.Shards, cfg.Partition), Subsets: subsets, Images: images}
}

// at is where an image is.
type at struct {
	shard string
	row   int64
}

// farFn leaves the features of far images.
type farFn struct {
	far record.Side[map[at]bool]
}

func (fn *farFn) ProcessElement(w beam.Window, b *record.Batch, images func(**record.Batch) bool, emit func(*record.Batch)) error {
	far, err := fn.far.Get(w, func() (map[at]bool, error) {
		all, err := record.All[Image](images)
		far := map[at]bool{}
		for _, im := range all {
			if im.Far {
				far[at{im.Shard, im.Place}] = true
			}
		}
		return far, err
	})
	if err != nil {
		return err
	}
	rows, err := record.Rows[features.Row](b)
	if err != nil {
		return err
	}
	rows = slices.DeleteFunc(rows, func(r features.Row) bool { return !far[at{r.Shard, r.Row}] })
	if len(rows) > 0 {
		emit(record.Of(rows))
	}
	return nil
}

// oneFn makes one cluster of all vectors, like kmeans.Cluster.
type oneFn struct{}

func (*oneFn) ProcessElement(_ []byte, vectors func(**record.Batch) bool, emit, emitCentroid func(*record.Batch)) error {
	rows, err := record.All[features.Row](vectors)
	if err != nil {
		return err
	}
	slices.SortFunc(rows, func(a, b features.Row) int {
		return place{Shard: a.Shard, Row: a.Row}.compare(place{Shard: b.Shard, Row: b.Row})
	})
	sums := make([]float64, len(rows[0].Feature))
	assigned := make([]place, len(rows))
	for i, r := range rows {
		assigned[i] = place{Shard: r.Shard, Row: r.Row, Code: "0"}
		for j, v := range r.Feature {
			sums[j] += float64(v)
		}
	}
	c := kmeans.Centroid{Code: "0", Size: int64(len(rows)), Centroid: make([]float32, len(sums))}
	for j, sum := range sums {
		c.Centroid[j] = float32(sum / float64(len(rows)))
	}
	emit(record.Of(assigned))
	emitCentroid(record.Of([]kmeans.Centroid{c}))
	return nil
}

// nameFn gives the clusters of far images their codes.
type nameFn struct{ Nets []string }

func (fn *nameFn) ProcessElement(_ []byte, clusters, leaves func(**record.Batch) bool) (*record.Batch, error) {
	made, err := record.All[kmeans.Centroid](clusters)
	if err != nil {
		return nil, err
	}
	old, err := record.All[kmeans.Centroid](leaves)
	if err != nil {
		return nil, err
	}
	subsets, err := name(made, old, fn.Nets)
	if err != nil {
		return nil, err
	}
	return record.Of(subsets), nil
}

// name returns the subsets of clusters, given the old leaves and the codes of those with a sub-net. Each gets the
// smallest last choice that no leaf has: it selects the individual weights of the last level, whatever is before it.
func name(clusters, leaves []kmeans.Centroid, nets []string) (subsets []Subset, err error) {
	byCode := func(a, b kmeans.Centroid) int { return sdrnet.Compare(a.Code, b.Code) }
	slices.SortFunc(clusters, byCode)
	slices.SortFunc(leaves, byCode)
	used := map[int]bool{}
	var starts []kmeans.Centroid
	for _, l := range leaves {
		choices := sdrnet.Choices(l.Code)
		used[choices[len(choices)-1]] = true
		if slices.Contains(nets, l.Code) {
			starts = append(starts, l)
		}
	}
	if len(starts) == 0 {
		return nil, fmt.Errorf("extend: none of the %d subsets has a sub-net to start from", len(leaves))
	}
	choice := 0
	for _, c := range clusters {
		for used[choice] {
			choice++
		}
		used[choice] = true
		if choice >= sdrnet.MaxChoices {
			return nil, fmt.Errorf("extend: there would be more than %d choices at a level", sdrnet.MaxChoices)
		}
		nearest := slices.MinFunc(starts, func(a, b kmeans.Centroid) int {
			x, y := vecs.SquareDistance(a.Centroid, c.Centroid), vecs.SquareDistance(b.Centroid, c.Centroid)
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		})
		above := sdrnet.Parent(nearest.Code)
		code := strings.TrimPrefix(above+"."+strconv.Itoa(choice), ".")
		subsets = append(subsets, Subset{Code: code, Parent: nearest.Code, Images: c.Size, Centroid: c.Centroid, Cluster: c.Code})
	}
	return subsets, nil
}

// codeFn gives the images of new subsets their codes.
type codeFn struct {
	codes record.Side[map[at]string]
}

func (fn *codeFn) ProcessElement(w beam.Window, b *record.Batch, assigned, subsets func(**record.Batch) bool) (*record.Batch, error) {
	codes, err := fn.codes.Get(w, func() (map[at]string, error) {
		made, err := record.All[Subset](subsets)
		if err != nil {
			return nil, err
		}
		of := map[string]string{}
		for _, s := range made {
			of[s.Cluster] = s.Code
		}
		rows, err := record.All[place](assigned)
		codes := map[at]string{}
		for _, r := range rows {
			codes[at{r.Shard, r.Row}] = of[r.Code]
		}
		return codes, err
	})
	if err != nil {
		return nil, err
	}
	images, err := record.Rows[Image](b)
	if err != nil {
		return nil, err
	}
	for i := range images {
		if code, ok := codes[at{images[i].Shard, images[i].Place}]; ok {
			images[i].Code = code
		}
	}
	return record.Of(images), nil
}

// places leaves the columns that partition.Sort reads.
func places(b *record.Batch) (*record.Batch, error) {
	images, err := record.Rows[Image](b)
	if err != nil {
		return nil, err
	}
	rows := make([]place, len(images))
	for i, im := range images {
		rows[i] = place{im.Shard, im.Place, im.Code, im.Distance}
	}
	return record.Of(rows), nil
}
