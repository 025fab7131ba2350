package train

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the direct runner is offered for comparison with prism
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// TestPack checks that every image is in one bin, that the bins are about as large, that images of a subset stay
// together, and that no bin has a sliver of a subset.
func TestPack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bins := rapid.IntRange(1, 9).Draw(t, "bins")
		var refs []shards.Ref
		var total int64
		for i := range rapid.IntRange(1, 40).Draw(t, "batches") {
			rows := rapid.Int64Range(0, 300).Draw(t, "rows")
			subset := rapid.SampledFrom([]string{"0.0", "0.1", "1.0", "10.0", "2.0"}).Draw(t, "subset")
			refs = append(refs, shards.Ref{Path: fmt.Sprint(i % 3), Batch: int64(i), Rows: rows, Subset: subset})
			total += rows
		}
		packed, err := pack(refs, bins)
		if total < int64(bins) {
			require.ErrorContains(t, err, "lower train.rounds.bins")
			return
		}
		require.NoError(t, err)
		type image struct {
			ref shards.Ref
			row int64
		}
		seen := map[image]bool{}
		subsets := map[string]map[int]int64{}
		for b, shares := range packed {
			size := int64(0)
			for _, s := range shares {
				require.Less(t, s.Begin, s.End)
				require.LessOrEqual(t, s.End, s.Rows)
				for row := s.Begin; row < s.End; row++ {
					im := image{shards.Ref{Path: s.Path, Batch: s.Batch, Rows: s.Rows, Subset: s.Subset}, row}
					require.False(t, seen[im])
					seen[im] = true
				}
				if subsets[s.Subset] == nil {
					subsets[s.Subset] = map[int]int64{}
				}
				subsets[s.Subset][b] += s.End - s.Begin
				size += s.End - s.Begin
			}
			require.InDelta(t, float64(total)/float64(bins), float64(size), 2*snap*float64(total)/float64(bins)+1)
		}
		require.Len(t, seen, int(total))
		cut := 0
		for _, in := range subsets {
			cut += len(in) - 1
		}
		require.Less(t, cut, bins)
	})
	// four subsets of nearly the same size are whole in two bins
	packed, err := pack([]shards.Ref{{Rows: 26, Subset: "0"}, {Rows: 26, Subset: "1", Batch: 1}, {Rows: 24, Subset: "2", Batch: 2}, {Rows: 24, Subset: "3", Batch: 3}}, 2)
	require.NoError(t, err)
	require.Len(t, packed[0], 2)
	require.Equal(t, "1", packed[0][1].Subset)
	require.Equal(t, int64(26), packed[0][1].End)
}

// TestDeal checks that every image is in one bin, and that the bins have about as many of each subset, from all over it.
func TestDeal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		bins := rapid.IntRange(1, 9).Draw(t, "bins")
		var refs []shards.Ref
		totals, most := map[string]int64{}, map[string]int64{}
		var total int64
		for i := range rapid.IntRange(1, 40).Draw(t, "batches") {
			rows := rapid.Int64Range(0, 300).Draw(t, "rows")
			subset := rapid.SampledFrom([]string{"", "0.0", "0.1", "10.0", "2.0"}).Draw(t, "subset")
			refs = append(refs, shards.Ref{Path: fmt.Sprint(i % 3), Batch: int64(i), Rows: rows, Subset: subset})
			totals[subset] += rows
			total += rows
		}
		for subset, n := range totals {
			most[subset] = max(1, n/int64(pieces*bins))
		}
		type image struct {
			batch, row int64
		}
		seen := map[image]bool{}
		for _, shares := range deal(refs, bins) {
			if total >= int64(bins) {
				require.NotEmpty(t, shares)
			}
			of := map[string]int64{}
			for _, s := range shares {
				require.Less(t, s.Begin, s.End)
				require.LessOrEqual(t, s.End, s.Rows)
				require.Contains(t, refs, s.ref())
				for row := s.Begin; row < s.End; row++ {
					require.False(t, seen[image{s.Batch, row}])
					seen[image{s.Batch, row}] = true
				}
				of[s.Subset] += s.End - s.Begin
			}
			for subset, n := range totals {
				require.InDelta(t, float64(n)/float64(bins), float64(of[subset]), float64(most[subset]+1))
			}
		}
		require.Len(t, seen, int(total))
	})
	// of one long batch, such as a file of one source followed by another, each bin has some of both halves
	for _, shares := range deal([]shards.Ref{{Rows: 1000}}, 2) {
		require.Less(t, shares[0].Begin, int64(500))
		require.Greater(t, shares[len(shares)-1].Begin, int64(500))
	}
}

