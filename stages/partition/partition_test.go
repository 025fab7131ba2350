package partition_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	//lint:ignore SA1019 the stage must give the same results on both local runners
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

// Images whose first byte encodes their cluster are sorted into subsets by cluster, each image once, on both local
// runners.
func TestPartition(t *testing.T) {
	ctx := context.Background()
	const size, files, rows = 8, 3, 40
	for _, runner := range []string{"prism", "direct"} {
		t.Run(runner, func(t *testing.T) {
			dir := t.TempDir()
			random := rand.New(rand.NewPCG(1, 1))
			var input []*record.Batch
			for f := range files {
				path := filepath.Join(dir, fmt.Sprintf("shard-%05d.arrow", f))
				b := array.NewRecordBuilder(record.Mem, shards.Schema(size))
				var described []features.Row
				for i := range rows {
					cluster := random.IntN(4)
					pixels := make([]byte, size*size*3)
					pixels[0], pixels[1] = byte(cluster), byte(f*rows+i)
					b.Field(0).(*array.StringBuilder).Append(path)
					b.Field(1).(*array.Int64Builder).Append(int64(i))
					b.Field(2).(*array.FixedSizeBinaryBuilder).Append(pixels)
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
				Shards: dir, Dir: filepath.Join(dir, "partition"), Branching: []int{2, 2}, Iterations: 10, Seed: 1,
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
				require.Len(t, ref.Subset, 2)
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
		})
	}
}
