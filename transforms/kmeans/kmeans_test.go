package kmeans_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/ptest"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/transforms/internal/beamtest"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func TestMain(m *testing.M) { ptest.Main(m) }

var runners = []string{"prism", "direct"}

type feature struct {
	ID      int32     `arrow:"id"`
	Feature []float32 `arrow:"feature"`
}

type label struct {
	ID       int32   `arrow:"id"`
	Code     string  `arrow:"code"`
	Distance float32 `arrow:"distance"`
}

// cluster runs a clustering and returns its rows by id and clusters by code.
func cluster(t require.TestingT, runner string, cfg kmeans.Config, batches []*record.Batch) ([]label, []kmeans.Centroid, error) {
	p, s := beam.NewPipelineWithRoot()
	assigned, centroids := kmeans.Cluster(s, beamtest.Create(s, batches), cfg)
	rows, clusters := beamtest.Keep(s, assigned), beamtest.Keep(s, centroids)
	_, err := beam.Run(context.Background(), runner, p)
	return beamtest.Rows(t, rows(), func(a, b label) int { return int(a.ID) - int(b.ID) }),
		beamtest.Rows(t, clusters(), func(a, b kmeans.Centroid) int { return strings.Compare(a.Code, b.Code) }), err
}

// blobs draws n points around k centers.
func blobs(seed uint64, n, width, k int) []feature {
	r := rand.New(rand.NewPCG(seed, 1))
	centers := make([]float32, k*width)
	for i := range centers {
		centers[i] = float32(r.NormFloat64() * 2)
	}
	rows := make([]feature, n)
	for i := range rows {
		c := int(float64(k) * r.Float64() * r.Float64()) // of unequal sizes
		v := make([]float32, width)
		for j := range v {
			v[j] = centers[c*width+j] + float32(r.NormFloat64())
		}
		rows[i] = feature{int32(i), v}
	}
	return rows
}

type goldenRun struct {
	Iterations int
	Inertia    float64
	Labels     string
	Centroids  [][]float32
}

type goldenFile struct {
	Vectors, Start [][]float32
	Runs           []goldenRun
	Silhouettes    []float64 // of the runs
	Weights        []float32
	Weighted       goldenRun
	Floor          float64
	White, Unit    [][]float32
}

func readGolden(t *testing.T) (g goldenFile, rows []feature) {
	t.Helper()
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	for i, v := range g.Vectors {
		rows = append(rows, feature{int32(i), v})
	}
	return g, rows
}

func TestAgainstScikitLearn(t *testing.T) {
	g, rows := readGolden(t)
	for i, run := range g.Runs {
		cfg := kmeans.Config{Column: "feature", Branching: []int{4}, Iterations: run.Iterations, Start: g.Start}
		labels, clusters, err := cluster(t, runners[i%2], cfg, beamtest.Split(rows, 77))
		require.NoError(t, err)
		var codes strings.Builder
		for _, l := range labels {
			codes.WriteString(l.Code)
		}
		require.Equal(t, run.Labels, codes.String())
		var inertia float64
		for j, c := range clusters {
			inertia += c.Inertia
			require.InDeltaSlice(t, run.Centroids[j], c.Centroid, 1e-4)
		}
		require.InEpsilon(t, run.Inertia, inertia, 1e-6)
		silhouette := 0.0
		for _, c := range clusters {
			silhouette += c.Silhouette * float64(c.Size) / float64(len(rows))
		}
		require.InDelta(t, g.Silhouettes[i], silhouette, 1e-9)
		again, err := assign(t, runners[i%2], clusters, beamtest.Split(rows, 50))
		require.NoError(t, err)
		require.Equal(t, labels, again, "bit by bit")
	}
}

