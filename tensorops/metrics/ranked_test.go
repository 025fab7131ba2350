package metrics_test

import (
	_ "embed"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/metrics"
)

//go:embed testdata/ranked.json
var rankedGolden []byte

func TestMeanAPEqualsScikitLearn(t *testing.T) {
	var cases []struct {
		Classes int
		Has     []int64
		Scores  []float32
		Want    float64
	}
	require.NoError(t, json.Unmarshal(rankedGolden, &cases))
	require.Len(t, cases, 5)
	for _, c := range cases {
		require.InDelta(t, c.Want, metrics.Ranked{Classes: c.Classes, Scores: c.Scores, Has: c.Has}.MeanAP(), 1e-9)
	}
	require.Zero(t, metrics.Ranked{}.MeanAP())
	require.Equal(t, []int64{1, 0, 1, 0, 0, 1}, metrics.NewRanked(nil, [][]int64{{0, 2}, {2}}, 3).Has)
}

// randomRanked returns a classifier whose scores tell a little about the classes, and a better one.
func randomRanked(images, classes int) (a, b metrics.Ranked) {
	random := rand.New(rand.NewPCG(uint64(images), 1))
	a.Classes, b.Classes = classes, classes
	for range images * classes {
		has := int64(random.IntN(4) / 3)
		score := random.NormFloat64()
		a.Has = append(a.Has, has)
		a.Scores = append(a.Scores, float32(score+.3*float64(has)))
		b.Scores = append(b.Scores, float32(score+.9*float64(has)))
	}
	b.Has = a.Has
	return a, b
}

// The standard errors are those that the spread over many independent sets of images shows.
func TestErrorOfMeanAP(t *testing.T) {
	var values, differences []float64
	for i := range 200 {
		a, b := randomRanked(300+i, 3)
		values, differences = append(values, a.MeanAP()), append(differences, b.MeanAP()-a.MeanAP())
	}
	spread := func(values []float64) float64 {
		sum, squares := 0., 0.
		for _, v := range values {
			sum, squares = sum+v, squares+v*v
		}
		n := float64(len(values))
		return math.Sqrt(squares/n - sum*sum/n/n)
	}
	a, b := randomRanked(400, 3)
	require.InEpsilon(t, spread(values), a.Error(), .35)
	require.InEpsilon(t, spread(differences), b.ErrorFrom(a), .35)
	require.Less(t, b.ErrorFrom(a), math.Hypot(a.Error(), b.Error()), "pairing counts")
	require.Zero(t, a.ErrorFrom(a))
	require.Equal(t, a.Error(), a.Error(), "reproducible")
}

// The bootstrap resamples the images of a task with several classes per image.
func TestBootstrapOfMeanAP(t *testing.T) {
	a, b := randomRanked(400, 3)
	boot := metrics.NewBootstrap([]metrics.Task{{Labels: a.Has, Classes: 3}, {Labels: []int64{0, 1}}}, 1)
	right := []float32{1, 0}
	_, each := boot.Measure([][][]float32{{b.Scores}, {right}}).Minus(boot.Measure([][][]float32{{a.Scores}, {right}})).Intervals()
	require.InDelta(t, b.MeanAP()-a.MeanAP(), each[0].Mean, 1e-12)
	require.InEpsilon(t, 2*1.96*b.ErrorFrom(a), each[0].High-each[0].Low, .2)
	require.False(t, each[0].Level())
	require.True(t, each[1].Level())
}
