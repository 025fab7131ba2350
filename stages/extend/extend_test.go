package extend

import (
	"fmt"
	"maps"
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
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/run/shards"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

const size = 8

// writeShard writes a shard of n images that begin with a byte, in batches of refs of their subsets.
func writeShard(t *testing.T, path string, first byte, sizes ...int) {
	var records []arrow.Record
	random := rng.New(uint64(first), rng.Sample)
	for _, n := range sizes {
		b := shards.NewBuilder(size)
		for i := range n {
			pixels := make([]byte, size*size*3)
			for j := range pixels {
				pixels[j] = byte(random.IntN(256))
			}
			pixels[0] = first
			b.Append(fmt.Sprintf("source %d", first), int64(i), pixels)
		}
		records = append(records, b.NewRecord())
	}
	require.NoError(t, arrowio.WriteFile(t.Context(), path, shards.Schema(size), records...))
}

// rows reads the rows in a folder.
func rows[T any](t *testing.T, dir string) (all []T) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.arrow"))
	require.NoError(t, err)
	for _, path := range paths {
		require.NoError(t, arrowio.Each(t.Context(), path, func(b *record.Batch) error {
			found, err := record.Rows[T](b)
			all = append(all, found...)
			return err
		}))
	}
	return all
}

// TestAssignAndDivide takes images of old kinds and of two new ones into subsets, on both local runners.
func TestAssignAndDivide(t *testing.T) {
	ctx := t.Context()
	for _, runner := range []string{"prism", "direct"} {
		dir := t.TempDir()
		cfg := Config{Shards: filepath.Join(dir, "shards"), First: 1, Partition: filepath.Join(dir, "partition"), Whiten: true, Level: 2, Far: .95, Iterations: 5, Seed: 1}
		random := rng.New(1, rng.Sample)
		draw := func(shard int64, n int, from int, centers ...[2]float64) []*record.Batch {
			var described []features.Row
			for i := range n {
				c := centers[i%len(centers)]
				described = append(described, features.Row{Shard: shards.Name(shard), Row: int64(from + i), Feature: []float32{
					float32(c[0] + random.NormFloat64()), float32(c[1] + random.NormFloat64()),
				}})
			}
			return []*record.Batch{record.Of(described[:n/2]), record.Of(described[n/2:])}
		}
		old := draw(0, 200, 0, [2]float64{20, 20}, [2]float64{20, -20}, [2]float64{-20, 20}, [2]float64{-20, -20})
		writeShard(t, filepath.Join(cfg.Shards, shards.Name(0)), 0, 200)
		p, s := beam.NewPipelineWithRoot()
		arrowio.WriteDir(s, filepath.Join(dir, "old"), partition.Partition(s, beam.CreateList(s, old), partition.Config{
			Shards: cfg.Shards, Dir: cfg.Partition, Branching: []int{2, 2}, Whiten: true, Iterations: 10, Seed: 1,
		}))
		_, err := beam.Run(ctx, runner, p)
		require.NoError(t, err)

		// half of the new images are like the old ones, the others are of two other kinds, beyond two of theirs
		fresh := append(draw(1, 40, 0, [2]float64{20, 20}), draw(1, 40, 40, [2]float64{90, 90}, [2]float64{-90, 95})...)
		writeShard(t, filepath.Join(cfg.Shards, shards.Name(1)), 1, 80)
		p, s = beam.NewPipelineWithRoot()
		arrowio.WriteDir(s, filepath.Join(dir, "assigned"), Assign(s, beam.CreateList(s, append(old, fresh...)), cfg))
		_, err = beam.Run(ctx, runner, p)
		require.NoError(t, err)
		images := rows[Image](t, filepath.Join(dir, "assigned"))
		require.Len(t, images, 80)
		for _, im := range images {
			require.Equal(t, shards.Name(1), im.Shard)
			require.Equal(t, "source 1", im.Source)
			require.Equal(t, im.Place, im.Row)
			require.Equal(t, im.Distance > im.Limit, im.Far)
			if im.Place >= 40 {
				require.True(t, im.Far)
			}
		}
		require.Equal(t, 2, Clusters(images, cfg.Far, 4, 20))

		for _, c := range rows[kmeans.Centroid](t, partition.CentroidsDir(cfg.Partition)) {
			if sdrnet.Level(c.Code) == 2 {
				cfg.Nets = append(cfg.Nets, c.Code)
			}
		}
		for clusters := range 3 {
			cfg.Clusters = clusters
			out := filepath.Join(dir, fmt.Sprint(clusters))
			p, s = beam.NewPipelineWithRoot()
			d := Divide(s, beam.CreateList(s, append(old, fresh...)), arrowio.ReadIPC(s, filepath.Join(dir, "assigned", "*.arrow")), cfg)
			arrowio.WriteDir(s, filepath.Join(out, "refs"), d.Refs)
			arrowio.WriteDir(s, filepath.Join(out, "subsets"), d.Subsets)
			arrowio.WriteDir(s, filepath.Join(out, "images"), d.Images)
			_, err = beam.Run(ctx, runner, p)
			require.NoError(t, err)
			subsets := rows[Subset](t, filepath.Join(out, "subsets"))
			require.Len(t, subsets, clusters)
			sizes := map[string]int64{}
			for _, im := range rows[Image](t, filepath.Join(out, "images")) {
				sizes[im.Code]++
			}
			inShards := map[string]int64{}
			for _, ref := range rows[shards.Ref](t, filepath.Join(out, "refs")) {
				inShards[ref.Subset] += ref.Rows
			}
			require.Equal(t, sizes, inShards)
			for i, subset := range subsets {
				require.Equal(t, fmt.Sprint(i+2), subset.Code[2:], "of codes such as 0.1, the first choices that none has")
				require.Equal(t, sdrnet.Parent(subset.Parent), sdrnet.Parent(subset.Code))
				require.Equal(t, subset.Images, sizes[subset.Code])
			}
			if clusters == 2 {
				require.GreaterOrEqual(t, min(subsets[0].Images, subsets[1].Images), int64(20))
				require.NotEqual(t, subsets[0].Parent, subsets[1].Parent)
			}
		}
	}
}

