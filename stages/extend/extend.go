// Package extend is the stage that takes new images into a run that is trained. Each is assigned to the nearest of the
// run's subsets. Images that are far from all of them, if there are more than chance explains, become subsets of their
// own, each with a new sub-net: a copy of that of the nearest subset, of which only the weights that are individual at
// the last level are trained. Nothing that the run has changes.
package extend

import (
	"cmp"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Config says which images are new and what they are compared with.
type Config struct {
	// Shards is the folder of the shards that the features were computed from; those with new images are numbered from
	// First on.
	Shards string
	First  int64
	// Partition is the folder of the stage partition, with the centroids of the subsets and, if the features are to be
	// whitened, the transform fitted to the old images.
	Partition string
	Whiten    bool
	// Level is the number of choices in the code of a leaf, the finest subsets with sub-nets.
	Level int
	// Far is the fraction of a leaf's old images within the distance from their mean beyond which an image is far.
	Far float64

	// Clusters is the number of subsets to make of the far images, as Clusters returns it, and Nets are the codes of the
	// leaves that have a sub-net to start from.
	Clusters int
	Nets     []string
	// Iterations, Balance and Seed are those of the clustering.
	Iterations int
	Balance    float64
	Seed       uint64
	// Local and Gather are as in kmeans.Config.
	Local  bool
	Gather string
}

// Image is the schema of Assign's output: a new image.
type Image struct {
	// Source and Row say where the image comes from, as in a shard.
	Source string `arrow:"source"`
	Row    int64  `arrow:"row"`
	// Shard and Place say where it is.
	Shard string `arrow:"shard"`
	Place int64  `arrow:"place"`
	// Code is the leaf that the image belongs to: the nearest, or a new one.
	Code string `arrow:"code"`
	// Distance is that from the old images of the nearest old leaf, and Limit the one beyond which an image is far.
	Distance float32 `arrow:"distance"`
	Limit    float32 `arrow:"limit"`
	// Far is true if the image is far from all old leaves.
	Far bool `arrow:"far"`
}

// place is a row of kmeans' output.
type place struct {
	Shard    string  `arrow:"shard"`
	Row      int64   `arrow:"row"`
	Code     string  `arrow:"code"`
	Distance float32 `arrow:"distance"`
}

func (p place) compare(q place) int {
	return cmp.Or(strings.Compare(p.Shard, q.Shard), cmp.Compare(p.Row, q.Row))
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[leafFn]())
	beam.RegisterDoFn(reflect.TypeFor[newFn]())
}

// New returns the shards with new images.
//
// in and out: *record.Batch of shards.Ref.
func New(s beam.Scope, refs beam.PCollection, first int64) beam.PCollection {
	return beam.ParDo(s.Scope("extend.New"), &newFn{First: first}, refs)
}

type newFn struct{ First int64 }

func (fn *newFn) ProcessElement(b *record.Batch, emit func(*record.Batch)) error {
	refs, err := record.Rows[shards.Ref](b)
	if err != nil {
		return err
	}
	for _, ref := range refs {
		n, err := shards.Number(ref.Path)
		if err != nil {
			return fmt.Errorf("extend: %w", err)
		}
		if n >= fn.First {
			emit(record.Of([]shards.Ref{ref}))
		}
	}
	return nil
}

// whiten whitens features as those of the old images were, if they were.
func (c Config) whiten(s beam.Scope, rows beam.PCollection, cfg kmeans.WhitenConfig) beam.PCollection {
	if !c.Whiten {
		return rows
	}
	fitted := arrowio.ReadIPC(s, files.Join(files.Quote(partition.WhiteningDir(c.Partition)), "*.arrow"))
	return kmeans.ApplyWhiten(s, rows, fitted, cfg)
}

// leaves reads the centroids of the leaves.
func (c Config) leaves(s beam.Scope) beam.PCollection {
	return beam.ParDo(s, &leafFn{Level: c.Level}, arrowio.ReadIPC(s, files.Join(files.Quote(partition.CentroidsDir(c.Partition)), "*.arrow")))
}

// leafFn leaves the centroids of one level. Without those above them, an image is assigned to the nearest of all.
type leafFn struct{ Level int }

func (fn *leafFn) ProcessElement(b *record.Batch, emit func(*record.Batch)) error {
	rows, err := record.Rows[kmeans.Centroid](b)
	if err != nil {
		return fmt.Errorf("extend: centroids: %w", err)
	}
	rows = slices.DeleteFunc(rows, func(c kmeans.Centroid) bool { return sdrnet.Level(c.Code) != fn.Level })
	if len(rows) > 0 {
		emit(record.Of(rows))
	}
	return nil
}

// quantile returns the least of the values that a fraction of them, which it sorts, does not exceed.
func quantile(values []float32, fraction float64) float32 {
	slices.Sort(values)
	return values[max(int(math.Ceil(fraction*float64(len(values))))-1, 0)]
}

// The far images become new subsets if they are at least leastBatches mini-batches, and more than the fraction of all new
// images that is expected to be far without any difference to the old ones, times moreThan.
const (
	leastBatches = 2
	moreThan     = 4
	mostClusters = 1 << 10
)

// Clusters returns how many new subsets the far ones of new images become: as many as have the mean size of the old
// leaves, but none with less than leastBatches mini-batches on average. It is 0 if chance explains that images are far.
func Clusters(images []Image, far float64, batch int, meanSize float64) int {
	n := 0
	for _, im := range images {
		if im.Far {
			n++
		}
	}
	if n < leastBatches*batch || float64(n) <= moreThan*(1-far)*float64(len(images)) {
		return 0
	}
	return min(max(int(math.Round(float64(n)/meanSize)), 1), n/(leastBatches*batch), mostClusters)
}