// Lloyd computes the same in memory.
func TestLloydAgainstScikitLearn(t *testing.T) {
	g, _ := readGolden(t)
	for _, run := range g.Runs {
		l, err := kmeans.NewLloyd(slices.Concat(g.Vectors...), len(g.Vectors[0]), g.Start)
		require.NoError(t, err)
		for range run.Iterations {
			require.NoError(t, l.Iterate())
		}
		require.InDeltaSlice(t, slices.Concat(run.Centroids...), l.Centroids(), 1e-4)
		inertia, err := l.Inertia()
		require.NoError(t, err)
		require.InEpsilon(t, run.Inertia, inertia, 1e-6)
		require.NoError(t, l.Close())
	}
	for want, x := range map[string][]float32{
		"kmeans: 3 values of vectors of width 2 and 1 centroids":   {1, 2, 3},
		"kmeans: vector 1 has the length NaN; want at most 1e+15":  {1, 2, 3, float32(math.NaN())},
		"kmeans: vector 0 has the length +Inf; want at most 1e+15": {float32(math.Inf(1)), 1},
		"kmeans: 0 values of vectors of width 2 and 1 centroids":   {},
	} {
		_, err := kmeans.NewLloyd(x, 2, [][]float32{{1, 2}})
		require.ErrorContains(t, err, want)
	}
	_, err := kmeans.NewLloyd([]float32{1, 2}, 2, [][]float32{{1}})
	require.ErrorContains(t, err, "Start[0] has width 1")
}

func TestWhitenAgainstNumpy(t *testing.T) {
	g, rows := readGolden(t)
	for i, runner := range runners {
		cfg := kmeans.WhitenConfig{Column: "feature", Floor: g.Floor, Normalize: i == 1}
		p, s := beam.NewPipelineWithRoot()
		out := beamtest.Keep(s, kmeans.Whiten(s, beamtest.Create(s, beamtest.Split(rows, 50)), cfg))
		_, err := beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		want := [][][]float32{g.White, g.Unit}[i]
		got := beamtest.Rows(t, out(), func(a, b feature) int { return int(a.ID - b.ID) })
		require.Len(t, got, len(want))
		for r := range got {
			require.InDeltaSlice(t, want[r], got[r].Feature, 1e-5)
		}
	}
}

// check verifies the invariants of every result: complete, consistent sizes,
// distances and inertias; the limits or, without them, nearest centroids.
func check(t require.TestingT, cfg kmeans.Config, rows []feature, labels []label, clusters []kmeans.Centroid) {
	byCode := map[string]kmeans.Centroid{}
	size, inertia := map[string]int64{}, map[string]float64{}
	for _, c := range clusters {
		byCode[c.Code] = c
	}
	require.Len(t, labels, len(rows))
	square := func(x, c []float32) (sum float64) {
		for i := range x {
			d := float64(x[i]) - float64(c[i])
			sum += d * d
		}
		return sum
	}
	for i, l := range labels {
		require.Equal(t, rows[i].ID, l.ID)
		parts := strings.Split(l.Code, ".")
		require.Len(t, parts, len(cfg.Branching))
		for level := range cfg.Branching {
			code, parent := strings.Join(parts[:level+1], "."), strings.Join(parts[:level], ".")
			size[code]++
			d := square(rows[i].Feature, byCode[code].Centroid)
			inertia[code] += d
			if code == l.Code {
				require.InDelta(t, math.Sqrt(d), l.Distance, 1e-4*(1+math.Sqrt(d)))
			}
			if cfg.Balance == 0 {
				for _, c := range clusters {
					if strings.Count(c.Code, ".") == level && strings.HasPrefix(c.Code, parent) && (parent == "" || c.Code[len(parent)] == '.') {
						require.LessOrEqual(t, d, square(rows[i].Feature, c.Centroid)*(1+1e-3)+1e-3)
					}
				}
			}
		}
	}
	require.Len(t, clusters, len(size))
	for _, c := range clusters {
		require.Equal(t, size[c.Code], c.Size, c.Code)
		require.InDelta(t, inertia[c.Code], c.Inertia, 1e-6*(1+inertia[c.Code]))
	}
	if cfg.Balance == 0 {
		return
	}
	parents := map[string]int64{"": int64(len(rows))}
	for level, k := range cfg.Branching {
		next := map[string]int64{}
		for parent, n := range parents {
			share := float64(n) / float64(k)
			for j := range k {
				code := strings.TrimPrefix(fmt.Sprint(parent, ".", j), ".")
				require.LessOrEqual(t, size[code], int64(max(math.Floor(share*cfg.Balance), math.Ceil(share))), "level %d code %s of %d rows", level, code, n)
				require.GreaterOrEqual(t, size[code], int64(min(math.Ceil(share/cfg.Balance), math.Floor(share))), "level %d code %s of %d rows", level, code, n)
				next[code] = size[code]
			}
		}
		parents = next
	}
}

