package report

import (
	"bytes"
	"encoding/xml"
	"io"
	"math"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/html"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// rows are results of two tasks; fashion has none for one-subset batches.
var rows = answered([]evaluate.Row{
	{Task: "emoji", Metric: "top1", Protocol: "knn", Subnet: "unified", Norm: "training", Value: 50, TestImages: 100},
	{Task: "emoji", Metric: "top1", Protocol: "knn", Subnet: "unified_subset_batches", Norm: "training", Value: 52, TestImages: 100},
	{Task: "emoji", Metric: "top1", Protocol: "knn", Subnet: "root", Norm: "training", Value: 48, TestImages: 100, Candidate: true},
	{Task: "emoji", Metric: "top1", Protocol: "knn", Subnet: "2", Norm: "training", Value: 51, TestImages: 100, Candidate: true, Routed: true},
	{Task: "fashion", Metric: "mean_per_class", Protocol: "knn", Subnet: "unified", Norm: "training", Value: 80, Score: 70, TestImages: 1000},
	{Task: "fashion", Metric: "mean_per_class", Protocol: "knn", Subnet: "unified", Norm: "task", Value: 80.5, Score: 71, TestImages: 1000},
	{Task: "fashion", Metric: "mean_per_class", Protocol: "knn", Subnet: "root", Norm: "training", Value: 81, TestImages: 1000, Candidate: true, Routed: true},
	{Task: "fashion", Metric: "mean_per_class", Protocol: "knn", Subnet: "2", Norm: "training", Value: 82.25, TestImages: 1000, Candidate: true},
})

// answered adds predictions of one class, as good as the value of each row. What a routed net gains is more than its value
// tells, since it is wrong about the first images.
func answered(rows []evaluate.Row) []evaluate.Row {
	for i := range rows {
		r := &rows[i]
		r.Labels, r.Predicted = make([]int32, r.TestImages), make([]int32, r.TestImages)
		first := 0
		if r.Routed {
			first = 5
		}
		right := int(math.Round(r.Value / 100 * float64(r.TestImages)))
		for im := range r.Predicted {
			if im < first || im >= first+right {
				r.Predicted[im] = 1
			}
		}
	}
	return rows
}

func fullPage() *Page {
	grey := bytes.Repeat([]byte{200}, 4*4*3)
	return &Page{
		About: About{
			Title: "A run", ID: "0190", Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
			Command: "sdr pretrain --data pool",
			Facts:   [][2]string{{"recipe", "default"}, {"images", "1,000"}},
		},
		Curves: []Curve{
			{Name: "sdr", Steps: []int{19, 39, 59}, Loss: []float64{5, math.NaN(), 3}, Std: []float64{.1, math.Inf(1), .12}},
			{Name: "unified", Steps: []int{19}, Loss: []float64{4}, Std: []float64{.11}},
		},
		HealthyStd: .125,
		Sheets:     []Sheet{{Code: "0", Size: 1234, Side: 4, Pixels: [][]byte{grey, grey, grey}}},
		Results:    evaluate.Collect(rows, []evaluate.Dead{{Task: "birds", Reason: "no <label>"}}),
		Files:      []string{"results.json"},
	}
}

// write writes a page and parses it.
func write(t *testing.T, p *Page) (string, *html.Node) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, Write(&b, p))
	doc, err := html.Parse(&b)
	require.NoError(t, err)
	b.Reset()
	require.NoError(t, Write(&b, p))
	return b.String(), doc
}

// all returns the elements with a name, in order.
func all(doc *html.Node, name string) (found []*html.Node) {
	for n := range doc.Descendants() {
		if n.Type == html.ElementNode && n.Data == name {
			found = append(found, n)
		}
	}
	return found
}

