package partition_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	//lint:ignore SA1019 the stage must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// Images whose first byte encodes their cluster are sorted into subsets by cluster, each image once, on both local
// runners.
func TestPartition(t *testing.T) {
	ctx := context.Background()
	const size, files, rows = 8, 3, 40
	for _, c := range [][2]string{
		{"prism", partition.KMeans}, {"direct", partition.KMeans}, {"prism", partition.Residual}, {"direct", partition.Residual},
		{"prism", partition.Product}, {"direct", partition.Product},
	} {
		runner, method := c[0], c[1]
		t.Run(runner+" "+method, func(t *testing.T) {
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(1, 1))
			var input []*record.Batch
			for f := range files {
				path := filepath.Join(dir, fmt.Sprintf("shard-%05d.arrow", f))
				b := shards.NewBuilder(size)
				var described []features.Row
				for i := range rows {
					cluster := random.IntN(4)
					pixels := make([]byte, size*size*3)
					pixels[0], pixels[1] = byte(cluster), byte(f*rows+i)
					b.Append(path, int64(i), pixels)
					feature := []float32{float32(cluster / 2 * 100), float32(cluster % 2 * 10), random.Float32()}
					described = append(described, features.Row{Shard: filepath.Base(path), Row: int64(i), Feature: feature})
				}
				rec := b.NewRecord()
				require.NoError(t, arrowio.WriteFile(ctx, path, shards.Schema(size), []arrow.Record{rec}...))
				input = append(input, record.Of(described[:rows/2]), record.Of(described[rows/2:]))
			}
			out := filepath.Join(dir, "out")
			p, s := beam.NewPipelineWithRoot()
			arrowio.WriteDir(s, out, partition.Partition(s, beam.CreateList(s, input), partition.Config{
				Shards: dir, Dir: filepath.Join(dir, "partition"), Method: method, Branching: []int{2, 2}, Iterations: 10, Seed: 1,
			}))
			_, err := beam.Run(ctx, runner, p)
			require.NoError(t, err)

			var refs []shards.Ref
			paths, err := filepath.Glob(filepath.Join(out, "*.arrow"))
			require.NoError(t, err)
			for _, path := range paths {
				f, err := arrowio.OpenFile(ctx, path)
				require.NoError(t, err)
				rec, err := f.Record(0)
				require.NoError(t, err)
				got, err := record.Rows[shards.Ref](record.New(rec))
				require.NoError(t, err)
				refs = append(refs, got...)
			}
			images, err := shards.Open(ctx, refs)
			require.NoError(t, err)
			defer images.Close()
			require.Equal(t, files*rows, images.Len())
			seen := map[byte]bool{}
			clusterOf := map[string]byte{}
			for b, ref := range images.Refs {
				require.Equal(t, 2, sdrnet.Level(ref.Subset))
				begin, end := images.Range(b)
				for i := begin; i < end; i++ {
					pixels := images.At(i)
					require.False(t, seen[pixels[1]], "image %d twice", pixels[1])
					seen[pixels[1]] = true
					if cluster, ok := clusterOf[ref.Subset]; ok {
						require.Equal(t, cluster, pixels[0], "subset %s", ref.Subset)
					}
					clusterOf[ref.Subset] = pixels[0]
				}
			}
			require.Len(t, clusterOf, 4)
			if method != partition.KMeans { // the second choice is the same below either first one
				require.Equal(t, clusterOf["0.0"]%2, clusterOf["1.0"]%2)
				require.Equal(t, clusterOf["0.1"]%2, clusterOf["1.1"]%2)
			}
		})
	}
}

// TestBaselines checks the methods that look at no features: random subsets of about equal size, the same for any
// batches, and one subset of each source.
func TestBaselines(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	const rows = 400
	b := shards.NewBuilder(8)
	var described []features.Row
	for i := range rows {
		b.Append([]string{"data/a.tar!x.png", "data/a", "data/b/y.png"}[i%3], 0, make([]byte, 8*8*3))
		described = append(described, features.Row{Shard: "shard-00000.arrow", Row: int64(i), Feature: []float32{1}})
	}
	require.NoError(t, arrowio.WriteFile(ctx, filepath.Join(dir, "shard-00000.arrow"), shards.Schema(8), b.NewRecord()))
	divide := func(runner string, batch int, cfg partition.Config) (map[string]int64, error) {
		out := t.TempDir()
		cfg.Shards, cfg.Dir, cfg.Seed = dir, filepath.Join(out, "partition"), 7
		p, s := beam.NewPipelineWithRoot()
		var in []*record.Batch
		for part := range slices.Chunk(described, batch) {
			in = append(in, record.Of(part))
		}
		arrowio.WriteDir(s, out, partition.Partition(s, beam.CreateList(s, in), cfg))
		if _, err := beam.Run(ctx, runner, p); err != nil {
			return nil, err
		}
		sizes := map[string]int64{}
		paths, err := filepath.Glob(filepath.Join(out, "*.arrow"))
		require.NoError(t, err)
		for _, path := range paths {
			require.NoError(t, arrowio.Each(ctx, path, func(b *record.Batch) error {
				refs, err := record.Rows[shards.Ref](b)
				for _, ref := range refs {
					sizes[ref.Subset] += ref.Rows
				}
				return err
			}))
		}
		return sizes, nil
	}
	random := partition.Config{Method: partition.Random, Branching: []int{2, 2}}
	sources := partition.Config{Method: partition.Source, Branching: []int{3}, Sources: []string{"data/a", "data/a.tar", "data/b"}}
	for _, runner := range []string{"prism", "direct"} {
		got, err := divide(runner, rows, random)
		require.NoError(t, err)
		require.Len(t, got, 4)
		for code, n := range got {
			require.InDelta(t, rows/4, n, 40, code)
		}
		again, err := divide(runner, 7, random)
		require.NoError(t, err)
		require.Equal(t, got, again)

		got, err = divide(runner, rows, sources)
		require.NoError(t, err)
		require.Equal(t, map[string]int64{"0": 133, "1": 134, "2": 133}, got)
	}
	sources.Branching = []int{2, 2}
	_, err := divide("prism", rows, sources)
	require.ErrorContains(t, err, "the images come from 3 files and folders, but paths makes 4 subsets")
	sources.Branching, sources.Sources = []int{3}, []string{"data/a", "data/x", "data/y"}
	_, err = divide("prism", rows, sources)
	require.ErrorContains(t, err, "data/b/y.png is from none of")
}