// weighty is a row with a weight.
type weighty struct {
	ID      int32     `arrow:"id"`
	Heft    float32   `arrow:"heft"`
	Feature []float32 `arrow:"feature"`
}

// weigh gives rows weights.
func weigh(rows []feature, weight func(i int) float32) (heavy []weighty) {
	for i, r := range rows {
		heavy = append(heavy, weighty{r.ID, weight(i), r.Feature})
	}
	return heavy
}

func TestWeightsAgainstScikitLearn(t *testing.T) {
	g, rows := readGolden(t)
	heavy := weigh(rows, func(i int) float32 { return g.Weights[i] })
	for _, local := range []bool{false, true} {
		cfg := kmeans.Config{Column: "feature", Weight: "heft", Branching: []int{4}, Iterations: 50, Start: g.Start, Local: local}
		labels, clusters, err := cluster(t, "direct", cfg, beamtest.Split(heavy, 77))
		require.NoError(t, err)
		var codes strings.Builder
		for _, l := range labels {
			codes.WriteString(l.Code)
		}
		require.Equal(t, g.Weighted.Labels, codes.String())
		var inertia float64
		var size int64
		for j, c := range clusters {
			inertia, size = inertia+c.Inertia, size+c.Size
			require.InDeltaSlice(t, g.Weighted.Centroids[j], c.Centroid, 1e-4)
		}
		require.InEpsilon(t, g.Weighted.Inertia, inertia, 1e-6)
		require.EqualValues(t, len(rows), size)
	}
}

// Rows of weight 2 count like two equal rows.
func TestWeightsCount(t *testing.T) {
	rows := blobs(4, 200, 3, 6)
	cfg := kmeans.Config{Column: "feature", Branching: []int{5}, Iterations: 20, Start: [][]float32{{0, 0, 0}, {1, 2, 3}, {-3, 1, 2}, {4, -1, 0}, {-2, -2, -2}}}
	_, want, err := cluster(t, "direct", cfg, append(beamtest.Split(rows, 60), beamtest.Split(rows, 70)...))
	require.NoError(t, err)
	cfg.Weight = "heft"
	_, got, err := cluster(t, "direct", cfg, beamtest.Split(weigh(rows, func(int) float32 { return 2 }), 60))
	require.NoError(t, err)
	require.Len(t, got, len(want))
	for i, c := range got {
		require.Equal(t, want[i].Size, 2*c.Size)
		require.InEpsilon(t, want[i].Inertia, c.Inertia, 1e-9)
		require.InDeltaSlice(t, want[i].Centroid, c.Centroid, 1e-6)
	}
}

// variants are configurations that use different parts of the algorithm.
var variants = map[string]kmeans.Config{
	"plain":                         {},
	"balanced":                      {Balance: 1.2},
	"parallel":                      {Init: kmeans.Parallel},
	"spherical":                     {Spherical: true},
	"tolerant":                      {Tolerance: .05},
	"weighted":                      {Weight: "heft"},
	"weighted, parallel, spherical": {Weight: "heft", Init: kmeans.Parallel, Spherical: true},
}

// configure completes a variant.
func configure(cfg kmeans.Config) kmeans.Config {
	cfg.Column, cfg.Branching, cfg.Iterations, cfg.Seed = "feature", []int{3, 4}, 3, 7
	return cfg
}