func TestClusters(t *testing.T) {
	images := func(far, near int) []Image {
		all := make([]Image, far+near)
		for i := range far {
			all[i].Far = true
		}
		return all
	}
	for _, c := range []struct {
		far, near, batch int
		mean             float64
		want             int
	}{
		{0, 1000, 10, 100, 0}, {40, 960, 10, 100, 0}, {41, 959, 10, 100, 1}, {500, 500, 10, 100, 5}, {549, 0, 10, 100, 5}, {550, 0, 10, 100, 6},
		{19, 0, 10, 100, 0}, {20, 0, 10, 100, 1}, {100, 0, 10, 1, 5}, {100, 0, 10, 1e6, 1},
	} {
		require.Equal(t, c.want, Clusters(images(c.far, c.near), .99, c.batch, c.mean), "%+v", c)
	}
}

func TestQuantile(t *testing.T) {
	values := func() []float32 { return []float32{4, 1, 3, 2} }
	for fraction, want := range map[float64]float32{.51: 3, .5: 2, .75: 3, .76: 4, .99: 4, .001: 1} {
		require.Equal(t, want, quantile(values(), fraction), fraction)
	}
}

func TestName(t *testing.T) {
	at := func(code string, x float32) kmeans.Centroid {
		return kmeans.Centroid{Code: code, Centroid: []float32{x}, Size: 7}
	}
	leaves := []kmeans.Centroid{at("1.10", 10), at("1.3", 5), at("0.0", 0), at("0.1", 1)}
	nets := []string{"0.0", "1.10"}
	got, err := name([]kmeans.Centroid{at("10", 6), at("9", 5), at("8", 4)}, leaves, nets)
	require.NoError(t, err)
	require.Equal(t, []Subset{
		{"0.2", "0.0", 7, []float32{4}, "8"}, {"0.4", "0.0", 7, []float32{5}, "9"}, {"1.5", "1.10", 7, []float32{6}, "10"},
	}, got)
	got, err = name([]kmeans.Centroid{at("0", 6)}, []kmeans.Centroid{at("0", 1), at("1", 2)}, []string{"0"})
	require.NoError(t, err)
	require.Equal(t, "2", got[0].Code)
	_, err = name([]kmeans.Centroid{at("0", 6)}, leaves, nil)
	require.ErrorContains(t, err, "none of the 4 subsets has a sub-net to start from")
}