// TestApart checks that bins have whole subsets only where they train sub-nets of their own.
func TestApart(t *testing.T) {
	r := tiny(t, "train.rounds.bins=2", "split.delay=0.5")
	split := r.SplitStep(1)
	require.Greater(t, split, r.PhaseStep(1))
	for _, c := range []struct {
		variant string
		from    int
		apart   bool
	}{
		{SDR, split - 1, false}, {SDR, split, true}, {SDR, split + 1, true}, {Phase0, 0, false}, {recipe.UnifiedSubsetBatches, split, false},
	} {
		require.Equal(t, c.apart, work{Steps: Steps{From: c.from}}.apart(r, c.variant), c)
	}
}

// TestMean compares the mean of bins in any order, with accumulators that travel, to the sum of its definition.
func TestMean(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 6).Draw(t, "bins")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		parts := make([]part, n)
		want, weights := make([]float64, 5), int64(0)
		for b := range parts {
			parts[b] = part{Name: "base", Bin: int64(b), Weight: 1 + random.Int64N(500), Values: make([]float32, len(want))}
			weights += parts[b].Weight
			for i := range want {
				parts[b].Values[i] = float32(random.NormFloat64() * math.Pow(10, float64(random.IntN(20)-10)))
				want[i] += float64(parts[b].Weight) * float64(parts[b].Values[i])
			}
		}
		combine := func() []float32 {
			fn := &meanFn{}
			accumulators := make([]*mean, 1+random.IntN(n))
			for i := range accumulators {
				accumulators[i] = fn.CreateAccumulator()
			}
			for _, b := range random.Perm(n) {
				at := random.IntN(len(accumulators))
				var err error
				accumulators[at], err = fn.AddInput(accumulators[at], record.Of([]part{parts[b]}))
				require.NoError(t, err)
			}
			total := fn.CreateAccumulator()
			for _, a := range accumulators {
				data, err := encodeMean(a)
				require.NoError(t, err)
				decoded, err := decodeMean(data)
				require.NoError(t, err)
				total = fn.MergeAccumulators(total, decoded)
			}
			rows, err := record.Rows[part](fn.ExtractOutput(total))
			require.NoError(t, err)
			require.Equal(t, weights, rows[0].Weight)
			return rows[0].Values
		}
		first := combine()
		require.Equal(t, first, combine(), "the order makes no difference")
		for i, v := range first {
			require.InEpsilon(t, want[i]/float64(weights), float64(v), 1e-5)
		}
		if n == 1 {
			require.Equal(t, parts[0].Values, first, "of one bin, bit by bit")
		}
	})
	fn := &meanFn{}
	m := fn.CreateAccumulator()
	for _, p := range []part{{Bin: 2, Weight: 3, Values: []float32{2}}, {Bin: 1, Weight: 3, Values: []float32{1}}, {Bin: 0, Weight: 2, Values: []float32{0}}} {
		p.Whole = true
		var err error
		m, err = fn.AddInput(m, record.Of([]part{p}))
		require.NoError(t, err)
	}
	rows, err := record.Rows[part](fn.ExtractOutput(m))
	require.NoError(t, err)
	require.Equal(t, []float32{1}, rows[0].Values, "a memory is that of one bin")
}

