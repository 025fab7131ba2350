package pipelines

import (
	"context"
	"math"

	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/transforms/files"
)

// customizing fills the page of a customizing: the curves of its tasks, one per rate.
func (w *Watcher) customizing(ctx context.Context, p *report.WatchPage) error {
	info, err := readCustomizing(ctx, w.dir)
	if err != nil {
		return err
	}
	p.Title = "Customizing " + w.dir
	p.Facts = [][2]string{{"started from", info.Run}}
	p.HealthyStd = 1 / math.Sqrt(float64(info.Dim))
	done, err := files.Exists(ctx, files.Join(w.dir, customizedFile))
	if err != nil {
		return err
	}
	for _, task := range info.Tasks {
		found, err := files.List(ctx, curves.Path(files.Quote(w.dir), files.Quote(task)+"/*"))
		if err != nil {
			return err
		}
		if len(found) == 0 {
			p.Trainings = append(p.Trainings, report.Training{Name: task})
		}
		for _, file := range found {
			if err := addCurve(ctx, p, task+"/", file, info.Steps, info.Batch, done); err != nil {
				return err
			}
		}
	}
	return w.state(ctx, p, done, "customizing", "The same command begins anew.")
}
