package kmeans

import (
	"reflect"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[tally]())
	beam.RegisterType(reflect.TypeFor[model]())
	beam.RegisterType(reflect.TypeFor[basis]())
	beam.RegisterCoder(reflect.TypeFor[*tally](), encodeTally, decodeTally)
	beam.RegisterCoder(reflect.TypeFor[*model](), encodeModel, decodeModel)
	beam.RegisterCoder(reflect.TypeFor[*basis](), encodeBasis, decodeBasis)
	beam.RegisterDoFn(reflect.TypeFor[addFn]())
	beam.RegisterFunction(marker)
}

// Cluster groups the rows of in, a PCollection<*record.Batch>. It returns two
// PCollections<*record.Batch>:
//
//   - assigned: the columns of the input except the vectors, then `code`
//     (string, one digit of 0-9a-z a level) and `distance` (float32, the
//     Euclidean distance from the centroid of the code), one batch for each of
//     the input;
//   - centroids: the rows [Centroid] of the clusters of every level that are
//     not empty; the length of a code tells its level.
//
// Starting points are drawn by greedy k-means++ (Arthur and Vassilvitskii,
// 2007) from a sample: the rows whose hash of content and seed is lowest,
// about 128 a cluster. A cluster that becomes empty moves to the farthest row
// of the largest one; with fewer distinct rows than clusters some stay empty.
//
// With Balance, a row goes to the cluster with the least squared distance plus
// price. When the Lloyd iterations are over or have converged, prices rise in
// clusters above their limit and fall in those below, for a number of rounds
// together with the centroids and for some with the centroids at rest; the rows that are still too many move to where it costs
// least. Two batches with the same rows are an error then if one of them would
// have to be told from the other.
//
// A NaN, an infinity or a value above 1e15 in the vectors fails the pipeline
// with an error that names the row. Cluster panics if cfg is not valid.
func Cluster(s beam.Scope, in beam.PCollection, cfg Config) (assigned, centroids beam.PCollection) {
	s = s.Scope("kmeans.Cluster")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	work := withMarker(s, in)
	measure := &measureFn{Column: cfg.Column, Reserved: []string{clusterColumn, "code", "distance"}}
	measured := beam.Combine(s, &addFn{}, beam.ParDo(s, measure, work))
	m := beam.ParDo(s, &startFn{Config: cfg}, measured)
	var levels []beam.PCollection
	for level := range cfg.Branching {
		m = pass(s, &sampleFn{Config: cfg, Level: level}, &seedFn{Config: cfg, Level: level}, work, m)
		steps := cfg.Iterations
		if cfg.Balance > 0 {
			steps += movingRounds + restingRounds
		}
		for step := range steps + 1 {
			m = pass(s, &sumFn{Config: cfg, Last: step == steps}, &updateFn{Config: cfg, Step: step, Last: step == steps}, work, m)
		}
		if cfg.Balance > 0 {
			m = pass(s, &offerFn{Config: cfg}, &repairFn{Config: cfg}, work, m)
		}
		levels = append(levels, beam.ParDo(s, &centroidsFn{Config: cfg}, m))
		work = beam.ParDo(s, &labelFn{Config: cfg}, work, beam.SideInput{Input: m})
	}
	return work, beam.Flatten(s, levels...)
}

// pass reads all batches with the model beside them, adds up what scan finds
// and turns model and sum into the next model.
func pass(s beam.Scope, scan, turn any, in, m beam.PCollection) beam.PCollection {
	found := beam.ParDo(s, scan, in, beam.SideInput{Input: m})
	return beam.ParDo(s, turn, beam.Combine(s, &addFn{}, found), beam.SideInput{Input: m})
}

// withMarker adds a batch without columns. It makes every combine have a
// result, also where there are no rows; the last ParDo drops it.
func withMarker(s beam.Scope, in beam.PCollection) beam.PCollection {
	return beam.Flatten(s, in, beam.ParDo(s, marker, beam.Impulse(s)))
}

func marker([]byte) *record.Batch {
	return record.New(array.NewRecord(arrow.NewSchema(nil, nil), nil, 0))
}

func isMarker(b *record.Batch) bool { return b.NumCols() == 0 }