// TestSameOnEveryRunner compares runs bit by bit over runners, orders of the batches, ways to split rows into batches,
// from 1 to 50, and whether rows pass through the runner.
func TestSameOnEveryRunner(t *testing.T) {
	rows := blobs(1, 900, 6, 9)
	heavy := weigh(rows, func(i int) float32 { return float32(i%5) / 2 })
	for name, cfg := range variants {
		t.Run(name, func(t *testing.T) {
			cfg := configure(cfg)
			var first []label
			var firstClusters []kmeans.Centroid
			for i, way := range []struct {
				runner string
				size   int
				local  bool
				gather bool
			}{
				{"prism", 100, false, false}, {"direct", 37, false, false}, {"direct", 900, false, false}, {"prism", 18, true, false},
				{"direct", 900, true, false}, {"prism", 50, false, true}, {"direct", 41, false, true},
			} {
				batches := beamtest.Split(heavy, way.size)
				if i > 0 {
					slices.Reverse(batches)
				}
				cfg.Local, cfg.Gather = way.local, ""
				if way.gather {
					cfg.Gather = t.TempDir()
				}
				labels, clusters, err := cluster(t, way.runner, cfg, batches)
				require.NoError(t, err)
				if i == 0 {
					if cfg.Weight == "" && !cfg.Spherical {
						check(t, cfg, rows, labels, clusters)
					}
					first, firstClusters = labels, clusters
					continue
				}
				require.Equal(t, first, labels)
				require.Equal(t, firstClusters, clusters)
			}
			other := cfg
			other.Seed++
			labels, _, err := cluster(t, "direct", other, beamtest.Split(heavy, 100))
			require.NoError(t, err)
			require.NotEqual(t, first, labels, "the seed must matter")
		})
	}
}

// childThreads says that this process is one that TestSameOnThreads started.
const childThreads = "SDR_KMEANS_CHILD"

// TestSameOnThreads compares runs bit by bit over numbers of threads and instruction sets, which are those of a process.
func TestSameOnThreads(t *testing.T) {
	if os.Getenv(childThreads) != "" {
		heavy := weigh(blobs(3, 3000, 40, 9), func(i int) float32 { return float32(i%5) / 2 })
		for _, name := range slices.Sorted(maps.Keys(variants)) {
			labels, clusters, err := cluster(t, "direct", configure(variants[name]), beamtest.Split(heavy, 1500))
			require.NoError(t, err)
			fmt.Printf("child: %s %x\n", name, sha256.Sum256(fmt.Append(nil, labels, clusters)))
		}
		return
	}
	var first []string
	for _, set := range []string{"GOMAXPROCS=1", "GOMAXPROCS=2", "SDR_CPU=portable"} {
		child := exec.Command(os.Args[0], "-test.run=^TestSameOnThreads$")
		child.Env = append(os.Environ(), childThreads+"=1", set)
		out, err := child.Output()
		require.NoError(t, err, "%s", out)
		lines := slices.DeleteFunc(strings.Split(string(out), "\n"), func(l string) bool { return !strings.HasPrefix(l, "child") })
		require.Len(t, lines, len(variants))
		if first == nil {
			first = lines
		}
		require.Equal(t, first, lines, set)
	}
}

// Spherical clustering is that of the scaled vectors.
func TestSpherical(t *testing.T) {
	rows := blobs(5, 300, 4, 5)
	scaled := make([]feature, len(rows))
	for i, r := range rows {
		length := 0.0
		for _, v := range r.Feature {
			length += float64(v) * float64(v)
		}
		scaled[i] = feature{r.ID, make([]float32, len(r.Feature))}
		for j, v := range r.Feature {
			scaled[i].Feature[j] = float32(float64(v) / math.Sqrt(length))
		}
	}
	cfg := kmeans.Config{Column: "feature", Branching: []int{3}, Iterations: 30, Seed: 1, Spherical: true}
	for _, runner := range runners {
		labels, clusters, err := cluster(t, runner, cfg, beamtest.Split(append(rows, feature{1000, make([]float32, 4)}), 64))
		require.NoError(t, err)
		require.InDelta(t, 1, labels[300].Distance, 1e-6, "a vector of length 0 is as far from all directions")
		for i, l := range labels[:300] {
			nearest, least := "", math.Inf(1)
			for _, c := range clusters {
				square, norm := 0.0, 0.0
				for j, v := range scaled[i].Feature {
					square += math.Pow(float64(v)-float64(c.Centroid[j]), 2)
					norm += float64(c.Centroid[j]) * float64(c.Centroid[j])
				}
				require.InDelta(t, 1, norm, 1e-6)
				if square < least {
					nearest, least = c.Code, square
				}
			}
			require.Equal(t, nearest, l.Code)
			require.InDelta(t, math.Sqrt(least), l.Distance, 1e-5)
		}
		p, s := beam.NewPipelineWithRoot()
		given := record.FromStructs[kmeans.Centroid](s, beam.CreateList(s, clusters))
		again := beamtest.Keep(s, kmeans.Assign(s, beamtest.Create(s, beamtest.Split(rows, 50)), given, kmeans.AssignConfig{Column: "feature", Spherical: true}))
		_, err = beam.Run(t.Context(), runner, p)
		require.NoError(t, err)
		require.Equal(t, labels[:300], beamtest.Rows(t, again(), func(a, b label) int { return int(a.ID) - int(b.ID) }))
	}
}

