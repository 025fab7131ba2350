package report

import (
	"cmp"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run/recipe"
)

// scoredTask has the router's scores of a task.
type scoredTask struct {
	Task   string
	Scores []scoredNet
}

// scoredNet is a candidate with its better score of all norms.
type scoredNet struct {
	Net    string
	Score  float64
	Routed bool
}

// scores returns the scores of a protocol's candidates, by task.
func scores(rows []evaluate.Row, protocol string) (all []scoredTask) {
	candidates := slices.DeleteFunc(slices.Clone(rows), func(r evaluate.Row) bool { return r.Protocol != protocol || !r.Candidate })
	byTask, names := group(candidates, func(r evaluate.Row) string { return r.Task })
	slices.Sort(names)
	for _, name := range names {
		t := scoredTask{Task: name}
		byNet, nets := group(byTask[name], func(r evaluate.Row) string { return r.Subnet })
		slices.Sort(nets)
		for _, net := range nets {
			s := scoredNet{Net: net, Score: byNet[net][0].Score}
			for _, r := range byNet[net] {
				s.Score, s.Routed = max(s.Score, r.Score), s.Routed || r.Routed
			}
			t.Scores = append(t.Scores, s)
		}
		all = append(all, t)
	}
	return all
}

// rivals returns the unified net's and the routed sub-net's first results among those of a task; nil for none.
func rivals(rows []evaluate.Row) (unified, routed *evaluate.Row) {
	for i := range slices.Backward(rows) {
		if rows[i].Subnet == recipe.Unified && rows[i].Norm == route.NormTraining {
			unified = &rows[i]
		}
		if rows[i].Routed {
			routed = &rows[i]
		}
	}
	return unified, routed
}

// confusions are the confusion matrices of the unified net and the routed sub-net on a task.
type confusions struct {
	Task string
	Nets []named[[]trueClass]
}

// trueClass is a row of a confusion matrix: how many of the test images of a class a net takes for each of the classes.
type trueClass struct {
	Class string
	Taken []int
}

// Images is the number of the class's test images.
func (c trueClass) Images() (n int64) {
	for _, taken := range c.Taken {
		n += int64(taken)
	}
	return n
}

// Percent is the part of the test images that n of them are.
func (c trueClass) Percent(n int) int { return int(math.Round(100 * float64(n) / float64(c.Images()))) }

// confusion returns the confusion matrix of a result on a task with these classes.
func confusion(r *evaluate.Row, classes []string) []trueClass {
	matrix := make([]trueClass, len(classes))
	for i, name := range classes {
		matrix[i] = trueClass{name, make([]int, len(classes))}
	}
	for i, taken := range r.Predicted {
		if class := r.Labels[i]; int(max(class, taken)) < len(classes) {
			matrix[class].Taken[taken]++
		}
	}
	return matrix
}

// mistake is a class of a task that is often taken for another.
type mistake struct {
	Task, Class, Taken string
	// Unified and Routed are the numbers of test images about which these nets make this mistake.
	Unified, Routed int
}

const (
	// mostClasses is the number of classes of a task up to which the page shows confusion matrices.
	mostClasses = 12
	// mistakesPerTask is the number of mistakes that the page lists for a task of more classes.
	mistakesPerTask = 3
)

// mistakes returns what the unified net and the routed sub-net take for what under a protocol, by task: confusion matrices
// of tasks with few classes, and the most frequent mistakes of both nets together for the others. Tasks without one of the
// results or the names of classes are left out, and so are those whose images have several classes.
func mistakes(rows []evaluate.Row, protocol string, classes map[string][]string) (few []confusions, many []mistake) {
	ofProtocol := slices.DeleteFunc(slices.Clone(rows), func(r evaluate.Row) bool { return r.Protocol != protocol })
	byTask, tasks := group(ofProtocol, func(r evaluate.Row) string { return r.Task })
	slices.Sort(tasks)
	for _, task := range tasks {
		unified, routed := rivals(byTask[task])
		names := classes[task]
		switch {
		case unified == nil || routed == nil || len(unified.Predicted) == 0 || len(names) == 0:
		case len(names) <= mostClasses:
			few = append(few, confusions{task, []named[[]trueClass]{
				{"unified", confusion(unified, names)}, {"routed, " + routed.Subnet, confusion(routed, names)},
			}})
		default:
			many = append(many, mostFrequent(task, names, unified, routed)...)
		}
	}
	return few, many
}

// mostFrequent returns the most frequent mistakes of two nets together on a task with these classes.
func mostFrequent(task string, classes []string, unified, routed *evaluate.Row) []mistake {
	type pair struct{ class, taken int32 }
	found := map[pair]*mistake{}
	count := func(r *evaluate.Row, add func(*mistake)) {
		for i, taken := range r.Predicted {
			p := pair{r.Labels[i], taken}
			if p.class == p.taken || int(max(p.class, p.taken)) >= len(classes) {
				continue
			}
			if found[p] == nil {
				found[p] = &mistake{Task: task, Class: classes[p.class], Taken: classes[p.taken]}
			}
			add(found[p])
		}
	}
	count(unified, func(m *mistake) { m.Unified++ })
	count(routed, func(m *mistake) { m.Routed++ })
	var most []mistake
	for _, m := range found {
		most = append(most, *m)
	}
	slices.SortFunc(most, func(a, b mistake) int {
		return cmp.Or(cmp.Compare(b.Unified+b.Routed, a.Unified+a.Routed), cmp.Compare(a.Class, b.Class), cmp.Compare(a.Taken, b.Taken))
	})
	return most[:min(mistakesPerTask, len(most))]
}
