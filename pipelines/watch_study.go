package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/transforms/files"
)

// study fills the page of a study: its stages by kind, each of its trainings, the curve of the one that goes on, and how
// long the rest will take if such stages take as long as those that are done.
func (w *Watcher) study(ctx context.Context, p *report.WatchPage) error {
	folder, err := run.OpenStudy(ctx, w.dir)
	if err != nil {
		return err
	}
	p.Title, p.ID, p.Created, p.Command = "Study "+w.dir, folder.Info.ID.String(), folder.Info.Created, strings.Join(folder.Info.Command, " ")
	p.Facts = [][2]string{{"data", strings.Join(folder.Info.Data, ", ")}, {"version", folder.Info.Version}}
	names, err := folder.ReadStages(ctx)
	if err != nil {
		return err
	}
	trainings, err := folder.ReadTrainings(ctx)
	if err != nil {
		return err
	}
	running, err := run.InUse(ctx, w.dir)
	if err != nil {
		return err
	}
	done, err := w.studyTrainings(ctx, p, folder, trainings)
	if err != nil {
		return err
	}
	kinds, left, err := studyStages(ctx, folder, names, trainings)
	if err != nil {
		return err
	}
	finished := 0
	for _, k := range kinds {
		finished += k.done
		p.Stages = append(p.Stages, report.Stage{Name: k.name, State: fmt.Sprintf("%d of %d done", k.done, k.all), Seconds: k.seconds})
	}
	switch {
	case len(names) == 0 && running:
		p.State = "The study begins."
	case finished == len(names) && len(names) > 0:
		p.State = "The study is done."
		if found, err := files.Exists(ctx, files.Join(w.dir, "study.html")); err == nil && found {
			p.Detail = "See " + files.Join(w.dir, "study.html") + "."
		}
	case running:
		p.State = fmt.Sprintf("The study runs: %d of %d stages and %d of %d trainings are done.", finished, len(names), done, len(trainings))
		p.Detail = left
	default:
		p.State, p.Detail = "No program writes to the study, and it is not done.", "The same command continues it."
	}
	p.Log, err = lastLines(ctx, folder.LogPath())
	return err
}

// studyTrainings adds the trainings and the curve of the one that was measured last and is not done, and returns how many
// are done.
func (w *Watcher) studyTrainings(ctx context.Context, p *report.WatchPage, folder *run.Folder, all []run.Training) (done int, err error) {
	latest := 0.
	for _, of := range all {
		m, err := folder.ReadManifest(ctx, of.Stage)
		if err != nil {
			return 0, err
		}
		var points []curves.Point
		if m == nil {
			if points, err = curves.ReadPoints(ctx, folder.StageDir(of.Stage), of.Variant); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
		}
		t, _ := progressOf(of, points)
		t.Name = of.For + ": " + of.Variant
		if m != nil {
			done++
			t.Images = t.Of
		}
		if len(points) > 0 && points[len(points)-1].Time > latest {
			latest, p.Curves = points[len(points)-1].Time, []report.Curve{curveOf(t.Name, points)}
		}
		p.Trainings = append(p.Trainings, t)
	}
	slices.SortStableFunc(p.Trainings, func(a, b report.Training) int { return int(a.Images/max(1, a.Of) - b.Images/max(1, b.Of)) }) // done ones last
	return done, nil
}

// kind are all stages of a study that do the same.
type kind struct {
	name      string
	all, done int
	seconds   float64 // that the done ones took
	// How much work the done ones and the others are: images of a training, or 1.
	did, todo float64
}

// studyStages counts the stages by kind, and says how long those that are not done will take.
func studyStages(ctx context.Context, folder *run.Folder, names []string, trainings []run.Training) (kinds []*kind, left string, err error) {
	for _, name := range names {
		m, err := folder.ReadManifest(ctx, name)
		if err != nil {
			return nil, "", err
		}
		at := slices.IndexFunc(kinds, func(k *kind) bool { return k.name == filepath.Dir(name) })
		if at < 0 {
			at, kinds = len(kinds), append(kinds, &kind{name: filepath.Dir(name)})
		}
		k, work := kinds[at], 1.
		if i := slices.IndexFunc(trainings, func(t run.Training) bool { return t.Stage == name }); i >= 0 {
			work = float64(trainings[i].Images())
		}
		k.all++
		if m == nil {
			k.todo += work
			continue
		}
		k.done++
		k.seconds += m.Seconds
		k.did += work
	}
	seconds, least := 0., ""
	for _, k := range kinds {
		if k.did > 0 {
			seconds += k.seconds / k.did * k.todo
		} else if k.todo > 0 {
			least = "at least "
		}
	}
	if seconds > 0 {
		left = fmt.Sprintf("The rest takes %s%v, if such stages take as long as so far.", least, time.Duration(seconds)*time.Second)
	}
	return kinds, left, nil
}
