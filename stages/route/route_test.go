package route

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

func TestBest(t *testing.T) {
	score := func(subnet string, score float64, level int64) Score {
		return Score{Task: "t", Subnet: subnet, Norm: NormTraining, Candidate: true, Scorer: KNN, Score: score, Level: level}
	}
	scores := []Score{score("1", 50, 1), score("0", 50, 1), score("0.0", 50, 2), score("root", 49, 0), {Task: "other", Scorer: KNN, Subnet: "x", Candidate: true, Score: 90}}
	best := func(task string) Score { return Best(Candidates(scores, task, KNN)) }
	require.Equal(t, "0", best("t").Subnet, "on a tie the shorter code, then the name that sorts first")
	scores[3].Score = 50
	require.Equal(t, "root", best("t").Subnet)
	scores[2].Score = 50.1
	require.Equal(t, "0.0", best("t").Subnet)
	baseline := score("unified", 99, 0)
	baseline.Candidate = false
	adapted, linear := scores[2], scores[0]
	adapted.Norm, linear.Scorer, linear.Score = NormTask, Linear, 99
	scores = append(scores, baseline, adapted, linear)
	require.Equal(t, scores[2], best("t"), "on a tie the statistics of the training")
	scores[6].Score++
	require.Equal(t, scores[6], best("t"))
	require.Equal(t, linear, Best(Candidates(scores, "t", Linear)))
	require.Equal(t, "x", best("other").Subnet)
	require.Zero(t, best("none"))

	scores[6].StdErr = 1.09
	require.Equal(t, "0.0", best("t").Subnet, "0 and root are 1.1 lower")
	scores[6].StdErr = 1.11
	require.Equal(t, "root", best("t").Subnet, "within a standard error, the nearest to the root")
	scores[0].Score = 50.5
	require.Equal(t, "root", best("t").Subnet)
	scores[3].Score = 49
	require.Equal(t, "1", best("t").Subnet, "of two as near to the root, the better")
}

func TestRank(t *testing.T) {
	scores := []Score{
		{Subnet: "root", Scorer: KNN, Candidate: true, Score: 50},
		{Subnet: "0", Scorer: KNN, Candidate: true, Score: 52, StdErr: 3, Level: 1},
		{Subnet: "1", Scorer: KNN, Candidate: true, Score: 51, Level: 1},
		{Subnet: "unified", Scorer: KNN, Score: 51.5},
		{Subnet: "1", Scorer: Linear, Candidate: true, Score: 2, Level: 1},
	}
	rank(scores, []string{KNN, Linear})
	var got []string
	var ranks []int64
	for _, s := range scores {
		got, ranks = append(got, s.Subnet), append(ranks, s.Rank)
	}
	require.Equal(t, []string{"root", "0", "unified", "1", "1"}, got)
	require.Equal(t, []int64{1, 2, 0, 3, 1}, ranks)
}

// TestChosen checks that every task is paired with its net of rank 1, with the statistics that were chosen.
func TestChosen(t *testing.T) {
	of := []tasks.Task{{Name: "a", Train: "a-train", Test: "a-test", Metric: tasks.MeanPerClass}, {Name: "b", Train: "b-train", Metric: tasks.Top1}}
	fn := &chosenFn{Tasks: of}
	var got []Pair
	for _, scores := range [][]Score{
		{{Task: "b", Subnet: "root", Rank: 2, Model: "r"}, {Task: "b", Subnet: "0", Norm: NormTask, Scorer: KNN, Score: 51, Rank: 1, Level: 1, Model: "m"}},
		{{Task: "a", Subnet: "root", Norm: NormTraining, Rank: 1, Model: "r"}, {Task: "a", Subnet: "unified", Model: "u"}},
		{{Task: "other", Subnet: "root", Rank: 1}},
		{{Task: "a", Subnet: "unified", Model: "u"}},
	} {
		require.NoError(t, fn.ProcessElement(record.Of(scores), func(b *record.Batch) {
			rows, err := record.Rows[Pair](b)
			require.NoError(t, err)
			got = append(got, rows...)
		}))
	}
	require.Equal(t, []Pair{
		{Task: "b", Metric: tasks.Top1, Train: "b-train", Subnet: "0", Candidate: true, Level: 1, Model: "m", Norm: NormTask, Scorer: KNN, Score: 51},
		{Task: "a", Metric: tasks.MeanPerClass, Train: "a-train", Test: "a-test", Subnet: "root", Candidate: true, Model: "r", Norm: NormTraining},
	}, got)
}