func text(n *html.Node) string {
	var b strings.Builder
	for d := range n.Descendants() {
		if d.Type == html.TextNode {
			b.WriteString(d.Data)
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

func texts(nodes []*html.Node) (s []string) {
	for _, n := range nodes {
		s = append(s, text(n))
	}
	return s
}

func attr(n *html.Node, key string) string {
	for _, a := range n.Attr {
		if a.Key == key {
			return a.Val
		}
	}
	return ""
}

// balanced fails if the tags of the source do not nest; browsers silently repair that.
func balanced(t *testing.T, source string) {
	t.Helper()
	void := map[string]bool{"meta": true, "img": true, "br": true}
	var open []string
	for z := html.NewTokenizer(strings.NewReader(source)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			require.ErrorIs(t, z.Err(), io.EOF)
			break
		}
		tag := z.Token().Data
		switch {
		case kind == html.StartTagToken && !void[tag]:
			open = append(open, tag)
		case kind == html.EndTagToken:
			require.NotEmpty(t, open, tag)
			require.Equal(t, open[len(open)-1], tag)
			open = open[:len(open)-1]
		}
	}
	require.Empty(t, open)
}

var (
	svgElement = regexp.MustCompile(`(?s)<svg.*?</svg>`)
	outside    = regexp.MustCompile(`(?i)https?:|src=["']?//|@import|url\(|<script|<link|<iframe|<object|<base`)
	namespaces = strings.NewReplacer(`xmlns="http://www.w3.org/2000/svg"`, "", `xmlns:xlink="http://www.w3.org/1999/xlink"`, "")
)

// written returns a page's source and, as it is sound, what it says.
func written(t *testing.T, write func(w io.Writer) error) (source string, doc *html.Node) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, write(&b))
	source = b.String()
	doc, err := html.Parse(&b)
	require.NoError(t, err)
	sound(t, source, doc)
	return source, doc
}

// sound checks what holds for every page.
func sound(t *testing.T, source string, doc *html.Node) {
	t.Helper()
	balanced(t, source)
	require.Empty(t, outside.FindAllString(namespaces.Replace(source), -1), "reaches outside the file")
	require.NotContains(t, source, "ZgotmplZ")
	require.Len(t, all(doc, "h1"), 1)
	require.Len(t, all(doc, "title"), 1)
	for _, im := range all(doc, "img") {
		require.NotEmpty(t, attr(im, "alt"))
		require.True(t, strings.HasPrefix(attr(im, "src"), "data:image/jpeg;base64,"))
	}
	for _, th := range all(doc, "th") {
		require.Contains(t, []string{"col", "row"}, attr(th, "scope"))
	}
	for _, svg := range all(doc, "svg") {
		require.Equal(t, "img", attr(svg.Parent, "role"))
		require.NotEmpty(t, attr(svg.Parent, "aria-label"))
	}
	for _, svg := range svgElement.FindAllString(source, -1) {
		for d := xml.NewDecoder(strings.NewReader(svg)); ; {
			_, err := d.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
		}
		require.Regexp(t, `var\(--ink\)`, svg)
		require.NotRegexp(t, `:#|NaN|Inf`, svg, "a color that is not a variable of the page, or a value that is not a number")
	}
	style := text(all(doc, "style")[0])
	for _, v := range regexp.MustCompile(`var\((--\w+)\)`).FindAllStringSubmatch(source, -1) {
		require.Equal(t, 2, strings.Count(style, v[1]+":"), "%s must have a light and a dark value", v[1])
	}
}

