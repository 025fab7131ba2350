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

// Cluster clusters the rows of in, a PCollection<*record.Batch>. It returns two PCollection<*record.Batch>:
//
//   - assigned: one batch per input batch, with the input's columns except the vectors, then code (string, one
//     choice per level, such as 12.0.3) and distance (float32, the Euclidean distance from the centroid with that code);
//   - centroids: rows [Centroid], the non-empty clusters of every level.
//
// Initial centroids are drawn by greedy k-means++ (Arthur and Vassilvitskii, 2007) from a sample: the rows with the
// lowest seeded hash of their content, about 128 per cluster. An empty cluster is reseeded with the farthest row of its
// parent's largest cluster; with fewer distinct rows than clusters, some stay empty.
//
// With Balance, a row goes to the cluster with the lowest squared distance plus price. After the Lloyd iterations, or
// once they converge, prices rise in clusters above their limit and fall in those below it, for some rounds while the
// centroids move and for some with the centroids fixed. The remaining surplus rows are reassigned at least cost. This
// fails if it would have to tell apart two batches with the same rows.
//
// A NaN, an infinity or a value above 1e15 in the vectors fails the pipeline with an error that names the row. Cluster
// panics if cfg is invalid.
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

// pass is one pass over the data: it runs scan on all batches with the model as a side input, combines the tallies, and
// runs turn to make the next model from the result.
func pass(s beam.Scope, scan, turn any, in, m beam.PCollection) beam.PCollection {
	found := beam.ParDo(s, scan, in, beam.SideInput{Input: m})
	return beam.ParDo(s, turn, beam.Combine(s, &addFn{}, found), beam.SideInput{Input: m})
}

// withMarker adds a batch without columns, so that every combine has a result even without rows; the last ParDo drops
// it.
func withMarker(s beam.Scope, in beam.PCollection) beam.PCollection {
	return beam.Flatten(s, in, beam.ParDo(s, marker, beam.Impulse(s)))
}

func marker([]byte) *record.Batch {
	return record.New(array.NewRecord(arrow.NewSchema(nil, nil), nil, 0))
}

func isMarker(b *record.Batch) bool { return b.NumCols() == 0 }