func TestSubset(t *testing.T) {
	require.Equal(t, []string{"", "", "0.1", "0.1"}, []string{Subset("root", 0), Subset("root-all", 0), Subset("0.1", 2), Subset("0.1-all", 2)})
}

func TestFormatScore(t *testing.T) {
	require.Equal(t, "51.2 %", FormatScore(KNN, 51.23))
	require.Equal(t, "-0.123", FormatScore(LogME, -.1234))
}

func TestByRun(t *testing.T) {
	pairs := []Pair{{Model: "a/models/x"}, {Model: "b/models/x"}, {Model: "a/models/y"}}
	require.Equal(t, [][]Pair{{pairs[0], pairs[2]}, {pairs[1]}}, byRun(pairs))
	require.Empty(t, byRun(nil))
}

func TestValidate(t *testing.T) {
	require.Contains(t, Scorers(), Nearest)
	require.NotEmpty(t, Summary(Nearest))
	require.NoError(t, Config{Scorers: []string{Nearest, KNN}}.Validate())
	require.NoError(t, Config{Scorers: []string{KNN}, Beam: 2}.Validate())
	require.ErrorContains(t, Config{Scorers: []string{Nearest}, Beam: 2}.Validate(), "the scorer nearest does not score level by level")
	require.ErrorContains(t, Config{Scorers: []string{"svm"}}.Validate(), `there is no scorer "svm"`)
}

func TestInOrder(t *testing.T) {
	models := []train.Model{
		{Subnet: "0.0", Level: 2}, {Subnet: "0.1", Level: 2}, {Subnet: "1.0", Level: 2}, {Subnet: "11.0-all", Level: 2}, {Subnet: "1", Level: 1},
		{Subnet: "root"},
	}
	slices.SortStableFunc(models, InOrder)
	var got []string
	for _, m := range models {
		got = append(got, m.Subnet)
	}
	require.Equal(t, []string{"root", "1", "0.0", "1.0", "11.0-all", "0.1"}, got, "those with the same last choice share the first stage")
}

func TestBelow(t *testing.T) {
	for _, c := range []struct {
		subnet, node string
		want         bool
	}{
		{"0", "", true}, {"1.2", "1", true}, {"1.2-all", "1.2", true}, {"12", "1", false}, {"1", "1.2", false}, {"2.1", "1", false},
	} {
		require.Equal(t, c.want, below(c.subnet, c.node), "%v", c)
	}
}

// golden is what testdata/golden.py computed.
type golden struct {
	Features []float32
	Labels   []int64
	Classes  int
	LogME    float64
	Linear   float64
	Sets     [][]int64
	Several  map[string]float64 // by scorer, of images with the classes in Sets
}

func readGolden(t *testing.T, pool *kernels.Pool) (golden, *labeled.Set) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(text, &g))
	n := len(g.Labels)
	return g, &labeled.Set{
		Features: dense.NewEngine(pool).Matrix(g.Features, n, len(g.Features)/n), Labels: g.Labels, Classes: make([]string, g.Classes),
	}
}

func TestScorersMatchPython(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	g, set := readGolden(t, pool)
	score, _, err := scorers[LogME].Score(pool, set, tasks.Top1)
	require.NoError(t, err)
	require.InDelta(t, g.LogME, score, 1e-5)
	score, stdErr, err := scorers[Linear].Score(pool, set, tasks.Top1)
	require.NoError(t, err)
	require.InDelta(t, g.Linear, score, 1e-9)
	require.InDelta(t, 100*math.Sqrt(g.Linear/100*(1-g.Linear/100)/60), stdErr, 1e-9)
}