// total returns the inertia of a flat clustering.
func total(clusters []kmeans.Centroid) (inertia float64) {
	for _, c := range clusters {
		inertia += c.Inertia
	}
	return inertia
}

// Silhouettes of a sample are near those of all rows: well separated groups of different sizes.
func TestSilhouettes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 3))
	var rows []feature
	for i := range 20_000 {
		at := []float32{0, 100, 300}[min(i%7, 2)]
		rows = append(rows, feature{int32(i), []float32{at + float32(random.NormFloat64()), 0}})
	}
	cfg := kmeans.Config{Column: "feature", Branching: []int{3}, Iterations: 3, Start: [][]float32{{0, 0}, {100, 0}, {300, 0}}, Local: true}
	_, clusters, err := cluster(t, "direct", cfg, beamtest.Split(rows, 3000))
	require.NoError(t, err)
	mean := 2 / math.Sqrt(math.Pi) // distance of two normal numbers
	for i, other := range []float64{100, 100, 200} {
		require.InDelta(t, 1-mean/other, clusters[i].Silhouette, .002)
	}
}

// TestTolerance checks that iterations end early, at a slightly higher inertia.
func TestTolerance(t *testing.T) {
	batches := beamtest.Split(blobs(8, 2000, 5, 30), 500)
	run := func(iterations int, tolerance float64) float64 {
		cfg := kmeans.Config{Column: "feature", Branching: []int{20}, Iterations: iterations, Tolerance: tolerance, Seed: 2, Local: true}
		_, clusters, err := cluster(t, "direct", cfg, batches)
		require.NoError(t, err)
		return total(clusters)
	}
	inertia := []float64{math.Inf(1)} // by the number of iterations
	for n := 1; n < 12; n++ {
		inertia = append(inertia, run(n, 0))
		require.LessOrEqual(t, inertia[n], inertia[n-1])
	}
	const tolerance = .002
	settled := 2
	for inertia[settled-1]-inertia[settled] > tolerance*inertia[settled-1] {
		settled++
	}
	require.Less(t, settled, 11)
	require.Equal(t, inertia[settled], run(50, tolerance))
	require.Less(t, run(50, 0), inertia[settled])
}

// TestInits checks that both ways to start are about equally good, and better than the first rows.
func TestInits(t *testing.T) {
	rows := blobs(9, 4000, 8, 40)
	inertia := func(cfg kmeans.Config) float64 {
		cfg.Column, cfg.Branching, cfg.Iterations = "feature", []int{40}, 1
		_, clusters, err := cluster(t, "direct", cfg, beamtest.Split(rows, 900))
		require.NoError(t, err)
		require.Len(t, clusters, 40)
		return total(clusters)
	}
	var start [][]float32
	for _, r := range rows[:40] {
		start = append(start, r.Feature)
	}
	first, plus, parallel := inertia(kmeans.Config{Start: start}), inertia(kmeans.Config{}), inertia(kmeans.Config{Init: kmeans.Parallel})
	require.InEpsilon(t, plus, parallel, .1)
	require.Less(t, max(plus, parallel), .9*first)
}

