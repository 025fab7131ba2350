package report

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/detect"
)

func writeDetections(t *testing.T, p *DetectionPage) *html.Node {
	t.Helper()
	_, doc := written(t, func(w io.Writer) error { return WriteDetections(w, p) })
	return doc
}

func TestWriteDetections(t *testing.T) {
	const evil = `</title></style><script>alert("1")</script>`
	figures := detect.Figures{AP: new(33.14), AP50: new(60.), AP75: new(30.)}
	p := &DetectionPage{
		About: About{Title: "Detections on " + evil, Facts: [][2]string{{"data", evil}}},
		Results: &detect.Results{Objects: 1234, Images: 60, LeftOut: 3, Nets: []detect.Net{
			{
				Net: evil, Seeds: []int64{1, 2}, Figures: figures, AP95: [2]*float64{new(27.), new(40.)},
				Classes: map[string]detect.Figures{"plum": {AP: new(50.)}, evil: {AP: new(16.28)}},
			},
			{Net: "better", Seeds: []int64{1, 2}, Figures: figures, AP95: [2]*float64{new(28.), new(41.)}, Difference: new(2.), Difference95: [2]*float64{new(.5), new(3.)}},
			{Net: "level", Seeds: []int64{1, 2}, Difference: new(-.5), Difference95: [2]*float64{new(-2.), new(.3)}},
		}},
		Annotated: true, Score: .3,
		Galleries: []Gallery{{evil, []detect.Drawing{{Source: evil, JPEG: []byte("first")}, {Source: "b.jpg", JPEG: []byte("x")}}}, {"level, seed 1", nil}},
	}
	doc := writeDetections(t, p)
	require.Empty(t, all(doc, "script"))
	require.Equal(t, []string{"Average precision", "What was found", "About"}, texts(all(doc, "h2")), "the figures are above the pictures")
	require.Equal(t, []string{evil, "level, seed 1"}, texts(all(doc, "h3")))
	table := all(doc, "table")[0]
	require.Equal(t, "Percent, 1,234 objects in 60 images; 3 more could not be used", text(all(table, "caption")[0]))
	var rows [][]string
	for _, tr := range all(table, "tr") {
		rows = append(rows, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
	}
	require.Equal(t, [][]string{
		{"net", "AP", "AP − " + evil, "AP50", "AP75", "seeds"},
		{evil, "33.127.0 to 40.0", "", "60.0", "30.0", "2"},
		{"better", "33.128.0 to 41.0", "+2.0+0.5 to +3.0", "60.0", "30.0", "2"},
		{"level", "–", "−0.5 level−2.0 to +0.3", "–", "–", "2"},
	}, rows)
	rows = nil
	for _, tr := range all(all(doc, "table")[1], "tr") {
		rows = append(rows, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
	}
	require.Equal(t, []string{"class", evil, "better", "level"}, rows[0])
	require.Equal(t, [][]string{{evil, "16.3", "–", "–"}, {"plum", "50.0", "–", "–"}}, rows[1:])
	pictures := all(doc, "img")
	require.Len(t, pictures, 2)
	require.Equal(t, evil, attr(pictures[0], "alt"))
	require.Equal(t, string(dataURL([]byte("x"))), attr(pictures[1], "src"))
	require.Contains(t, text(doc), "White boxes are annotated. Boxes with a class were found, with a score of at least 0.3.")

	p.Results.Nets, p.Results.LeftOut, p.Annotated = p.Results.Nets[1:2], 0, false
	p.Results.Nets[0].Difference = nil
	doc = writeDetections(t, p)
	require.NotContains(t, text(doc), "AP − ", "one net leaves nothing to compare")
	require.NotContains(t, text(doc), "level; bold")
	require.NotContains(t, text(doc), "could not be used")
	require.NotContains(t, text(doc), "annotated.")

	require.Equal(t, []string{"What was found"}, texts(all(writeDetections(t, &DetectionPage{Galleries: p.Galleries}), "h2")))
}
