package report

import (
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/study"
)

// studyResults makes results for arms, budgets and protocols on three tasks, of which the second is level.
func studyResults(arms []string, budgets []int64, protocols ...string) *study.Results {
	r := &study.Results{Results: []study.Result{{Seed: 1}, {Seed: 2}}}
	for _, protocol := range protocols {
		for a, arm := range arms {
			for b, images := range budgets {
				for t, task := range []string{"", "birds", "cars", "pets"} {
					for n, net := range study.Nets {
						mean := 20 + float64(10*n+5*b+a)
						r.Means = append(r.Means, study.Mean{Arm: arm, Images: images, Protocol: protocol, Task: task, Net: net, Mean: mean, Low: mean - 2, High: mean + 1.5})
					}
					for d, difference := range study.Differences {
						if difference.First && a == 0 || difference.Net == study.Customized {
							continue
						}
						c := study.Comparison{
							Arm: arm, Images: images, Protocol: protocol, Task: task, Net: study.Routed, OverArm: arm, Over: difference.Over,
							Difference: 1.25 + float64(d), Low: .5, High: 2 + float64(d),
						}
						if difference.First {
							c.OverArm = arms[0]
						}
						if t == 2 {
							c.Difference, c.Low, c.Level = -.5, -3, true
						}
						r.Comparisons = append(r.Comparisons, c)
					}
				}
			}
		}
	}
	return r
}

func writeStudy(t *testing.T, p *StudyPage) (string, *html.Node) {
	t.Helper()
	return written(t, func(w io.Writer) error { return WriteStudy(w, p) })
}

func TestWriteStudy(t *testing.T) {
	p := &StudyPage{
		About: About{
			Title: "Study late", ID: "0190", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Command: "sdr study late.yaml",
			Facts: [][2]string{{"version", "v1"}},
		},
		File:    "arms: {early: , late: }",
		Results: studyResults([]string{"early", "late"}, []int64{200_000, 1_500_000}, "knn", "linear"),
		Stages:  []StageCost{{"ingest", 1, 4.25}, {"train", 3, 7384}},
		Arms:    []ArmCost{{"early", 100, 75.6, []string{"ingest", "unified"}}, {"late", 7200, 0, nil}},
	}
	_, doc := writeStudy(t, p)
	require.Equal(t, []string{"Results", "Cost", "The study"}, texts(all(doc, "h2")))
	require.Equal(t, []string{"By kNN", "By linear probe", "Command", "Study file"}, texts(all(doc, "h3")))
	require.Equal(t, p.Command, text(all(doc, "pre")[0]))
	require.Equal(t, p.File, text(all(doc, "pre")[1]))

	tables := all(doc, "table")
	require.Len(t, tables, 2*(1+2)+2+1)
	var rows [][]string
	for _, tr := range all(tables[0], "tr") {
		rows = append(rows, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
	}
	require.Equal(t, []string{
		"arm", "random", "unified", "unified, best norm", "one-subset batches", "routed", "mean of sub-nets", "best sub-net",
		"routed − unified", "routed − unified, best norm", "routed − one-subset batches", "routed − first arm's",
	}, rows[0])
	require.Equal(t, []string{
		"early, 200 k", "20.018.0 to 21.5", "30.028.0 to 31.5", "40.038.0 to 41.5", "50.048.0 to 51.5", "60.058.0 to 61.5", "70.068.0 to 71.5", "80.078.0 to 81.5",
		"+1.3+0.5 to +2.0", "+2.3+0.5 to +3.0", "+3.3+0.5 to +4.0", "",
	}, rows[1])
	require.Equal(t, "late, 1.5 M", rows[4][0])
	require.Equal(t, "+7.3+0.5 to +8.0", rows[4][11])
	require.Contains(t, text(tables[1]), "cars")
	require.Contains(t, text(tables[1]), "−0.5 level−3.0 to +2.0")
	require.NotContains(t, text(tables[1]), "first arm's", "the first arm is not compared with itself")
	require.Contains(t, text(tables[2]), "first arm's")
	require.Contains(t, text(tables[6]), "train32 h 03 min")
	require.Contains(t, text(tables[6]), "all2 h 03 min")
	require.Contains(t, text(tables[7]), "early1 min 40 s1 min 16 singest, unified")

	charts := all(doc, "svg")
	require.Len(t, charts, 2*(1+2+2))
	marks := func(svg *html.Node) (bands, curves, dots, hollow int) {
		for _, path := range all(svg, "path") {
			bands += strings.Count(attr(path, "style"), "fill-opacity")
			curves += strings.Count(attr(path, "style"), "fill:none")
		}
		for _, circle := range all(svg, "circle") {
			dots++
			hollow += strings.Count(attr(circle, "style"), "fill:var(--paper)")
		}
		return bands, curves, dots, hollow
	}
	whiskers := regexp.MustCompile(`stroke:var\(--hue0\);stroke-width:1.6;stroke-dasharray`)
	for i, want := range [][]int{{0, 0, 4, 0}, {3, 3, 6, 0}, {3, 3, 6, 0}, {0, 0, 3, 1}, {0, 0, 3, 1}} {
		bands, curves, dots, hollow := marks(charts[i])
		require.Equal(t, want, []int{bands, curves, dots, hollow}, i)
		lines := 0
		for _, path := range all(charts[i], "path") {
			lines += len(whiskers.FindAllString(attr(path, "style"), -1))
		}
		if bands == 0 {
			require.Equal(t, dots, lines, "one whisker each")
		}
	}
	require.Contains(t, text(charts[0]), "late, 1.5 M")
	require.Contains(t, text(charts[1]), "200 k")
	require.Equal(t, "Routed − unified by task, late, with 95 % intervals; birds +1.3 (+0.5 to +2.0); cars −0.5 (−3.0 to +2.0), level; pets +1.3 (+0.5 to +2.0)", attr(charts[4].Parent, "aria-label"))
	require.Equal(t, "Mean over tasks by images seen, early, with 95 % intervals; unified from 30.0 to 35.0; one-subset batches from 50.0 to 55.0; routed from 60.0 to 65.0", attr(charts[1].Parent, "aria-label"))
	require.Equal(t, []string{"unified: 35.0", "one-subset batches: 55.0", "routed: 65.0"}, legends(doc)[2:5])
}

// TestWriteStudyParts leaves out what a small study does not have.
func TestWriteStudyParts(t *testing.T) {
	_, doc := writeStudy(t, &StudyPage{About: About{Title: "Study"}})
	require.Equal(t, []string{"The study"}, texts(all(doc, "h2")))

	r := studyResults([]string{"alone"}, []int64{1000}, "knn")
	r.Results = r.Results[:1]
	_, doc = writeStudy(t, &StudyPage{Results: r})
	require.Len(t, all(doc, "svg"), 2, "no curves of one budget")
	require.NotContains(t, text(doc), "first arm's")
	require.Contains(t, text(doc), "there is one seed")
	require.Equal(t, []string{"By task"}, texts(all(doc, "h4")))
}

func TestWriteStudyEscapes(t *testing.T) {
	const evil = `</title></style><script>alert("1")</script>`
	p := &StudyPage{About: About{Title: evil, Command: evil}, File: evil, Results: studyResults([]string{evil}, []int64{1000, 2000}, evil), Stages: []StageCost{{evil, 1, 1}}, Arms: []ArmCost{{evil, 1, 1, []string{evil}}}}
	_, doc := writeStudy(t, p)
	require.Empty(t, all(doc, "script"))
	require.Equal(t, evil, text(all(doc, "title")[0]))
}
