// Package partition is the stage that divides the images into subsets, usually by clustering the features level by
// level; an image's code lists one choice per level, such as 12.0.3. It rewrites every shard sorted by code, so that each subset is one record batch
// per shard and only references need to travel.
package partition

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Config says how to cluster and where to write the sorted shards.
type Config struct {
	// Shards is the folder of the shards that the features were computed from.
	Shards string
	// Dir is the stage's folder; the sorted shards go to its subfolder shards, the centroids and the fitted whitening
	// to CentroidsDir and WhiteningDir.
	Dir string
	// Method is one of Methods; empty means KMeans.
	Method string
	// Sources are the files and folders that the images come from, for the method Source.
	Sources []string
	// Branching is the number of subsets that each subset splits into, per level.
	Branching []int
	// Whiten centers and PCA-whitens the features before clustering.
	Whiten bool
	// Iterations and Balance are as in kmeans.Config.
	Iterations int
	Balance    float64
	// Seed is the seed of every random choice.
	Seed uint64
	// Local is as in kmeans.Config, for runners with one process; others gather the features in the folder Gather, if it is
	// given.
	Local  bool
	Gather string
}

// assignment says which subset an image belongs to: the part of kmeans' output that this stage reads.
type assignment struct {
	Shard string `arrow:"shard"`
	Row   int64  `arrow:"row"`
	Code  string `arrow:"code"`
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[keyFn]())
	beam.RegisterDoFn(reflect.TypeFor[sortFn]())
}

// Partition divides the images into subsets and rewrites the shards sorted by subset.
//
// in: *record.Batch of features.Row. out: *record.Batch of shards.Ref, one batch per shard, one row per subset in that
// shard.
func Partition(s beam.Scope, features beam.PCollection, cfg Config) beam.PCollection {
	s = s.Scope("partition.Partition")
	return Sort(s, assign(s, features, cfg), cfg.Shards, cfg.Dir)
}

// Sort rewrites the shards in a folder sorted by subset, given the codes of all their images. The rewritten ones go to
// the subfolder shards of the stage's folder.
//
// in: *record.Batch with the columns shard, row and code. out: as of Partition.
func Sort(s beam.Scope, assigned beam.PCollection, shards, stage string) beam.PCollection {
	s = s.Scope("partition.Sort")
	return beam.ParDo(s, &sortFn{Shards: shards, Dir: stage}, beam.GroupByKey(s, beam.ParDo(s, &keyFn{}, assigned)))
}

// keyFn keys assignments by shard name.
type keyFn struct{}

func (*keyFn) ProcessElement(_ context.Context, b *record.Batch, emit func(string, *record.Batch)) error {
	rows, err := record.Rows[assignment](b)
	if err != nil {
		return err
	}
	shards := map[string][]assignment{}
	for _, r := range rows {
		shards[r.Shard] = append(shards[r.Shard], r)
	}
	for shard, rows := range shards {
		emit(shard, record.Of(rows))
	}
	return nil
}

// sortFn rewrites one shard sorted by code.
type sortFn struct{ Shards, Dir string }

func (fn *sortFn) ProcessElement(ctx context.Context, shard string, assigned func(**record.Batch) bool, emit func(*record.Batch)) error {
	rows, err := record.All[assignment](assigned)
	if err != nil {
		return err
	}
	refs, err := rewrite(ctx, files.Join(fn.Shards, shard), files.Join(fn.Dir, "shards", shard), rows)
	if err != nil {
		return fmt.Errorf("partition: shard %s: %w", shard, err)
	}
	emit(record.Of(refs))
	return nil
}

// rewrite writes the shard's images to a new file, one record batch per subset in order of code; within a subset,
// images keep their order.
func rewrite(ctx context.Context, shard, to string, rows []assignment) (refs []shards.Ref, err error) {
	f, err := arrowio.OpenFile(ctx, shard)
	if err != nil {
		return nil, shards.Unusable(err, shard)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	slices.SortFunc(rows, func(a, b assignment) int {
		if c := sdrnet.Compare(a.Code, b.Code); c != 0 {
			return c
		}
		return int(a.Row - b.Row)
	})
	old, err := newReader(f)
	if err != nil {
		return nil, shards.Unusable(err, shard)
	}
	if old.len() != int64(len(rows)) {
		return nil, fmt.Errorf("%d images, but %d assignments", old.len(), len(rows))
	}
	var records []arrow.Record
	for begin := 0; begin < len(rows); {
		end := begin
		for end < len(rows) && rows[end].Code == rows[begin].Code {
			end++
		}
		rec, err := old.take(rows[begin:end])
		if err != nil {
			return nil, shards.Unusable(err, shard)
		}
		refs = append(refs, shards.Ref{Path: to, Batch: int64(len(records)), Rows: rec.NumRows(), Subset: rows[begin].Code})
		records = append(records, rec)
		begin = end
	}
	return refs, arrowio.WriteFile(ctx, to, f.Schema(), records...)
}

// reader finds a shard's rows by their index in the file.
type reader struct {
	records []arrow.Record
	from    []int64
}

func newReader(f *arrowio.File) (*reader, error) {
	r := &reader{from: []int64{0}}
	for i := range f.NumRecords() {
		rec, err := f.Record(i)
		if err != nil {
			return nil, err
		}
		r.records = append(r.records, rec)
		r.from = append(r.from, r.len()+rec.NumRows())
	}
	return r, nil
}

func (r *reader) len() int64 { return r.from[len(r.from)-1] }

// take copies the assigned rows into one record.
func (r *reader) take(rows []assignment) (arrow.Record, error) {
	size, err := shards.Size(r.records[0].Schema())
	if err != nil {
		return nil, err
	}
	b := shards.NewBuilder(size)
	defer b.Release()
	for _, a := range rows {
		at, found := slices.BinarySearch(r.from, a.Row)
		if !found {
			at--
		}
		if a.Row < 0 || a.Row >= r.len() {
			return nil, fmt.Errorf("row %d of %d", a.Row, r.len())
		}
		rec, i := r.records[at], int(a.Row-r.from[at])
		pixels, err := shards.Pixels(rec)
		if err != nil {
			return nil, err
		}
		if err := shards.Check(pixels.Value(i), rec.Column(3).(*array.Uint64).Value(i)); err != nil {
			return nil, fmt.Errorf("image %d: %w", a.Row, err)
		}
		b.Append(rec.Column(0).(*array.String).Value(i), rec.Column(1).(*array.Int64).Value(i), pixels.Value(i))
	}
	return b.NewRecord(), nil
}
