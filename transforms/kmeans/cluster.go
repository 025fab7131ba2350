package kmeans

import (
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/transforms/arrowio"
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
	beam.RegisterDoFn(reflect.TypeFor[bundleFn]())
	beam.RegisterFunction(orEmpty)
}

// Cluster clusters the rows of in, a PCollection<*record.Batch>. It returns two PCollection<*record.Batch>:
//
//   - assigned: one batch per input batch, with the input's columns except the vectors, then code (string, see [Code])
//     and distance (float32, the Euclidean distance from the centroid with that code);
//   - centroids: rows [Centroid], the non-empty clusters of every level; the number of parts of a code is its level.
//
// Initial centroids come from Config.Start or are chosen by Config.Init. The sample of k-means++ is the rows with the
// lowest seeded hash of their content, up to 128 per cluster. An empty cluster is reseeded with the farthest row of its
// parent's largest cluster; with fewer rows, or fewer distinct rows, than clusters, some stay empty.
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
	measure := &measureFn{Config: cfg, Reserved: []string{clusterColumn, "code", "distance"}}
	if cfg.Local {
		measure.Job = uuid.NewString()
	}
	m := beam.ParDo(s, &startFn{Config: cfg}, total(s, beam.ParDo(s, measure, in)))
	if cfg.Local { // the Reshuffles keep prism from spinning, see compute.ParDo
		assigned, centroids = beam.ParDo2(s, &localFn{Config: cfg, Job: measure.Job}, beam.Reshuffle(s, m))
		return beam.Reshuffle(s, assigned), beam.Reshuffle(s, centroids)
	}
	work := in
	if cfg.Spherical {
		work = beam.ParDo(s, &sphereFn{Column: cfg.Column}, work)
	}
	if cfg.Gather != "" {
		paths := arrowio.WriteDir(s, cfg.Gather, work)
		assigned, centroids = beam.ParDo2(s, &gatherFn{Config: cfg}, beam.Impulse(s), beam.SideInput{Input: paths}, beam.SideInput{Input: m})
		return beam.Reshuffle(s, assigned), beam.Reshuffle(s, centroids)
	}
	var levels []beam.PCollection
	for level := range cfg.Branching {
		for _, p := range cfg.passes(level) {
			found := beam.ParDo(s, p.scan, work, beam.SideInput{Input: m})
			m = beam.ParDo(s, p.turn, total(s, found), beam.SideInput{Input: m})
		}
		levels = append(levels, beam.ParDo(s, &centroidsFn{Config: cfg}, m))
		work = beam.ParDo(s, &labelFn{Config: cfg}, work, beam.SideInput{Input: m})
	}
	return work, beam.Flatten(s, levels...)
}

// pass is one pass over the data: scan runs on all batches with the model, the tallies are added up, and turn makes the
// next model from the result.
type pass struct {
	scan scanner
	turn turner
}

type scanner interface {
	ProcessElement(b *record.Batch, m *model) (*tally, error)
}

type turner interface {
	ProcessElement(t *tally, m *model) (*model, error)
}

// Passes returns the number of times that Cluster goes over all rows, at most: after convergence, a pass takes no time.
func (c Config) Passes() (n int) {
	for level := range c.Branching {
		n += len(c.passes(level))
	}
	return n
}

// passes lists the passes of a level, from the model of the level above on.
func (c Config) passes(level int) []pass {
	passes := c.seeding(level)
	steps := c.Iterations
	if c.Balance > 0 {
		steps += movingRounds + restingRounds
	}
	for step := range steps + 1 {
		last := step == steps
		passes = append(passes, pass{&sumFn{Config: c, Last: last}, &updateFn{Config: c, Step: step, Last: last}})
	}
	if c.Balance > 0 {
		passes = append(passes, pass{&offerFn{Config: c}, &repairFn{Config: c}})
	}
	return append(passes, pass{&witnessFn{Config: c}, &silhouetteFn{}})
}

// total adds up tallies, first those of each bundle, as a runner that lifts combiners does: others, such as Flink, would have
// all of them in a record. Without any, the sum is an empty one.
func total(s beam.Scope, tallies beam.PCollection) beam.PCollection {
	sums := beam.ParDo(s, &bundleFn{}, tallies)
	return beam.ParDo(s, orEmpty, beam.Impulse(s), beam.SideInput{Input: beam.Combine(s, &addFn{}, sums)})
}

// bundleFn adds up the tallies of a bundle.
type bundleFn struct{ sum *tally }

func (fn *bundleFn) StartBundle(func(*tally)) { fn.sum = &tally{} }

func (fn *bundleFn) ProcessElement(t *tally, _ func(*tally)) {
	fn.sum = (&addFn{}).MergeAccumulators(fn.sum, t)
}

func (fn *bundleFn) FinishBundle(emit func(*tally)) { emit(fn.sum) }

func orEmpty(_ []byte, sum func(**tally) bool) *tally {
	t := &tally{}
	sum(&t)
	return t
}
