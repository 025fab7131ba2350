package report

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/customize"
)

func TestWriteCustomized(t *testing.T) {
	const evil = `</title></style><script>alert("1")</script>`
	p := &CustomizedPage{
		About: About{Title: "Customized for " + evil, Facts: [][2]string{{"run", evil}}},
		Tasks: []CustomizedTask{
			{customize.Result{
				Task: evil, Metric: "mean_per_class", Subnet: "0.1", Images: 12800, Seconds: 61, TestImages: 1234, TestBefore: 50, Test: 52.3,
				Difference: 2.3, Low: 1, High: 3.5,
			}, []customize.Candidate{{Candidate: "as it is", Score: 48}, {Candidate: "trained at 0.03", Score: 51, Error: .5, Images: 12800, Chosen: true}}},
			{customize.Result{Task: "level", Metric: "top1", TestImages: 10, TestBefore: 50, Test: 50.5, Difference: .5, Low: -1, High: 2}, nil},
			{customize.Result{Task: "untested", Metric: "top1"}, nil},
		},
	}
	_, doc := written(t, func(w io.Writer) error { return WriteCustomized(w, p) })
	require.Empty(t, all(doc, "script"))
	rows := func(table *html.Node) (out [][]string) {
		for _, tr := range all(table, "tr")[1:] {
			out = append(out, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
		}
		return out
	}
	tables := all(doc, "table")
	require.Equal(t, [][]string{
		{evil, "mean per class", "0.1", "50.0", "52.3", "+2.3+1.0 to +3.5", "1,234", "12,800", "1 min 01 s"},
		{"level", "top-1", "", "50.0", "50.5", "+0.5 level−1.0 to +2.0", "10", "0", "0.0 s"},
		{"untested", "top-1", "", "–", "–", "", "0", "0", "0.0 s"},
	}, rows(tables[0]))
	require.Equal(t, [][]string{{"as it is", "48.0", "0.0", "0"}, {"trained at 0.03, delivered", "51.0", "0.5", "12,800"}}, rows(tables[1]))
}
