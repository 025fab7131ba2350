package report

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"
)

func TestWriteWatch(t *testing.T) {
	const evil = `</title></style><script>alert("1")</script>`
	p := &WatchPage{
		About: About{Title: "Run " + evil, Command: evil, Facts: [][2]string{{evil, evil}}},
		State: "Stage " + evil + " runs.", Detail: "1m0s of training left.", Refresh: 5,
		Trainings: []Training{
			{Name: evil, Images: 250, Of: 1000, Speed: 123.4, Measured: true, Loss: 4.5678, Std: .1, Wait: .034},
			{Name: "unified", Of: 1000},
		},
		Curves: fullPage().Curves, HealthyStd: .125,
		Stages:  []Stage{{"ingest", "done", 1.25}, {evil, "runs", 65}, {"route", "to do", 0}},
		Subsets: []Subset{{"0.0", 1200}, {"0.1", 300}},
		Log:     []string{"level=INFO " + evil, "second"},
	}
	var b bytes.Buffer
	require.NoError(t, WriteWatch(&b, p))
	source := b.String()
	doc, err := html.Parse(&b)
	require.NoError(t, err)
	require.Len(t, all(doc, "script"), 1, "the page's own")
	sound(t, strings.NewReplacer("<script>", "<pre>", "</script>", "</pre>").Replace(source), doc)
	require.Equal(t, []string{"Training", "Stages", "Subsets", "Log", "About"}, texts(all(doc, "h2")))
	var rows [][]string
	for _, table := range all(doc, "table")[:2] {
		for _, tr := range all(all(table, "tbody")[0], "tr") {
			rows = append(rows, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
		}
	}
	require.Equal(t, [][]string{
		{evil, "", "1,000", "25 %", "123", "3 %", "4.568", "0.100"},
		{"unified", "", "1,000", "0 %", "", "", "", ""},
		{"ingest", "done", "1.2 s"}, {evil, "runs", "1 min 05 s"}, {"route", "to do", ""},
	}, rows)
	bar := all(doc, "progress")[0]
	require.Equal(t, []string{"250", "1000", evil}, []string{attr(bar, "value"), attr(bar, "max"), attr(bar, "aria-label")})
	require.Len(t, all(doc, "svg"), 3)
	require.Equal(t, "Images of 2 subsets, from 300 to 1200", attr(all(doc, "svg")[2].Parent, "aria-label"))
	require.Contains(t, text(doc), "Stage "+evil+" runs. 1m0s of training left.")
	require.Contains(t, text(all(doc, "pre")[0]), evil+" second")

	b.Reset()
	require.NoError(t, WriteWatch(&b, &WatchPage{State: "There is no run yet.", Refresh: 5}))
	doc, err = html.Parse(&b)
	require.NoError(t, err)
	require.Empty(t, all(doc, "h2"))
	require.Contains(t, text(doc), "There is no run yet.")

	p.Curves[0].Loss = nil
	require.ErrorContains(t, WriteWatch(&b, p), "report: curve sdr: 3 steps and 0 values")
}