// TestSchedule checks that rounds follow each other and end where a phase or the time before a split does.
func TestSchedule(t *testing.T) {
	r := tiny(t, "train.images=1600", "split.delay=0.5", "train.rounds={bins: 3, steps: 7}")
	require.Equal(t, []Steps{
		{From: 0, To: 21, First: true},
		{From: 21, To: r.PhaseStep(1), Last: true, EndsPhase: true},
	}, Schedule(r, []string{Phase0}))
	rounds := Schedule(r, []string{SDR, recipe.UnifiedSubsetBatches})
	at := r.PhaseStep(1)
	marks := []int{r.SplitStep(1), r.PhaseStep(2), r.SplitStep(2), r.Steps()}
	for i, s := range rounds {
		require.Equal(t, at, s.From)
		require.Equal(t, i == 0, s.First)
		require.Equal(t, i == len(rounds)-1, s.Last)
		require.Equal(t, s.From >= r.PhaseStep(2), s.Phase == 2)
		require.Equal(t, s.To == r.PhaseStep(2) || s.To == r.Steps(), s.EndsPhase)
		require.LessOrEqual(t, s.To-s.From, 21)
		marks = slices.DeleteFunc(marks, func(m int) bool { return m == s.To })
		at = s.To
	}
	require.Empty(t, marks)
	require.Equal(t, r.Steps(), at)
}

// inRounds trains phase 0 and the other variants in rounds, as Beam jobs of so many.
func inRounds(t *testing.T, runner, dir string, refs []shards.Ref, r *recipe.Recipe, perJob int) {
	t.Helper()
	var start Start
	for _, variants := range [][]string{{Phase0}, {SDR, recipe.Unified, recipe.UnifiedSubsetBatches}} {
		cfg := Config{Dir: dir, Recipe: string(r.Marshal()), Variants: variants, Inputs: "in", Start: start}
		for rounds := range slices.Chunk(Schedule(r, variants), perJob) {
			p, s := beam.NewPipelineWithRoot()
			after := Rounds(s, beam.Create(s, record.Of(refs)), beam.CreateList(s, []*record.Batch{}), cfg, rounds)
			Collect(s, after, cfg)
			_, err := beam.Run(t.Context(), runner, p)
			require.NoError(t, err)
			done, err := Done(t.Context(), cfg, rounds[len(rounds)-1])
			require.NoError(t, err)
			require.Equal(t, !rounds[len(rounds)-1].EndsPhase, done, "the end of a phase may have been committed and not finished")
		}
		start = Start{Phase0, dir, "in"}
	}
}

// One bin in rounds does what a training without them does, whatever it has to keep from round to round.
func TestOneBin(t *testing.T) {
	for _, set := range [][]string{
		{"ssl.method=ntxent", "split.delay=0.5"},
		{"ssl.method=byol", "ssl.momentum=0.9", "train={optimizer: adamw, lr: 0.001}"},
		{"ssl.method=moco", "ssl={queue: 100, momentum: 0.9}"},
		{"ssl={method: simsiam, distill: 0.5, teacher: ema, teacher_momentum: 0.9}"},
		{"ssl={method: simsiam, distill: 0.5}"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			r := tiny(t, append(set, "train.rounds.steps=4")...)
			refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
			plain, rounds := t.TempDir(), t.TempDir()
			inRounds(t, "prism", rounds, refs, r, 3)
			pool := kernels.NewPool(0)
			defer pool.Close()
			var start Start
			for _, variant := range []string{Phase0, SDR, recipe.Unified, recipe.UnifiedSubsetBatches} {
				_, err := trainVariant(t.Context(), Config{Dir: plain, Recipe: string(r.Marshal()), Inputs: "in", Start: start}, variant, refs, pool)
				require.NoError(t, err)
				start = Start{Phase0, plain, "in"}
				want := timeless(t, plain, variant)
				got := timeless(t, rounds, variant)
				require.Equal(t, want, got)
			}
			sameFiles(t, modelFiles(t, plain), modelFiles(t, rounds))
		})
	}
}

