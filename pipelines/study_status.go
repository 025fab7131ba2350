package pipelines

import (
	"context"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/study"
)

// cost reads from the manifests what the stages took: by kind, and by arm.
func (p *studyPlan) cost(ctx context.Context) (stages []report.StageCost, arms []report.ArmCost, err error) {
	users := map[string]map[string]bool{} // arms by step
	for _, c := range p.cells {
		for _, step := range p.stepsOf(c) {
			if users[step] == nil {
				users[step] = map[string]bool{}
			}
			users[step][c.Arm] = true
		}
	}
	for _, arm := range p.file.Arms {
		arms = append(arms, report.ArmCost{Arm: arm.Name})
	}
	for _, st := range p.steps {
		m, err := p.folder.ReadManifest(ctx, st.name)
		if err != nil {
			return nil, nil, err
		}
		kind := filepath.Dir(st.name)
		at := slices.IndexFunc(stages, func(s report.StageCost) bool { return s.Name == kind })
		if at < 0 {
			at = len(stages)
			stages = append(stages, report.StageCost{Name: kind})
		}
		stages[at].Number++
		stages[at].Seconds += m.Seconds
		for i := range arms {
			a := &arms[i]
			switch {
			case !users[st.name][a.Arm]:
			case len(users[st.name]) == 1:
				a.Own += m.Seconds
			default:
				a.Shared += m.Seconds
				if !slices.Contains(a.With, kind) {
					a.With = append(a.With, kind)
				}
			}
		}
	}
	return stages, arms, nil
}

// stepsOf returns the names of all steps that a cell needs.
func (p *studyPlan) stepsOf(c *cell) []string {
	all := map[string]bool{}
	var visit func(step string)
	visit = func(step string) {
		if !all[step] {
			all[step] = true
			for _, need := range p.find(step).needs {
				visit(need)
			}
		}
	}
	for _, step := range slices.Concat(c.evaluated, c.routed) {
		visit(step)
	}
	return slices.Sorted(maps.Keys(all))
}

// StudyStatus is what of a study is done and what is left.
type StudyStatus struct {
	// Cells are the study's trainings.
	Cells []CellStatus
	// Stages is the number of stages, of which Done are done.
	Stages, Done int
	// Images is the number of images that are left to train on, over all trainings.
	Images int64
}

// CellStatus is what of one training is done. A stage that several trainings need counts for each of them.
type CellStatus struct {
	study.Cell
	// Stages is the number of stages, of which Done are done.
	Stages, Done int
}

// status compares the steps with what the folder holds.
func (p *studyPlan) status(ctx context.Context) (*StudyStatus, error) {
	left, err := p.left(ctx)
	if err != nil {
		return nil, err
	}
	todo := map[string]bool{}
	s := &StudyStatus{Stages: len(p.steps), Done: len(p.steps) - len(left)}
	for _, st := range left {
		todo[st.name] = true
		s.Images += p.images[st.name]
	}
	for _, c := range p.cells {
		status := CellStatus{Cell: c.Cell}
		for _, step := range p.stepsOf(c) {
			status.Stages++
			if !todo[step] {
				status.Done++
			}
		}
		s.Cells = append(s.Cells, status)
	}
	return s, nil
}

// Write writes a line for each training, and the sum.
func (s *StudyStatus) Write(w io.Writer) error {
	t := newTable("arm", "images", "seed", "stages", "done", "to do")
	for _, c := range s.Cells {
		t.AppendRow(table.Row{c.Arm, humanize.Comma(c.Images), c.Seed, c.Stages, c.Done, c.Stages - c.Done})
	}
	_, err := fmt.Fprintf(w, "%s\n%d trainings share %d stages, of which %d are done and %d are to do; %s images to train on\n",
		t.Render(), len(s.Cells), s.Stages, s.Done, s.Stages-s.Done, humanize.Comma(s.Images))
	return err
}
