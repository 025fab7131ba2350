package pipelines

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/pipelines/export"
	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// ExportOptions are the arguments of Export.
type ExportOptions struct {
	// Run is a run folder, and Subnet one of its nets: "unified", "root", a code, or any other name that Inspect lists. If
	// the run trained no unified baseline, "unified" is the phase 0 net.
	Run, Subnet string
	// Model is a model file instead, such as Route and Customize write. The model.json beside it, if there is one, says
	// where it comes from.
	Model string
	// Format is one of export.Formats, with its options.
	Format export.Format
	export.Options
	// Out is the file or folder to write.
	Out string
}

// Export writes the backbone of a net, with its classifier if it has one, in a format.
func Export(ctx context.Context, o ExportOptions) error {
	m, err := o.open(ctx)
	if err != nil {
		return err
	}
	written := o.Out
	if o.Format.Extension == "" { // a folder
		written = files.Join(o.Out, "model.safetensors")
	}
	if err := (reads{models: []string{cmp.Or(o.Model, m.Trained.Path)}}).spare(ctx, written); err != nil {
		return err
	}
	return o.Format.Write(ctx, o.Out, m, o.Options)
}

// open reads the model to export.
func (o *ExportOptions) open(ctx context.Context) (m *export.Model, err error) {
	if o.Model != "" {
		return openModel(ctx, o.Model)
	}
	folder, models, err := openTrained(ctx, o.Run)
	if err != nil {
		return nil, err
	}
	m = &export.Model{}
	if m.Trained, err = findNet(o.Run, models, o.Subnet); err != nil {
		return nil, err
	}
	if m.Model, err = inference.Load(ctx, m.Trained.Path); err != nil {
		return nil, err
	}
	if m.Card, err = describeNet(ctx, folder, m.Trained); err != nil {
		return nil, err
	}
	m.Results, err = resultsOf(ctx, folder, m.Trained.Subnet)
	return m, err
}

// describeNet says where a net of a run comes from.
func describeNet(ctx context.Context, folder *run.Folder, m train.Model) (card route.Card, err error) {
	card = route.Card{Subnet: m.Subnet, Subset: route.Subset(m.Subnet, m.Level), Norm: route.NormTraining}
	card.Origin, err = route.ReadOrigin(ctx, folder)
	return card, err
}

// openModel reads a model file, and what it and the model.json beside it say about where it comes from.
func openModel(ctx context.Context, path string) (m *export.Model, err error) {
	m = &export.Model{}
	if m.Model, err = inference.Load(ctx, path); err != nil {
		return nil, run.Usage(err)
	}
	if _, known := m.Meta[train.ModelKey]; known {
		if m.Trained, err = train.ReadModel(ctx, path); err != nil {
			return nil, err
		}
	}
	card := files.Join(files.Dir(path), "model.json")
	if m.Classifier != nil {
		m.Finetuned = &finetune.Card{}
		err = readCard(ctx, card, m.Finetuned, &m.Finetuned.Format)
		m.Card = m.Finetuned.Start
		return m, err
	}
	m.Card.Subnet, m.Card.Subset = m.Trained.Subnet, route.Subset(m.Trained.Subnet, m.Trained.Level)
	return m, readCard(ctx, card, &m.Card, &m.Card.Format)
}

// findNet returns one of a run's nets by its name.
func findNet(dir string, models []train.Model, subnet string) (train.Model, error) {
	index := func(name string) int {
		return slices.IndexFunc(models, func(m train.Model) bool { return m.Subnet == name })
	}
	at := index(subnet)
	if at < 0 && subnet == "unified" {
		at = index(train.Phase0)
	}
	if at < 0 {
		var names []string
		for _, m := range models {
			names = append(names, m.Subnet)
		}
		return train.Model{}, run.Usagef("%s has no net %q; it has %s", dir, subnet, strings.Join(names, ", "))
	}
	return models[at], nil
}

// readCard reads the card of a delivered model, if there is one, and checks the format that it states.
func readCard(ctx context.Context, path string, card any, format *int) error {
	text, err := files.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(text, card)
	}
	if err == nil {
		err = run.CheckFormat(*format)
	}
	if err != nil {
		return run.Usagef("%s, which says where the model comes from: %w; repair or remove it", path, err)
	}
	return nil
}

// resultsOf returns the results of a net in the evaluation that the run ended with, if there was one.
func resultsOf(ctx context.Context, folder *run.Folder, subnet string) ([]evaluate.Row, error) {
	done, err := folder.ReadManifest(ctx, "evaluate")
	if err != nil || done == nil {
		return nil, err
	}
	rows, err := readOut[evaluate.Row](ctx, outDir(folder, done.Stage, done.Inputs))
	if err != nil {
		return nil, fmt.Errorf("the run's evaluation: %w", err)
	}
	rows = slices.DeleteFunc(rows, func(r evaluate.Row) bool { return r.Subnet != subnet })
	slices.SortFunc(rows, func(a, b evaluate.Row) int {
		return strings.Compare(a.Task+"/"+a.Protocol+"/"+a.Norm, b.Task+"/"+b.Protocol+"/"+b.Norm)
	})
	return rows, nil
}
