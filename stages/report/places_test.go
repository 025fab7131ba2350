package report

import (
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gonum.org/v1/gonum/mat"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// TestPrincipal projects points of an ellipse in three dimensions onto its axes, and another point, which does not count,
// with them.
func TestPrincipal(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	const n = 200
	long, short := [3]float64{2. / 3, 2. / 3, 1. / 3}, [3]float64{-1 / math.Sqrt2, 1 / math.Sqrt2, 0}
	features := mat.NewDense(n+1, 3, nil)
	var along, across []float64
	for i := range n {
		angle := 2 * math.Pi * float64(i) / n
		a, b := 3*math.Cos(angle), math.Sin(angle)
		along, across = append(along, a), append(across, b)
		for d := range 3 {
			features.Set(i, d, a*long[d]+b*short[d]+1e-3*random.NormFloat64())
		}
	}
	features.SetRow(n, []float64{20, 20, 10})
	at, shares, err := principal(features, n)
	require.NoError(t, err)
	require.InDelta(t, .9, shares[0], 1e-3)
	require.InDelta(t, .1, shares[1], 1e-3)
	for i := range n {
		require.InDelta(t, math.Abs(along[i]), math.Abs(at.At(i, 0)), .02)
		require.InDelta(t, math.Abs(across[i]), math.Abs(at.At(i, 1)), .02)
	}
	require.InDelta(t, 30, math.Abs(at.At(n, 0)), .1)
	require.InDelta(t, 0, at.At(n, 1), .1)

	_, _, err = principal(features, 2)
	require.EqualError(t, err, "2 images with 3 features have no two principal components")
	_, shares, err = principal(mat.NewDense(4, 2, []float64{1, 2, 1, 2, 1, 2, 1, 2}), 4)
	require.NoError(t, err)
	require.Equal(t, [2]float64{}, shares, "equal images have no variance")
}

// TestMaps draws the maps of two subsets and two tasks.
func TestMaps(t *testing.T) {
	p := fullPage()
	p.Shares = [2]float64{.31, .12}
	p.Places = []Place{{X: -1, Y: 0, Subset: "10.1"}, {X: -2, Y: 1, Subset: "10.1"}, {X: 1, Y: 3, Subset: "2.0"}, {X: 0, Y: 0, Task: "emoji"}, {X: 3, Y: 3, Task: "a<b"}, {X: 3, Y: 3, Task: "emoji"}}
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Contains(t, texts(all(doc, "h2")), "Map of the pool")
	var maps []string
	for _, svg := range all(doc, "svg") {
		if label := attr(svg.Parent, "aria-label"); strings.Contains(strings.ToLower(label), "map of") {
			maps = append(maps, label)
			dots := 0
			for _, path := range all(svg, "path") {
				dots += strings.Count(attr(path, "d"), "h0")
			}
			require.Equal(t, []int{3, 3 + 2, 3 + 1}[len(maps)-1], dots)
		}
	}
	require.Equal(t, []string{
		"Map of 3 images of the pool by the first two principal components of their features; centers of the subsets: 2.0 1.00, 3.00; 10.1 -1.00, 1.00",
		"2 images of the task emoji on the map of the pool, around 3.00, 3.00",
		"1 images of the task a<b on the map of the pool, around 3.00, 3.00",
	}, maps)
	require.Contains(t, text(doc), "first principal component (31 % of the variance)")
}

// TestRoutingMap draws the candidates' better scores.
func TestRoutingMap(t *testing.T) {
	p := fullPage()
	row := func(task, net, norm string, score float64, candidate, routed bool) evaluate.Row {
		return evaluate.Row{Task: task, Protocol: "knn", Subnet: net, Norm: norm, Score: score, Candidate: candidate, Routed: routed}
	}
	p.Rows = []evaluate.Row{
		row("emoji", "unified", "training", 99, false, false), row("emoji", "unified", "task", 99, false, false),
		row("emoji", "10", "task", 60, true, false), row("emoji", "10", "training", 50, true, false),
		row("emoji", "2", "task", 70, true, false), row("emoji", "2", "training", 80, true, true),
		row("emoji", "root", "training", 40, true, false),
	}
	source, doc := write(t, p)
	sound(t, source, doc)
	label := "Scores of the router by task and net; emoji from 40.0 to 80.0, chosen 2 with 80.0"
	found := 0
	for _, svg := range all(doc, "svg") {
		if attr(svg.Parent, "aria-label") != label {
			continue
		}
		found++
		require.Equal(t, []string{"emoji", "root", "2", "10"}, texts(all(svg, "text")))
		var cells []string
		for _, rect := range all(svg, "rect") {
			cells = append(cells, strings.TrimPrefix(attr(rect, "style"), "fill:var(--hue0);fill-opacity:"))
		}
		require.Equal(t, []string{"0.54", "1.00;stroke:var(--ink);stroke-width:2", "0.08"}, cells)
	}
	require.Equal(t, 1, found)
	require.Nil(t, routingMap(scores(p.Rows[6:], "knn")), "one net leaves no choice")
}