// TestManyClusters has a flat level and a tree with more clusters per parent than the digits 0-9a-z, and more than rows.
func TestManyClusters(t *testing.T) {
	var rows []feature
	for i := range 3000 {
		rows = append(rows, feature{int32(i), []float32{float32(i / 2), 0}}) // pairs of equal rows
	}
	cfg := kmeans.Config{Column: "feature", Branching: []int{1500}, Iterations: 3, Init: kmeans.Parallel}
	for _, r := range rows {
		if r.ID%2 == 0 {
			cfg.Start = append(cfg.Start, r.Feature)
		}
	}
	labels, clusters, err := cluster(t, "direct", cfg, beamtest.Split(rows, 700))
	require.NoError(t, err)
	require.Len(t, clusters, 1500)
	for i, l := range labels {
		require.Equal(t, label{int32(i), strconv.Itoa(i / 2), 0}, l)
	}
	again, err := assign(t, "direct", clusters, beamtest.Split(rows, 1000))
	require.NoError(t, err)
	require.Equal(t, labels, again)

	for _, init := range kmeans.Inits {
		cfg = kmeans.Config{Column: "feature", Branching: []int{50, 40}, Iterations: 30, Seed: 1, Init: init, Local: true}
		labels, clusters, err = cluster(t, "direct", cfg, beamtest.Split(rows, 700))
		require.NoError(t, err)
		check(t, cfg, rows, labels, clusters)
		require.Less(t, len(clusters), 50+2000)
		again, err = assign(t, "direct", clusters, beamtest.Split(rows, 1000))
		require.NoError(t, err)
		require.Equal(t, labels, again)

		// more clusters than distinct rows: every distinct row gets a cluster
		cfg.Branching = []int{60_000}
		_, clusters, err = cluster(t, "direct", cfg, beamtest.Split(rows[:200], 90))
		require.NoError(t, err)
		require.Len(t, clusters, 100)
		require.Zero(t, total(clusters))

		// equal rows: one cluster
		same := make([]feature, 30)
		for i := range same {
			same[i] = feature{int32(i), []float32{3, 4}}
		}
		cfg.Branching = []int{5}
		_, clusters, err = cluster(t, "direct", cfg, beamtest.Split(same, 7))
		require.NoError(t, err)
		require.Equal(t, []kmeans.Centroid{{Code: "0", Size: 30, Centroid: []float32{3, 4}}}, clusters)
	}
}

// TestProperties draws small, awkward data sets: duplicates, fewer distinct rows
// than clusters, empty batches, tight limits.
func TestProperties(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(t, "rows")
		width := rapid.IntRange(1, 3).Draw(t, "width")
		distinct := rapid.IntRange(1, 20).Draw(t, "distinct values")
		scale := rapid.SampledFrom([]float32{1, 1e-6, 1e6}).Draw(t, "scale")
		rows := make([]feature, n)
		for i := range rows {
			v := make([]float32, width)
			for j := range v {
				v[j] = scale * float32(rapid.IntRange(0, distinct-1).Draw(t, "value"))
			}
			rows[i] = feature{int32(i), v}
		}
		cfg := kmeans.Config{
			Column:     "feature",
			Branching:  rapid.SampledFrom([][]int{{2}, {5}, {2, 3}}).Draw(t, "branching"),
			Iterations: rapid.IntRange(1, 4).Draw(t, "iterations"),
			Seed:       rapid.Uint64().Draw(t, "seed"),
			Balance:    rapid.SampledFrom([]float64{0, 1, 1.1, 2}).Draw(t, "balance"),
			Init:       rapid.SampledFrom(kmeans.Inits).Draw(t, "init"),
			Local:      rapid.Bool().Draw(t, "local"),
		}
		if rapid.Bool().Draw(t, "gather") {
			cfg.Gather = dir
		}
		batches := append(beamtest.Split(rows, rapid.IntRange(1, 30).Draw(t, "batch")), record.Of([]feature{}))
		labels, clusters, err := cluster(t, "direct", cfg, batches)
		require.NoError(t, err)
		if scale == 1 {
			check(t, cfg, rows, labels, clusters)
		}
		require.Len(t, labels, n)
	})
}