func sameFiles(t *testing.T, want, got map[string]string) {
	t.Helper()
	for name, data := range want {
		require.True(t, got[name] == data, "%s differs", name)
	}
	require.Len(t, got, len(want))
}

// Several bins leave the same on every runner, in one job or in many, and if some of it is lost and done again.
func TestBins(t *testing.T) {
	for _, set := range [][]string{
		{"ssl={method: moco, queue: 50}", "train.rounds={bins: 2, steps: 3}"},
		{"ssl={method: simsiam, distill: 0.5, teacher: ema}", "train.rounds={bins: 3, steps: 2, lr: 0.7, momentum: 0.9}"},
	} {
		t.Run(strings.Join(set, " "), func(t *testing.T) {
			r := tiny(t, set...)
			refs := writeShards(t, t.TempDir(), "0.0", "0.1", "1.0", "1.1")
			first, other := t.TempDir(), t.TempDir()
			inRounds(t, "prism", first, refs, r, 100)
			want := modelFiles(t, first)
			require.Contains(t, want, "0.1.safetensors")
			require.Contains(t, want, "unified.safetensors")
			inRounds(t, "direct", other, refs, r, 2)
			sameFiles(t, want, modelFiles(t, other))
			inRounds(t, "prism", other, refs, r, 5) // done
			left, err := filepath.Glob(filepath.Join(other, "checkpoints", "*", "*"))
			require.NoError(t, err)
			for _, path := range left {
				require.Equal(t, ".safetensors", filepath.Ext(path), "the means of the bins are not kept")
			}
			sameFiles(t, want, modelFiles(t, other))

			latest := func(variant string) string {
				found, err := filepath.Glob(filepath.Join(other, "checkpoints", variant, "*"))
				require.NoError(t, err)
				return slices.Max(found)
			}
			require.NoError(t, os.Remove(latest(SDR)))
			require.NoError(t, os.RemoveAll(filepath.Join(other, "checkpoints", recipe.Unified)))
			require.NoError(t, os.RemoveAll(filepath.Join(other, "models")))
			inRounds(t, "prism", other, refs, r, 4)
			again := modelFiles(t, other)
			for name := range want {
				if again[name] == "" { // of a phase that was not done again
					again[name] = want[name]
				}
			}
			require.NotEqual(t, want, modelFiles(t, other))
			sameFiles(t, want, again)
		})
	}
}

