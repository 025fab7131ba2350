package report

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/study"
)

// StudyPage is the content of the page of a study. Empty parts are left out.
type StudyPage struct {
	About
	// File is the text of the study file.
	File string
	// Results are the study's results.
	Results *study.Results
	// Stages and Arms say what the study took.
	Stages []StageCost
	Arms   []ArmCost
}

// StageCost is the time that all stages of one kind took.
type StageCost struct {
	// Name is the kind's name, and Number how many there are.
	Name   string
	Number int
	// Seconds is the sum of their times.
	Seconds float64
}

// ArmCost is the time that the stages of one arm took.
type ArmCost struct {
	// Arm is the arm's name.
	Arm string
	// Own and Shared are the seconds of the stages that only this arm needs and that others need too.
	Own, Shared float64
	// With names the kinds of the shared stages.
	With []string
}

// WriteStudy writes the page as one HTML document that refers to nothing outside itself. Text is escaped.
func WriteStudy(w io.Writer, p *StudyPage) error {
	d := struct {
		*StudyPage
		Protocols []studyProtocol
		Seeds     int
	}{StudyPage: p}
	if p.Results != nil {
		d.Protocols, d.Seeds = studyProtocols(p.Results), p.Results.Seeds()
	}
	if err := pages.ExecuteTemplate(w, "study.html", d); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	return nil
}

// studyProtocol is what the page shows for one protocol.
type studyProtocol struct {
	Name string
	// Arms has one row for each arm and budget.
	Arms studyTable
	// Gains are the differences of the routed nets to the unified ones.
	Gains *chart
	// Budgets has one chart for each arm, if there are several budgets.
	Budgets []named[*chart]
	// Tasks has, for each arm at the largest budget, its differences by task.
	Tasks []named[armTasks]
}

// named is something with a heading.
type named[T any] struct {
	Name string
	Of   T
}

// armTasks is what the page shows for one arm's tasks.
type armTasks struct {
	Gains   *chart
	Figures studyTable
}

// studyTable is a table of estimates.
type studyTable struct {
	Caption string
	// Of says what each row is for.
	Of string
	// Nets and Differences are the headings of the columns.
	Nets, Differences []string
	Rows              []named[study.Line]
}

// studyProtocols groups the results by protocol, in order of first appearance.
func studyProtocols(r *study.Results) (all []studyProtocol) {
	byProtocol, names := group(r.Lines(""), func(l study.Line) string { return l.Protocol })
	for _, name := range names {
		lines := byProtocol[name]
		byArm, arms := group(lines, func(l study.Line) string { return l.Arm })
		p := studyProtocol{Name: name}
		budgets, last := len(byArm[arms[0]]), lines[0].Images
		var rows []named[study.Line]
		for _, l := range lines {
			row := l.Arm
			if budgets > 1 {
				row += ", " + compact(l.Images)
			}
			rows = append(rows, named[study.Line]{row, l})
			last = max(last, l.Images)
		}
		p.Arms = newStudyTable(fmt.Sprintf("Percent on the test images, %s, mean over tasks and seeds", protocolName(name)), "arm", rows)
		p.Gains = gainChart("arm", protocolName(name), gains(rows))
		for _, arm := range arms {
			if budgets > 1 {
				p.Budgets = append(p.Budgets, named[*chart]{arm, budgetChart(arm, byArm[arm], lines)})
			}
			var rows []named[study.Line]
			for _, task := range r.Tasks() {
				for _, l := range r.Lines(task) {
					if l.Protocol == name && l.Arm == arm && l.Images == last {
						rows = append(rows, named[study.Line]{task, l})
					}
				}
			}
			caption := fmt.Sprintf("Percent on the test images, %s, %s after %s images, mean over seeds", protocolName(name), arm, compact(last))
			p.Tasks = append(p.Tasks, named[armTasks]{arm, armTasks{gainChart("task", arm, gains(rows)), newStudyTable(caption, "task", rows)}})
		}
		all = append(all, p)
	}
	return all
}

// group groups values by a key, and returns the keys in order of first appearance.
func group[T any](values []T, key func(T) string) (groups map[string][]T, keys []string) {
	groups = map[string][]T{}
	for _, v := range values {
		k := key(v)
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], v)
	}
	return groups, keys
}

// newStudyTable makes a table of lines, without differences that none of them has.
func newStudyTable(caption, of string, rows []named[study.Line]) studyTable {
	t := studyTable{Caption: caption, Of: of, Rows: slices.Clone(rows)}
	for _, m := range rows[0].Of.Means {
		t.Nets = append(t.Nets, study.Title(m.Net))
	}
	for i := range t.Rows {
		t.Rows[i].Of.Over = nil
	}
	for d, difference := range study.Differences {
		if !slices.ContainsFunc(rows, func(r named[study.Line]) bool { return r.Of.Over[d] != nil }) {
			continue
		}
		t.Differences = append(t.Differences, minus(difference.Title()))
		for i, r := range rows {
			t.Rows[i].Of.Over = append(t.Rows[i].Of.Over, r.Of.Over[d])
		}
	}
	return t
}

// signed formats a difference in percentage points.
func signed(v float64) string { return minus(evaluate.Signed(v)) }

// minus replaces hyphens by minus signs where they are signs.
func minus(text string) string {
	text = strings.ReplaceAll(text, " - ", " − ")
	if strings.HasPrefix(text, "-") {
		text = "−" + text[1:]
	}
	return text
}

// gain returns the difference of a line's routed net to the unified one.
func gain(l study.Line) difference {
	c := l.Over[0]
	return difference{c.Difference, c.Low, c.High, c.Level}
}

// duration formats seconds.
func duration(seconds float64) string {
	s := int(seconds + .5)
	switch {
	case s >= 3600:
		return fmt.Sprintf("%d h %02d min", s/3600, s/60%60)
	case s >= 60:
		return fmt.Sprintf("%d min %02d s", s/60, s%60)
	}
	return fmt.Sprintf("%.1f s", seconds)
}

// total is the sum of the stages' seconds.
func total(stages []StageCost) (seconds float64) {
	for _, s := range stages {
		seconds += s.Seconds
	}
	return seconds
}

// meanOf returns the mean of one of study.Nets in a line.
func meanOf(l study.Line, net string) study.Mean {
	return l.Means[slices.IndexFunc(l.Means, func(m study.Mean) bool { return m.Net == net })]
}