func TestFewRows(t *testing.T) {
	for _, runner := range runners {
		cfg := kmeans.Config{Column: "feature", Branching: []int{4, 2}, Iterations: 1}
		if runner == "direct" {
			cfg.Gather = t.TempDir()
		}
		labels, clusters, err := cluster(t, runner, cfg, nil)
		require.NoError(t, err)
		require.Empty(t, labels)
		require.Empty(t, clusters)

		labels, clusters, err = cluster(t, runner, cfg, beamtest.Split([]feature{{5, []float32{1, 2}}}, 1))
		require.NoError(t, err)
		require.Equal(t, []label{{5, "0.0", 0}}, labels)
		require.Equal(t, []kmeans.Centroid{{Code: "0", Size: 1, Centroid: []float32{1, 2}}, {Code: "0.0", Size: 1, Centroid: []float32{1, 2}}}, clusters)
	}
}

// TestEmptyClustersAreReseeded puts three of four initial centroids far away, where
// they get no rows.
func TestEmptyClustersAreReseeded(t *testing.T) {
	var rows []feature
	for i := range 40 {
		rows = append(rows, feature{int32(i), []float32{float32(i%4) * 10, float32(i) / 1000}})
	}
	cfg := kmeans.Config{
		Column: "feature", Branching: []int{4}, Iterations: 8,
		Start: [][]float32{{0, 0}, {-500, 1}, {-500, 2}, {-500, 3}},
	}
	_, clusters, err := cluster(t, "prism", cfg, beamtest.Split(rows, 7))
	require.NoError(t, err)
	require.Len(t, clusters, 4)
	for _, c := range clusters {
		require.Positive(t, c.Size)
	}
}

func TestBadData(t *testing.T) {
	good := feature{1, []float32{1, 2}}
	cfg := kmeans.Config{Column: "feature", Branching: []int{2}, Iterations: 1}
	for _, c := range []struct {
		batches []*record.Batch
		want    string
	}{
		{beamtest.Split([]feature{good, {77, []float32{0, float32(math.NaN())}}}, 2), `kmeans: column "feature": row 1 of a batch (id=77) holds NaN at index 1; values must be numbers of magnitude up to 1e+15`},
		{beamtest.Split([]feature{good, {78, []float32{float32(math.Inf(-1)), 0}}}, 2), `(id=78) holds -Inf at index 0`},
		{beamtest.Split([]feature{good, {79, []float32{2e15, 0}}}, 2), `(id=79) holds 2e+15 at index 0`},
		{beamtest.Split([]feature{good, {3, []float32{1, 2, 3}}}, 1), `kmeans: column "feature": vectors have different widths [2 3]; all must be equally long`},
		{[]*record.Batch{record.Of([]label{{}})}, `kmeans: record: expected one column "feature"`},
		{[]*record.Batch{record.Of([]struct {
			Code    string    `arrow:"code"`
			Feature []float32 `arrow:"feature"`
		}{{"x", []float32{1}}})}, `kmeans: the input has a column "code", which the output needs; rename it`},
	} {
		_, _, err := cluster(t, "direct", cfg, c.batches)
		require.ErrorContains(t, err, c.want)
	}
	cfg.Start = [][]float32{{1}, {2}}
	_, _, err := cluster(t, "direct", cfg, beamtest.Split([]feature{good}, 1))
	require.ErrorContains(t, err, `kmeans: Start[0] has width 1; the vectors of column "feature" have 2`)
	cfg.Start, cfg.Weight = nil, "heft"
	for want, rows := range map[string][]*record.Batch{
		`kmeans: Weight: expected one column "heft" of weights, got 0`:                                                      beamtest.Split([]feature{good}, 1),
		`kmeans: Weight: column "heft": row 1 of a batch (id=4, heft=-1) holds -1; weights must be numbers from 0 to 1e+15`: beamtest.Split([]weighty{{3, 1, []float32{1}}, {4, -1, []float32{1}}}, 2),
		`(id=5, heft=NaN) holds NaN`: beamtest.Split([]weighty{{5, float32(math.NaN()), []float32{1}}}, 1),
		`kmeans: Weight: column "heft" holds int64; want float32`: {record.Of([]struct {
			Heft    int64     `arrow:"heft"`
			Feature []float32 `arrow:"feature"`
		}{{1, []float32{1}}})},
	} {
		_, _, err = cluster(t, "direct", cfg, rows)
		require.ErrorContains(t, err, want)
	}
	cfg.Weight = ""
	same := beamtest.Split([]feature{good, good, good, good}, 4)
	_, _, err = cluster(t, "direct", kmeans.Config{Column: "feature", Branching: []int{2}, Iterations: 1, Balance: 1}, append(same, same...))
	require.ErrorContains(t, err, "kmeans: two batches hold the same rows")
}

