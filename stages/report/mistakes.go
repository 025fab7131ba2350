package report

import (
	"cmp"
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

// mistake is a class of a task that is often taken for another.
type mistake struct {
	Task, Class, Taken string
	// Unified and Routed are the numbers of test images about which these nets make this mistake.
	Unified, Routed int
}

// mistakesPerTask is the number of mistakes that the page lists for a task.
const mistakesPerTask = 3

// mistakes returns the most frequent mistakes under a protocol, by task, of the unified net and the routed sub-net
// together. Tasks without one of the results or the names of classes are left out.
func mistakes(rows []evaluate.Row, protocol string, classes map[string][]string) (all []mistake) {
	ofProtocol := slices.DeleteFunc(slices.Clone(rows), func(r evaluate.Row) bool { return r.Protocol != protocol })
	byTask, tasks := group(ofProtocol, func(r evaluate.Row) string { return r.Task })
	slices.Sort(tasks)
	for _, task := range tasks {
		unified, routed := rivals(byTask[task])
		if unified == nil || routed == nil {
			continue
		}
		type pair struct{ class, taken int32 }
		found := map[pair]*mistake{}
		names := classes[task]
		count := func(r *evaluate.Row, add func(*mistake)) {
			for i, taken := range r.Predicted { // none of images with several classes
				p := pair{r.Labels[i], taken}
				if p.class == p.taken || int(max(p.class, p.taken)) >= len(names) {
					continue
				}
				if found[p] == nil {
					found[p] = &mistake{Task: task, Class: names[p.class], Taken: names[p.taken]}
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
		all = append(all, most[:min(mistakesPerTask, len(most))]...)
	}
	return all
}
