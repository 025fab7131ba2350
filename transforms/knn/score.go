package knn

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[keyFn]())
	beam.RegisterDoFn(reflect.TypeFor[scoreFn]())
}

// The splits of a set of labelled features.
const (
	Train = "train"
	Test  = "test"
)

// Row is one labelled feature vector, the input of [Score].
type Row struct {
	// Key names the set of features the row belongs to, such as "task/model"; sets are scored independently.
	Key string `arrow:"key"`
	// Split is Train or Test.
	Split string `arrow:"split"`
	// Index is the image's number in its split. It decides the order of rows.
	Index int64 `arrow:"index"`
	// Label is the image's class, at least 0.
	Label int64 `arrow:"label"`
	// Feature has the same length in all rows of a key.
	Feature []float32 `arrow:"feature"`
}

// Result is the accuracy on one split of one set of features, the output of [Score].
type Result struct {
	// Key is that of the rows.
	Key string `arrow:"key"`
	// Split is Train for leave-one-out accuracy within the train split, or Test for accuracy on the test split with
	// the train split as neighbours.
	Split string `arrow:"split"`
	// Images is the number of images of the split.
	Images int64 `arrow:"images"`
	// Top1 is the fraction of images classified rightly.
	Top1 float64 `arrow:"top1"`
	// MeanPerClass is the mean over classes of the fraction of a class's images classified rightly.
	MeanPerClass float64 `arrow:"mean_per_class"`
}

// Score classifies every set of labelled features by its nearest neighbours. It takes a PCollection<*record.Batch> of
// [Row] columns, in any order and batching, and returns a PCollection<*record.Batch> of [Result] columns, one batch a
// key: a row for the train split (leave-one-out) and, if the key has test rows, one for the test split. Rows are
// grouped by key, so the keys are scored in parallel; the rows of one key must fit into a worker's memory. A key with
// fewer than two train rows fails the pipeline, as does what [Classify] returns an error for.
func Score(s beam.Scope, cfg Config, in beam.PCollection) beam.PCollection {
	s = s.Scope("knn.Score")
	grouped := beam.GroupByKey(s, beam.ParDo(s, &keyFn{}, in))
	return beam.ParDo(s, &scoreFn{Config: cfg}, grouped)
}

// keyFn cuts batches into one batch a key.
type keyFn struct{}

func (*keyFn) ProcessElement(b *record.Batch, emit func(string, *record.Batch)) error {
	rows, err := record.Rows[Row](b)
	if err != nil {
		return fmt.Errorf("knn.Score: input: %w", err)
	}
	groups := map[string][]Row{}
	for _, r := range rows {
		groups[r.Key] = append(groups[r.Key], r)
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		emit(key, record.Of(groups[key]))
	}
	return nil
}

// scoreFn scores one key.
type scoreFn struct {
	Config Config

	pool *kernels.Pool
}

func (f *scoreFn) Setup() { f.pool = kernels.NewPool(0) }

func (f *scoreFn) Teardown() { f.pool.Close() }

func (f *scoreFn) ProcessElement(key string, batches func(**record.Batch) bool, emit func(*record.Batch)) error {
	rows, err := record.All[Row](batches)
	if err == nil {
		var results []Result
		if results, err = score(key, rows, f.Config, f.pool); err == nil {
			emit(record.Of(results))
			return nil
		}
	}
	return fmt.Errorf("knn.Score: key %q: %w", key, err)
}

// split is the rows of one split as a matrix.
type split struct {
	features []float32
	labels   []int64
}

// score is Score for the rows of one key.
func score(key string, rows []Row, cfg Config, pool *kernels.Pool) ([]Result, error) {
	slices.SortFunc(rows, func(a, b Row) int { return cmp.Compare(a.Index, b.Index) })
	dim, classes := len(rows[0].Feature), int64(0)
	splits := map[string]*split{Train: {}, Test: {}}
	for _, r := range rows {
		into := splits[r.Split]
		if into == nil {
			return nil, fmt.Errorf("row %d has split %q, must be %q or %q", r.Index, r.Split, Train, Test)
		}
		if len(r.Feature) != dim {
			return nil, fmt.Errorf("features of %d and of %d values, must be equally long", dim, len(r.Feature))
		}
		if r.Label < 0 {
			return nil, fmt.Errorf("row %d of split %q has label %d, must be at least 0", r.Index, r.Split, r.Label)
		}
		into.features = append(into.features, r.Feature...)
		into.labels = append(into.labels, r.Label)
		classes = max(classes, r.Label+1)
	}
	train, test := splits[Train], splits[Test]
	if len(train.labels) < 2 {
		return nil, errors.New("fewer than 2 rows of the train split; give all rows of a key the same key")
	}
	pred, err := LeaveOneOut(train.features, dim, train.labels, int(classes), cfg, pool)
	if err != nil {
		return nil, err
	}
	results := []Result{result(key, Train, pred, train.labels, int(classes))}
	if len(test.labels) > 0 {
		if pred, err = Classify(train.features, dim, train.labels, int(classes), test.features, cfg, pool); err != nil {
			return nil, err
		}
		results = append(results, result(key, Test, pred, test.labels, int(classes)))
	}
	return results, nil
}

func result(key, split string, pred, labels []int64, classes int) Result {
	return Result{
		Key: key, Split: split, Images: int64(len(labels)),
		Top1: Accuracy(pred, labels), MeanPerClass: MeanPerClass(pred, labels, classes),
	}
}
