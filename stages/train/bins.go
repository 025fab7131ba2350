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

// Share is the schema of what a bin has: images of a record batch. Behind its shares are rows without images, for the
// subsets of the other bins.
type Share struct {
	// Variant and Bin, counted from 0, say whose share it is, and Apart in which steps: those after a split, or the others.
	Variant string `arrow:"variant"`
	Bin     int64  `arrow:"bin"`
	Apart   bool   `arrow:"apart"`
	// Path, Batch, Rows and Subset are the record batch, as in shards.Ref.
	Path   string `arrow:"path"`
	Batch  int64  `arrow:"batch"`
	Rows   int64  `arrow:"rows"`
	Subset string `arrow:"subset"`
	// Begin is the bin's first image in it, and End is one past the last.
	Begin int64 `arrow:"begin"`
	End   int64 `arrow:"end"`
}

// Bins packs the images into as many bins as the recipe has, for each of cfg.Variants: a part of every subset in each bin,
// so that all train the same net on like images; and, for the steps after a split, whole subsets in the order of the tree,
// so that siblings are together and a sub-net has almost always one bin to itself.
//
// in: *record.Batch of shards.Ref. out: *record.Batch of Share, one per variant and bin; two if the variant splits.
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
	whole, err := pack(rows, r.Train.Rounds.Bins)
	if err != nil {
		return fmt.Errorf("train: %w", err)
	}
	dealt := deal(rows, r.Train.Rounds.Bins)
	for _, variant := range fn.Config.Variants {
		pass := func(bins [][]Share, apart bool) {
			for b, shares := range bins {
				for i := range shares {
					shares[i].Variant, shares[i].Bin, shares[i].Apart = variant, int64(b), apart
				}
			}
			for b, shares := range bins {
				emit(record.Of(slices.Concat(shares, others(bins, b))))
			}
		}
		pass(dealt, false)
		if divides(r, variant) {
			pass(whole, true)
		}
	}
	return nil
}

// others returns the subsets of all bins but one.
func others(bins [][]Share, but int) (all []Share) {
	for b, shares := range bins {
		for i, s := range shares {
			if b != but && (i == 0 || s.Subset != shares[i-1].Subset) {
				all = append(all, Share{Variant: s.Variant, Bin: s.Bin, Apart: s.Apart, Subset: s.Subset})
			}
		}
	}
	return all
}

// pieces is the number of parts of a subset that a bin has, or more if there are more record batches.
const pieces = 8

// deal divides images into bins that have about as many of each subset, from all over it.
func deal(refs []shards.Ref, bins int) [][]Share {
	refs = inOrder(refs)
	totals := map[string]int64{}
	for _, ref := range refs {
		totals[ref.Subset] += ref.Rows
	}
	dealt := make([][]Share, bins)
	sizes, of := make([]int64, bins), make([]int64, bins) // in all, and of the current subset
	for i, ref := range refs {
		if i > 0 && ref.Subset != refs[i-1].Subset {
			clear(of)
		}
		most := max(1, totals[ref.Subset]/int64(pieces*bins))
		for n, k := (ref.Rows+most-1)/most, int64(0); k < n; k++ {
			share := Share{Path: ref.Path, Batch: ref.Batch, Rows: ref.Rows, Subset: ref.Subset, Begin: k * ref.Rows / n, End: (k + 1) * ref.Rows / n}
			least := 0
			for b := range bins {
				if cmp.Or(cmp.Compare(of[b], of[least]), cmp.Compare(sizes[b], sizes[least])) < 0 {
					least = b
				}
			}
			dealt[least] = append(dealt[least], share)
			of[least] += share.End - share.Begin
			sizes[least] += share.End - share.Begin
		}
	}
	return dealt
}

// inOrder returns record batches in the order of their subsets.
func inOrder(refs []shards.Ref) []shards.Ref {
	return slices.SortedFunc(slices.Values(refs), func(a, b shards.Ref) int {
		return cmp.Or(sdrnet.Compare(a.Subset, b.Subset), cmp.Compare(a.Path, b.Path), cmp.Compare(a.Batch, b.Batch))
	})
}

// snap is how far, as a fraction of a bin, a bin's end is moved to the end of a subset: a sliver of one would make
// mini-batches of few images.
const snap = .1

// pack divides images into bins, in the order of their subsets.
func pack(refs []shards.Ref, bins int) ([][]Share, error) {
	refs = inOrder(refs)
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

// ref returns the record batch that the share is of.
func (s Share) ref() shards.Ref {
	return shards.Ref{Path: s.Path, Batch: s.Batch, Rows: s.Rows, Subset: s.Subset}
}

// spansOfShares returns a bin's images among those of the record batches in which it has some.
func spansOfShares(images *shards.Images, shares []Share) (all []span) {
	of := map[shards.Ref][]Share{}
	for _, s := range shares {
		of[s.ref()] = append(of[s.ref()], s)
	}
	for b, ref := range images.Refs {
		begin, _ := images.Range(b)
		for _, s := range of[ref] {
			all = append(all, span{ref.Subset, begin + int(s.Begin), begin + int(s.End)})
		}
	}
	return all
}

// refsOfShares returns the record batches in which a bin has images.
func refsOfShares(shares []Share) (refs []shards.Ref) {
	seen := map[shards.Ref]bool{}
	for _, s := range shares {
		if !seen[s.ref()] {
			refs = append(refs, s.ref())
		}
		seen[s.ref()] = true
	}
	return refs
}