// The checkpoint after a round is the weighted mean of what the bins have made of the one before it.
func TestRoundIsTheMean(t *testing.T) {
	r := tiny(t, "paths=1x1x1x2", "train.phases=[0.2]", "train.rounds={bins: 2, steps: 5}")
	refs := writeShards(t, t.TempDir(), "0", "1")
	dir := t.TempDir()
	inRounds(t, "prism", dir, refs, r, 100)
	cfg := Config{Dir: dir, Recipe: string(r.Marshal()), Variants: []string{SDR}, Inputs: "in", Start: Start{Phase0, dir, "in"}}
	steps := Schedule(r, cfg.Variants)[0]
	w := work{cfg, steps}
	pool := kernels.NewPool(0)
	defer pool.Close()
	bins, err := pack(refs, 2)
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "checkpoints", SDR)))
	sums, weights, owners := map[string][]float64{}, map[string]float64{}, map[string]int{}
	var seen []int
	for b, shares := range bins {
		for i := range shares {
			shares[i].Variant, shares[i].Bin = SDR, int64(b)
		}
	}
	for b, shares := range bins {
		parts, told, err := w.train(t.Context(), r, shares, others(bins, b), pool)
		require.NoError(t, err)
		for _, m := range told.Measures {
			seen = append(seen, m.Step)
			require.Contains(t, []string{"", fmt.Sprint(b)}, m.Subnet, "a bin trains the root and its own sub-net")
		}
		own, err := arrowio.LoadIPC[kept](t.Context(), told.Own)
		require.NoError(t, err)
		for _, k := range own {
			require.Contains(t, k.Name, fmt.Sprintf("0.%d", b), "only the weights of its own sub-net do not pass through the mean")
			p := part{Name: k.Name, Part: k.Part, Weight: 1, Values: make([]float32, len(k.Values)/4)}
			_, err := binary.Decode(k.Values, binary.LittleEndian, p.Values)
			require.NoError(t, err)
			parts = append(parts, p)
		}
		for _, p := range parts {
			at := int(p.Part) * maxPart
			if missing := at + len(p.Values) - len(sums[p.Name]); missing > 0 {
				sums[p.Name] = append(sums[p.Name], make([]float64, missing)...)
			}
			for i, v := range p.Values {
				sums[p.Name][at+i] += float64(p.Weight) * float64(v)
			}
			if p.Part == 0 {
				weights[p.Name] += float64(p.Weight)
				owners[p.Name]++
			}
		}
	}
	slices.Sort(seen)
	require.Equal(t, steps.To-steps.From, len(seen))
	require.Equal(t, steps.From, seen[0])
	require.Equal(t, seen, slices.Compact(slices.Clone(seen)), "each step is taken once")
	require.Equal(t, map[string]int{"base": 2, "base.state": 2, "0.0": 1, "0.0.state": 1, "0.1": 1, "0.1.state": 1}, owners)

	p, s := beam.NewPipelineWithRoot()
	Rounds(s, beam.Create(s, record.Of(refs)), beam.CreateList(s, []*record.Batch{}), cfg, []Steps{steps})
	_, err = beam.Run(t.Context(), "prism", p)
	require.NoError(t, err)
	file, state, err := readCheckpoint(t.Context(), w.path(SDR, steps.To))
	require.NoError(t, err)
	require.Equal(t, steps.To, state.Step)
	for name, sum := range sums {
		tensor, err := file.Tensor(name)
		require.NoError(t, err)
		for i, v := range tensor.F32 {
			require.InDelta(t, sum[i]/weights[name], float64(v), 1e-6*max(1, math.Abs(float64(v))))
		}
	}
}

// What is missing or does not belong to a round is an error, not a wrong mean.
func TestFaultyRounds(t *testing.T) {
	reports := func(bins ...int) func(**record.Batch) bool {
		return func(b **record.Batch) bool {
			if len(bins) == 0 {
				return false
			}
			text, err := json.Marshal(report{Bin: bins[0]})
			require.NoError(t, err)
			*b, bins = record.Of([]reportRow{{text}}), bins[1:]
			return true
		}
	}
	told, err := readReports(reports(1, 0), 2)
	require.NoError(t, err)
	require.Equal(t, 1, told[1].Bin)
	_, err = readReports(reports(0), 2)
	require.ErrorContains(t, err, "1 of 2 bins are missing; resume the run")
	_, err = readReports(reports(0, 0), 2)
	require.ErrorContains(t, err, "bin 2 are missing or there twice")

	tr, err := newTrainer(t.Context(), Config{}, tiny(t), SDR)
	require.NoError(t, err)
	path, err := arrowio.WriteBatch(t.Context(), t.TempDir(), record.Of([]kept{{Name: "0.1", Values: make([]byte, 4)}}))
	require.NoError(t, err)
	require.ErrorContains(t, tr.adopt(t.Context(), []string{path}), `a bin has trained "0.1", which this round does not have`)
	base, err := arrowio.WriteBatch(t.Context(), t.TempDir(), record.Of([]kept{{Name: "base", Values: make([]byte, 4)}}))
	require.NoError(t, err)
	require.ErrorContains(t, tr.adopt(t.Context(), []string{base, base}), `part 0 of "base" is there twice`)
	require.NoError(t, os.Truncate(path, 100))
	require.ErrorContains(t, tr.adopt(t.Context(), []string{path}), path)
}