func TestWrite(t *testing.T) {
	source, doc := write(t, fullPage())
	sound(t, source, doc)
	require.Equal(t, []string{"Results", "Training", "Subsets", "The run"}, texts(all(doc, "h2")))
	require.Len(t, all(doc, "svg"), 4)
	require.Len(t, all(doc, "img"), 1)
	require.Equal(t, "3 images of subset 0", attr(all(doc, "img")[0], "alt"))
	require.Equal(t, []string{"Subset 0, 1,234 images"}, texts(all(doc, "figcaption")))
	require.Equal(t, "2026-01-02T03:04:05Z", attr(all(doc, "time")[0], "datetime"))

	var table [][]string
	for _, tr := range all(all(doc, "table")[0], "tr")[1:] {
		table = append(table, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
	}
	require.Equal(t, [][]string{
		{"emoji", "top-1", "50.0", "50.0", "52.0", "51.0", "+1.0 level−5.0 to +7.0", "2", "training", "49.5", "51.0", "100"},
		{"fashion", "mean per class", "80.0", "80.5", "–", "81.0", "+1.0+0.2 to +1.9", "root", "training", "81.6", "82.2", "1,000"},
		{"mean", "", "65.0", "65.2", "–", "66.0", "+1.0 level−2.1 to +4.3", "", "", "65.6", "66.6", ""},
	}, table)
	var bold []string
	for _, td := range all(doc, "td") {
		if strings.Contains(attr(td, "class"), "best") {
			bold = append(bold, text(td))
		}
	}
	require.Equal(t, []string{"52.0", "81.0", "+1.0+0.2 to +1.9"}, bold)

	body := text(all(doc, "main")[0])
	require.Contains(t, body, "1.0 points above the unified net (66.0 % against 65.0 %). The 95 % interval, −2.1 to +4.3, contains 0, so the difference may be chance. Only the routed sub-nets are right about 21 test images, only the other net about 10.")
	require.Contains(t, body, "0.8 points above the unified net with the BatchNorm statistics that the router chose (66.0 % against 65.2 %). The")
	require.Contains(t, body, "1.0 points below the unified net trained on one-subset batches (51.0 % against 52.0 %, over the 1 of 2 tasks that have both results).")
	require.Contains(t, body, "The router chose 2 for emoji; root for fashion.")
	require.Contains(t, body, "birds: no <label>")
	require.Equal(t, []string{
		"routed − unified", "level: the interval contains 0",
		"unified", "unified, best norm", "unified, one-subset batches", "routed", "best sub-net",
		"sdr: 3.000", "unified: 4.000",
		"sdr: 0.120", "unified: 0.110", "healthy: 0.125",
	}, legends(doc))
}

func legends(doc *html.Node) (items []string) {
	for _, ul := range all(doc, "ul") {
		if attr(ul, "class") == "legend" {
			items = append(items, texts(all(ul, "li"))...)
		}
	}
	return items
}

// TestWriteRandom checks that there is a column for the random net only if there is such a net.
func TestWriteRandom(t *testing.T) {
	p := fullPage()
	_, without := write(t, p)
	of := slices.Clone(rows)
	for _, task := range []string{"emoji", "fashion"} {
		of = append(of, evaluate.Row{Task: task, Metric: "top1", Protocol: "knn", Subnet: "random", Norm: "training", Value: 12.5, TestImages: 100})
	}
	p.Results = evaluate.Collect(of, nil)
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Len(t, all(doc, "th"), len(all(without, "th"))+1)
	require.Equal(t, 3, strings.Count(text(doc), "12.5"))
	require.Equal(t, "random", legends(doc)[2])
}

// TestWriteEpisodes checks that the results of episodes have their interval and paired differences.
func TestWriteEpisodes(t *testing.T) {
	p := fullPage()
	source, _ := write(t, p)
	require.NotContains(t, source, "±")
	of := slices.Clone(rows)
	for i := range of {
		r := &of[i]
		r.Protocol, r.Interval, r.Labels, r.Predicted = "fewshot5", .75, nil, nil
		r.Scores = []float64{r.Value/100 - .001, r.Value/100 + .001}
	}
	p.Results = evaluate.Collect(of, nil)
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Contains(t, text(all(doc, "caption")[0]), "Percent on the test images, fewshot5; ± is the 95 % interval over episodes")
	require.Equal(t, 2, strings.Count(text(all(doc, "tbody")[0]), "±0.8"), "of the routed net of each task")
	require.Contains(t, text(doc), "1.0 points above the unified net (66.0 % against 65.0 %). The 95 % interval, +1.0 to +1.0, does not contain 0, so the difference is unlikely to be chance. Both were measured on the same 2 episodes of each task.")
	require.NotContains(t, text(doc), "No task has both")
}

func TestWriteIsReproducible(t *testing.T) {
	a, _ := write(t, fullPage())
	b, _ := write(t, fullPage())
	require.Equal(t, a, b)
}

// TestWriteParts leaves out one part at a time, down to an empty page.
func TestWriteParts(t *testing.T) {
	for name, c := range map[string]struct {
		edit     func(*Page)
		sections []string
	}{
		"empty":       {func(p *Page) { *p = Page{} }, nil},
		"no results":  {func(p *Page) { p.Results = nil }, []string{"Training", "Subsets", "The run"}},
		"no tasks":    {func(p *Page) { p.Results = &evaluate.Results{} }, []string{"Training", "Subsets", "The run"}},
		"one variant": {func(p *Page) { *p = Page{About: About{Title: "t"}, Curves: p.Curves[1:]} }, []string{"Training"}},
		"no finite loss": {func(p *Page) {
			*p = Page{Curves: []Curve{{Name: "x", Steps: []int{1}, Loss: []float64{math.NaN()}, Std: []float64{0}}}}
		}, []string{"Training"}},
		"unmeasured curve": {func(p *Page) { *p = Page{Curves: []Curve{{Name: "x"}}, HealthyStd: 1} }, nil},
		"facts alone":      {func(p *Page) { *p = Page{About: About{Facts: p.Facts}} }, []string{"The run"}},
		"sheets alone":     {func(p *Page) { *p = Page{Sheets: p.Sheets} }, []string{"Subsets"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := fullPage()
			c.edit(p)
			source, doc := write(t, p)
			sound(t, source, doc)
			require.Equal(t, c.sections, texts(all(doc, "h2")))
		})
	}
}

// TestWriteWithoutFigures removes all results of some nets.
func TestWriteWithoutFigures(t *testing.T) {
	p := fullPage()
	for i := range p.Results.Tasks {
		p.Results.Tasks[i] = evaluate.Task{Name: "t", Protocol: "linear", Metric: "other", Routed: p.Results.Tasks[i].Routed}
	}
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Contains(t, text(doc), "No task has both a routed sub-net and a baseline to compare it with.")
	require.NotContains(t, text(doc), "The router chose")
	require.Equal(t, "routed", legends(doc)[0])

	for i := range p.Results.Tasks {
		p.Results.Tasks[i].Routed = nil
	}
	source, doc = write(t, p)
	sound(t, source, doc)
	require.Len(t, all(doc, "svg"), 2, "no bars to draw")
}

// TestWriteEscapes puts markup into every name that can come from outside.
func TestWriteEscapes(t *testing.T) {
	const evil = `</title></style><script>alert("1")</script>&amp;'` + "`{{.}}<b"
	p := fullPage()
	p.Title, p.ID, p.Command = evil, evil, evil
	p.Facts = [][2]string{{evil, evil}}
	p.Files = []string{evil}
	p.Curves[0].Name = evil
	p.Sheets[0].Code = evil
	for i := range p.Results.Tasks {
		task := &p.Results.Tasks[i]
		task.Name, task.Metric, task.Protocol, task.Subnet = evil, evil, evil, evil
	}
	source, doc := write(t, p)
	sound(t, source, doc)
	require.Empty(t, all(doc, "script"))
	for _, name := range []string{"title", "h1", "pre"} {
		require.Equal(t, evil, text(all(doc, name)[0]), name)
	}
	require.Equal(t, "3 images of subset "+evil, attr(all(doc, "img")[0], "alt"))
	require.Equal(t, 1+1+1+2+1+2+1+1+2*3+2+3, strings.Count(text(doc), evil), "every text is shown as it is")
}

func TestBest(t *testing.T) {
	task := evaluate.Task{Unified: new(50.01), Routed: new(50.04), Oracle: new(60.)}
	require.True(t, best(task.Unified, task), "level as far as the table shows")
	require.True(t, best(task.Routed, task))
	require.False(t, best(task.UnifiedSubsetBatches, task))
	task.Unified = new(49.9)
	require.False(t, best(task.Unified, task))
	task.Unified = nil
	require.False(t, best(task.Routed, task), "alone")
}

func TestWriteErrors(t *testing.T) {
	for want, edit := range map[string]func(*Page){
		"report: curve sdr: 3 steps and 1 values":                          func(p *Page) { p.Curves[0].Loss = []float64{1} },
		"report: curve unified: 1 steps and 2 values":                      func(p *Page) { p.Curves[1].Std = []float64{1, 2} },
		"report: subset 0: image 1 has 5 bytes; want 4 x 4 x 3":            func(p *Page) { p.Sheets[0].Pixels[1] = make([]byte, 5) },
		"report: subset 0: a sheet of 0 images of 4 px; want one at least": func(p *Page) { p.Sheets[0].Pixels = nil },
	} {
		p := fullPage()
		edit(p)
		require.EqualError(t, Write(io.Discard, p), want)
	}
}