// TestTrain trains new sub-nets on both local runners: with the same result, of which the weights that a parent shares
// are the parent's, bit by bit, and with BatchNorm statistics of all kinds.
func TestTrain(t *testing.T) {
	ctx := t.Context()
	r, err := recipe.Load("smoke", []string{
		"train.batch=8", "train.norm_images=32", "train.norm=[subset, all, prefix]", "input.crop=8", "input.size=8", "views=[horizontal_flip]",
	})
	require.NoError(t, err)
	layout := nn.NewLayout(r.Backbone, r.Heads())
	params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
	layout.Init(params, rng.New(1, rng.Weights))
	layout.InitStats(stats)
	own := make([]bool, len(params))
	nets, err := sdrnet.New(layout, Own(r), params, nil, nil)
	require.NoError(t, err)
	require.Equal(t, [][]int{{3}}, Own(r).Stages)
	for _, s := range nets.Individual(0) {
		for i := s.From; i < s.To; i++ {
			own[i] = true
		}
	}
	var before map[string]*inference.Model
	for _, runner := range []string{"prism", "direct"} {
		dir := t.TempDir()
		parent := &inference.Model{Model: nn.Model{Backbone: r.Backbone, Heads: r.Heads(), Params: params, Stats: stats}, Input: inference.Input{Size: size, Mean: r.Input.Mean, Std: r.Input.Std}}
		for _, name := range []string{"0.1", "0.1-all", "0.1-prefix"} {
			require.NoError(t, train.Save(ctx, dir, &train.Model{Subnet: name, Variant: train.SDR, Level: 2, Images: 100}, parent))
		}
		var refs []shards.Ref
		for n, subsets := range [][]string{{"0.1"}, {"0.1", "0.2", "0.3"}} {
			path := filepath.Join(dir, shards.Name(int64(n)))
			writeShard(t, path, byte(n), []int{20, 12, 9}[:len(subsets)]...)
			for i, code := range subsets {
				refs = append(refs, shards.Ref{Path: path, Batch: int64(i), Rows: []int64{20, 12, 9}[i], Subset: code})
			}
		}
		out := filepath.Join(dir, "out")
		cfg := TrainConfig{Dir: dir, Recipe: string(r.Marshal()), Images: 40, Rate: .1, Device: ssl.Device{Name: ssl.CPU}, Subsets: []Subset{
			{Code: "0.2", Parent: "0.1", Images: 12, Centroid: []float32{1}}, {Code: "0.3", Parent: "0.1", Images: 9, Centroid: []float32{1}},
		}}
		p, s := beam.NewPipelineWithRoot()
		arrowio.WriteDir(s, out, Train(s, beam.Create(s, record.Of(refs)), cfg))
		_, err := beam.Run(ctx, runner, p)
		require.NoError(t, err)
		made := map[string]*inference.Model{}
		for _, m := range rows[train.Model](t, out) {
			require.True(t, m.Candidate())
			require.Equal(t, run.ModelPath(dir, m.Subnet), m.Path)
			require.EqualValues(t, []int64{2, 5, 140}, []int64{m.Level, m.Steps, m.Images})
			require.Equal(t, map[byte]int64{'2': 12, '3': 9}[m.Subnet[2]], m.SubsetImages)
			require.NotZero(t, m.Loss)
			made[m.Subnet], err = inference.Load(ctx, m.Path)
			require.NoError(t, err)
			for i, v := range made[m.Subnet].Params {
				if !own[i] {
					require.Equal(t, params[i], v)
				}
			}
			require.NotEqual(t, params, made[m.Subnet].Params)
		}
		require.Equal(t, []string{"0.2", "0.2-all", "0.2-prefix", "0.3", "0.3-all", "0.3-prefix"}, slices.Sorted(maps.Keys(made)))
		require.NotEqual(t, made["0.2"].Params, made["0.3"].Params)
		require.Equal(t, made["0.2"].Params, made["0.2-all"].Params)
		for _, st := range layout.Stats {
			of := func(name string) []float32 { return made[name].Stats[st.Offset:][:st.Size] }
			require.NotEqual(t, of("0.2"), of("0.2-all"), st.Name)
			if st.Part < 3 {
				require.Equal(t, stats[st.Offset:][:st.Size], of("0.2-prefix"), st.Name)
			} else {
				require.Equal(t, of("0.2"), of("0.2-prefix"), st.Name)
			}
		}
		for name, m := range before {
			require.Equal(t, m.Params, made[name].Params)
			require.Equal(t, m.Stats, made[name].Stats)
		}
		before = made

		for _, code := range []string{"0.2", "0.3"} {
			_, err := curves.ReadPoints(ctx, dir, CurvePrefix+code)
			require.NoError(t, err)
		}

		cfg.Rate = 1e30
		p, s = beam.NewPipelineWithRoot()
		Train(s, beam.Create(s, record.Of(refs)), cfg)
		_, err = beam.Run(ctx, runner, p)
		require.ErrorContains(t, err, "the training diverged")
	}
}
