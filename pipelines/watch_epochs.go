package pipelines

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"strings"

	"github.com/sdr-ml/sdr/stages/detect"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/curves"
	"github.com/sdr-ml/sdr/transforms/files"
)

// fineTuning fills the page of a fine-tuning: the curves of its tasks.
func (w *Watcher) fineTuning(ctx context.Context, p *report.WatchPage) error {
	info, err := readFineTuning(ctx, w.dir)
	if err != nil {
		return err
	}
	p.Title = "Fine-tuning " + w.dir
	p.Facts = [][2]string{{"started from", info.Model + info.Run}}
	done, err := files.Exists(ctx, files.Join(w.dir, "results.parquet"))
	if err != nil {
		return err
	}
	for _, t := range info.Tasks {
		file := files.Join(w.dir, t.Name, curves.EpochsFile)
		if len(info.Tasks) == 1 { // given by itself, or in a folder of tasks
			if found, err := files.Exists(ctx, file); err != nil {
				return err
			} else if !found {
				file = files.Join(w.dir, curves.EpochsFile)
			}
		}
		if err := addEpochs(ctx, p, t.Name, file, done, info.Config.Epochs, info.Config.Batch); err != nil {
			return err
		}
	}
	return w.state(ctx, p, done, "fine-tuning", "The same command with --resume continues it.")
}

// detectors fills the page of detectors: the curves of those that were trained, or are being trained.
func (w *Watcher) detectors(ctx context.Context, p *report.WatchPage) error {
	info, err := readDetectInfo(ctx, w.dir)
	if err != nil {
		return err
	}
	p.Title = "Detectors " + w.dir
	p.Facts = [][2]string{{"data", info.Config.Data.Path}, {"version", info.Version}}
	done := true
	for _, n := range info.Nets {
		found, err := files.List(ctx, files.Join(files.Quote(w.dir), files.Quote(n.Name), "*"+detect.MetricsSuffix))
		if err != nil {
			return err
		}
		done = done && len(found) > 0
		for _, file := range found {
			base := strings.TrimSuffix(file, detect.MetricsSuffix)
			trained, err := files.Exists(ctx, base+".safetensors")
			if err != nil {
				return err
			}
			done = done && trained
			name := n.Name + "/" + path.Base(filepath.ToSlash(base))
			if err := addEpochs(ctx, p, name, file, trained, info.Config.Epochs, info.Config.Batch); err != nil {
				return err
			}
		}
	}
	return w.state(ctx, p, done, "training of detectors", "The same command continues it.")
}

// addEpochs adds a training, which may have ended before all its epochs, and its curve.
func addEpochs(ctx context.Context, p *report.WatchPage, name, file string, ended bool, all, batch int) error {
	done, err := curves.Read[curves.Epoch](ctx, file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t, c := report.Training{Name: name}, report.Curve{Name: name}
	for _, e := range done {
		c.Steps, c.Loss = append(c.Steps, e.Step), append(c.Loss, e.Loss)
		if e.Validation != nil {
			c.Validation = append(c.Validation, *e.Validation)
		}
		t.Measured, t.Loss = true, e.Loss
		t.Images, t.Of = int64(e.Step*batch), int64(e.Step/max(1, e.Epoch)*all*batch)
	}
	if ended {
		t.Of = t.Images
	}
	p.Trainings = append(p.Trainings, t)
	if len(done) > 0 {
		p.Curves = append(p.Curves, c)
	}
	return nil
}

// state says what a training in the folder is doing.
func (w *Watcher) state(ctx context.Context, p *report.WatchPage, done bool, what, next string) error {
	running, err := run.InUse(ctx, w.dir)
	switch {
	case running:
		p.State = fmt.Sprintf("The %s runs.", what)
	case done:
		p.State = fmt.Sprintf("The %s is done.", what)
	default:
		p.State, p.Detail = fmt.Sprintf("No program writes to the %s, and it is not done.", what), next
	}
	return err
}
