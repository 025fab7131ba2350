package train

import (
	"cmp"
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() { beam.RegisterDoFn(reflect.TypeFor[binsFn]()) }

// Share is the schema of what a bin has: images of a record batch.
type Share struct {
	// Variant and Bin, counted from 0, say whose share it is.
	Variant string `arrow:"variant"`
	Bin     int64  `arrow:"bin"`
	// Path, Batch, Rows and Subset are the record batch, as in shards.Ref.
	Path   string `arrow:"path"`
	Batch  int64  `arrow:"batch"`
	Rows   int64  `arrow:"rows"`
	Subset string `arrow:"subset"`
	// Begin is the bin's first image in it, and End is one past the last.
	Begin int64 `arrow:"begin"`
	End   int64 `arrow:"end"`
}

// Bins packs the images into as many bins as the recipe has, for each of cfg.Variants: in the order of their subsets, so
// that siblings are together and almost all subsets in one bin, and with about as many images in each.
//
// in: *record.Batch of shards.Ref. out: *record.Batch of Share, one per variant and bin.
func Bins(s beam.Scope, refs beam.PCollection, cfg Config) beam.PCollection {
	return beam.ParDo(s.Scope("train.Bins"), &binsFn{cfg}, beam.Impulse(s), beam.SideInput{Input: refs})
}

type binsFn struct{ Config Config }

func (fn *binsFn) ProcessElement(_ context.Context, _ []byte, refs func(**record.Batch) bool, emit func(*record.Batch)) error {
	r, err := fn.Config.recipe()
	if err != nil {
		return err
	}
	rows, err := record.All[shards.Ref](refs)
	if err != nil {
		return err
	}
	bins, err := pack(rows, r.Train.Rounds.Bins)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	for _, variant := range fn.Config.Variants {
		for b, shares := range bins {
			for i := range shares {
				shares[i].Variant, shares[i].Bin = variant, int64(b)
			}
			emit(record.Of(shares))
		}
	}
	return nil
}

// snap is how far, as a fraction of a bin, a bin's end is moved to the end of a subset: a sliver of one would make
// mini-batches of few images.
const snap = .1

// pack divides images into bins.
func pack(refs []shards.Ref, bins int) ([][]Share, error) {
	refs = slices.Clone(refs)
	slices.SortFunc(refs, func(a, b shards.Ref) int {
		return cmp.Or(sdrnet.Compare(a.Subset, b.Subset), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Batch, b.Batch))
	})
	total := int64(0)
	var ends []int64 // of subsets
	for i, ref := range refs {
		total += ref.Rows
		if ref.Subset != "" && (i+1 == len(refs) || refs[i+1].Subset != ref.Subset) {
			ends = append(ends, total)
		}
	}
	if total < int64(bins) {
		return nil, fmt.Errorf("%d images cannot be divided into %d bins; lower train.rounds.bins", total, bins)
	}
	cuts := make([]int64, bins+1)
	for b := range cuts {
		cuts[b] = int64(b) * total / int64(bins)
		for _, end := range ends {
			if d := end - int64(b)*total/int64(bins); max(d, -d) <= int64(snap*float64(total)/float64(bins)) {
				cuts[b] = end
			}
		}
	}
	cuts[0], cuts[bins] = 0, total
	packed := make([][]Share, bins)
	at := int64(0)
	for _, ref := range refs {
		for b := range packed {
			begin, end := max(cuts[b], at), min(cuts[b+1], at+ref.Rows)
			if begin < end {
				packed[b] = append(packed[b], Share{
					Path: ref.Path, Batch: ref.Batch, Rows: ref.Rows, Subset: ref.Subset, Begin: begin - at, End: end - at,
				})
			}
		}
		at += ref.Rows
	}
	return packed, nil
}

// spansOfShares returns a bin's images among those of the record batches in which it has some.
func spansOfShares(images *shards.Images, shares []Share) (all []span) {
	for b, ref := range images.Refs {
		at := slices.IndexFunc(shares, func(s Share) bool { return s.Path == ref.Path && s.Batch == ref.Batch })
		begin, _ := images.Range(b)
		all = append(all, span{ref.Subset, begin + int(shares[at].Begin), begin + int(shares[at].End)})
	}
	return all
}

// refsOfShares returns the record batches in which a bin has images.
func refsOfShares(shares []Share) (refs []shards.Ref) {
	for _, s := range shares {
		refs = append(refs, shards.Ref{Path: s.Path, Batch: s.Batch, Rows: s.Rows, Subset: s.Subset})
	}
	return refs
}
