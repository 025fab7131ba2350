package report

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/stages/evaluate"
)

// TestMistakes has a confusion matrix for each net on a task of few classes, one of them without test images, and the most
// frequent mistakes on a task of many.
func TestMistakes(t *testing.T) {
	p := fullPage()
	row := func(task, net, norm string, routed bool, predicted ...int32) evaluate.Row {
		return evaluate.Row{Task: task, Protocol: "knn", Subnet: net, Norm: norm, Routed: routed, Labels: []int32{0, 0, 0, 1, 1, 2}, Predicted: predicted}
	}
	for _, task := range []string{"emoji", "many"} {
		p.Rows = append(p.Rows,
			row(task, "unified", "training", false, 1, 1, 0, 1, 2, 2), row(task, "unified", "task", false, 2, 2, 2, 2, 2, 2),
			row(task, "2", "training", true, 1, 0, 0, 1, 1, 0))
	}
	p.Rows = append(p.Rows, row("alone", "unified", "training", false, 0, 0, 0, 0, 0, 0),
		row("several", "unified", "training", false), row("several", "2", "training", true)) // classes per image
	few := []string{"cat", "dog", "<owl>", "fox"}
	many := slices.Clone(few)
	for i := range mostClasses + 1 - len(few) {
		many = append(many, fmt.Sprint("other", i))
	}
	p.Classes = map[string][]string{"emoji": few, "many": many, "alone": few, "several": few}
	source, doc := write(t, p)
	sound(t, source, doc)

	var names []string
	var matrices [][][]string
	for _, table := range all(doc, "table") {
		if attr(table, "class") != "confusion" {
			continue
		}
		names = append(names, text(all(table, "caption")[0]))
		var rows [][]string
		for _, tr := range all(table, "tr") {
			rows = append(rows, append(texts(all(tr, "th")), texts(all(tr, "td"))...))
		}
		matrices = append(matrices, rows)
	}
	require.Equal(t, []string{"unified", "routed, 2"}, names)
	require.Equal(t, [][][]string{{
		{"images of", "cat", "dog", "<owl>", "fox"},
		{"cat 3", "33", "67", "", ""},
		{"dog 2", "", "50", "50", ""},
		{"<owl> 1", "", "", "100", ""},
		{"fox 0", "", "", "", ""},
	}, {
		{"images of", "cat", "dog", "<owl>", "fox"},
		{"cat 3", "67", "33", "", ""},
		{"dog 2", "", "100", "", ""},
		{"<owl> 1", "100", "", "", ""},
		{"fox 0", "", "", "", ""},
	}}, matrices)
	require.Contains(t, source, `<td style="--share:67%">67</td>`)

	tables, list := mistakes(p.Rows, "knn", p.Classes)
	require.Len(t, tables, 1)
	require.Equal(t, []int{1, 2, 0, 0}, tables[0].Nets[0].Of[0].Taken)
	require.Equal(t, []mistake{{"many", "cat", "dog", 2, 1}, {"many", "<owl>", "cat", 0, 1}, {"many", "dog", "<owl>", 1, 0}}, list)
	require.Contains(t, text(doc), "Most frequent mistakes on tasks with more classes")
	require.Contains(t, text(doc), "manycatdog21")

	p.Classes["many"] = many[:mostClasses]
	tables, list = mistakes(p.Rows, "knn", p.Classes)
	require.Len(t, tables, 2)
	require.Empty(t, list)
	tables, list = mistakes(p.Rows, "linear", p.Classes)
	require.Empty(t, tables)
	require.Empty(t, list)
}