// Scorers of images with several classes.
func TestScorersOfSeveralClasses(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	g, set := readGolden(t, pool)
	set.Sets = g.Sets
	for i, classes := range g.Sets {
		set.Labels[i] = classes[0]
	}
	require.Len(t, g.Several, 3)
	for name, want := range g.Several {
		score, stdErr, err := scorers[name].Score(pool, set, tasks.MeanAP)
		require.NoError(t, err)
		require.InDelta(t, want, score, 1e-4, name)
		require.Equal(t, name == LogME, stdErr == 0)
	}
	score, stdErr, err := scorers[HeldOut].Score(pool, set, tasks.MeanAP)
	require.NoError(t, err)
	require.InDelta(t, g.Several[KNN], score, 3*stdErr)
}

// Every scorer prefers features that separate the classes to the same features with the labels shuffled.
func TestScorersSeeClasses(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	for name := range scorers {
		g, set := readGolden(t, pool)
		with, _, err := scorers[name].Score(pool, set, tasks.MeanPerClass)
		require.NoError(t, err)
		for i := range set.Labels {
			set.Labels[i] = int64(i) % int64(g.Classes)
		}
		without, _, err := scorers[name].Score(pool, set, tasks.MeanPerClass)
		require.NoError(t, err)
		require.Greater(t, with, without, name)
		require.NotEmpty(t, Summary(name))
	}
}

func TestScorersRefuse(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	for name := range scorers {
		same := &labeled.Set{Features: dense.NewEngine(pool).Matrix(make([]float32, 8), 4, 2), Labels: []int64{0, 1, 0, 1}, Classes: make([]string, 2)}
		_, _, err := scorers[name].Score(pool, same, tasks.Top1)
		require.NoError(t, err, "features without any variance are bad, not wrong: %s", name)
		same.Features.Data().([]float32)[3] = float32(math.NaN())
		_, _, err = scorers[name].Score(pool, same, tasks.Top1)
		require.Error(t, err, name)
	}
	alone := &labeled.Set{Features: dense.NewEngine(pool).Matrix([]float32{1, 2, 3, 4}, 2, 2), Labels: []int64{0, 1}, Classes: make([]string, 2)}
	_, _, err := scorers[HeldOut].Score(pool, alone, tasks.Top1)
	require.ErrorContains(t, err, "no class has two images")
}

// Classes of one image each, and many more classes than images, have a score.
func TestScorersOfManyClasses(t *testing.T) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	const images, dim, classes = 60, 8, 10_000
	random := rand.New(rand.NewPCG(1, 2))
	x := make([]float32, images*dim)
	for i := range x {
		x[i] = float32(random.NormFloat64())
	}
	single := &labeled.Set{Features: dense.NewEngine(pool).Matrix(x, images, dim), Classes: make([]string, classes)}
	for i := range images {
		single.Labels = append(single.Labels, int64(i*classes/images))
	}
	pairs := *single
	pairs.Labels = slices.Clone(single.Labels)
	for i := range images {
		pairs.Labels[i] = single.Labels[i/2]
	}
	for name, s := range scorers {
		for _, metric := range []string{tasks.Top1, tasks.MeanPerClass} {
			score, _, err := s.Score(pool, &pairs, metric)
			require.NoError(t, err, name)
			require.False(t, math.IsNaN(score) || math.IsInf(score, 0), name)
			score, stdErr, err := s.Score(pool, single, metric)
			if name == HeldOut {
				require.ErrorContains(t, err, "no class has two images")
				continue
			}
			require.NoError(t, err, name)
			if name != LogME {
				require.Zero(t, score, "%s: no other image has the class", name)
				require.Zero(t, stdErr, name)
			}
		}
	}
}