func TestValidate(t *testing.T) {
	ok := kmeans.Config{Column: "x", Branching: []int{2, 1024}, Iterations: 1, Balance: 1}
	require.NoError(t, ok.Validate())
	require.EqualError(t, kmeans.Config{Balance: 0.5, Branching: []int{1, 1025}, Tolerance: 1, Init: "random", Start: [][]float32{}}.Validate(), strings.Join([]string{
		"kmeans: Column is empty; name the column of vectors",
		"kmeans: Branching[0] is 1; it must be 2 to 1024",
		"kmeans: Branching[1] is 1025; it must be 2 to 1024",
		"kmeans: Iterations is 0; it must be at least 1",
		"kmeans: Tolerance is 1; it must be at least 0 and below 1",
		`kmeans: Init is "random"; want one of k-means++, k-means||`,
		"kmeans: Balance is 0.5; it must be 0 (no limits) or at least 1",
		"kmeans: Start has 0 points; Branching[0] asks for 1",
	}, "\n"))
	require.ErrorContains(t, kmeans.Config{}.Validate(), "kmeans: Branching is empty")
	require.ErrorContains(t, kmeans.Config{Branching: []int{36, 36, 36, 36, 36}}.Validate(), "makes more than 1048576 clusters")
	require.NoError(t, kmeans.Config{Column: "x", Branching: []int{1 << 16, 16}, Iterations: 1, Init: kmeans.Parallel, Tolerance: .1}.Validate())
	require.ErrorContains(t, kmeans.Config{Branching: []int{1<<16 + 1}}.Validate(), "Branching[0] is 65537; it must be 2 to 65536")
	require.ErrorContains(t, kmeans.Config{Column: "x", Weight: "x"}.Validate(), `kmeans: Weight and Column are both "x"`)
	require.EqualError(t, kmeans.WhitenConfig{}.Validate(), "kmeans: Column is empty; name the column of vectors\nkmeans: Floor is 0; it must be above 0 and at most 1")
}

func TestWhitenFewRows(t *testing.T) {
	for _, rows := range [][]feature{nil, {{1, []float32{3, 4}}}, {{1, []float32{3, 4}}, {2, []float32{3, 4}}}} {
		p, s := beam.NewPipelineWithRoot()
		out := beamtest.Keep(s, kmeans.Whiten(s, beamtest.Create(s, beamtest.Split(rows, 1)), kmeans.WhitenConfig{Column: "feature", Floor: 1e-3, Normalize: true}))
		_, err := beam.Run(t.Context(), "direct", p)
		require.NoError(t, err)
		got := beamtest.Rows(t, out(), func(a, b feature) int { return int(a.ID - b.ID) })
		require.Len(t, got, len(rows))
		for _, r := range got {
			require.Equal(t, []float32{0, 0}, r.Feature)
		}
	}
}

// BenchmarkCluster reports the wall time of whole jobs.
func BenchmarkCluster(b *testing.B) {
	for _, c := range []struct {
		rows, width int
		branching   []int
		balance     float64
	}{{9000, 64, []int{4, 4}, 0}, {9000, 64, []int{4, 4}, 1.25}, {100_000, 128, []int{4}, 1.25}} {
		batches := beamtest.Split(blobs(1, c.rows, c.width, 20), 1000)
		for _, runner := range runners {
			b.Run(fmt.Sprintf("%dx%d/%v/%v/%s", c.rows, c.width, c.branching, c.balance, runner), func(b *testing.B) {
				cfg := kmeans.Config{Column: "feature", Branching: c.branching, Iterations: 15, Balance: c.balance}
				for b.Loop() {
					_, _, err := cluster(b, runner, cfg, batches)
					require.NoError(b, err)
				}
			})
		}
	}
}
