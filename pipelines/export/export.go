// Package export writes a trained backbone, with its classifier if it has one, in the formats of other programs. To add a
// format, describe it in a file of its own and list it in Formats.
package export

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/finetune"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// Model is a trained backbone, and what is known of it; what is not is zero.
type Model struct {
	*inference.Model
	// Card says where the model comes from; of a fine-tuned one, the net that this began with.
	Card route.Card
	// Trained describes its training.
	Trained train.Model
	// Finetuned describes how it got its classifier; nil if it has none.
	Finetuned *finetune.Card
	// Results are those of an evaluation.
	Results []evaluate.Row
}

// Title names the model in a few words.
func (m *Model) Title() string {
	title, task := "Backbone", m.Card.Task
	switch name := m.Card.Subnet; name {
	case "":
	case train.Phase0, recipe.Random, recipe.Unified, recipe.UnifiedSubsetBatches: // which are of no subset
		title = "Net " + name
	default:
		title = "Sub-net " + name
	}
	if m.Finetuned != nil {
		task = m.Finetuned.Task
	}
	if task != "" {
		title += " for the task " + task
	}
	return title
}

// Options are those of single formats; the others refuse them.
type Options struct {
	// Preprocess puts the preparation of images into the file.
	Preprocess bool
	// License is the identifier of a license, such as apache-2.0.
	License string
}

// Format is a format to export to.
type Format struct {
	// Name is what --format takes.
	Name string
	// Extension is that of the file; a format without one is a folder.
	Extension string
	// Summary says in a few words what it is.
	Summary string
	// Preprocess and License say which Options it takes.
	Preprocess, License bool

	// check returns an error for a backbone that the format's programs do not have.
	check func(b nn.Backbone) error
	// python returns the lines of Python that load what was written to a path.
	python func(n net, path string) string
	// write writes the model to a path.
	write func(ctx context.Context, path string, m *Model, o Options) error
}

// net is what the lines of Python depend on: the backbone, and the number of classes; 0 without a classifier.
type net struct {
	nn.Backbone
	classes int
}

// net returns the model's.
func (m *Model) net() net { return net{m.Backbone, m.Heads.Classes} }

// Formats lists all formats, the default one first.
func Formats() []Format { return []Format{torchvisionFormat, timmFormat, onnxFormat, hubFormat} }

// Names lists the names of all formats, the default one first.
func Names() (names []string) {
	for _, f := range Formats() {
		names = append(names, f.Name)
	}
	return names
}

// Find returns the format of a name, if it takes the options.
func Find(name string, o Options) (Format, error) {
	all := Formats()
	at := slices.IndexFunc(all, func(f Format) bool { return f.Name == name })
	if at < 0 {
		return Format{}, run.Usagef("there is no format %q; want one of %s", name, strings.Join(Names(), ", "))
	}
	switch f := all[at]; {
	case o.Preprocess && !f.Preprocess:
		return f, run.Usagef("the format %s has no place for the preparation of images", f.Name)
	case o.License != "" && !f.License:
		return f, run.Usagef("the format %s has no place for a license", f.Name)
	default:
		return f, nil
	}
}

// Write writes a model to a path: a file or, for a format without an Extension, a folder.
func (f Format) Write(ctx context.Context, path string, m *Model, o Options) error {
	if f.check != nil {
		if err := f.check(m.Backbone); err != nil {
			return run.Usagef("format %s: %w", f.Name, err)
		}
	}
	if m.Classifier == nil {
		m.Model = &inference.Model{Model: *m.WithoutHeads(), Input: m.Input}
	}
	return f.write(ctx, path, m, o)
}

// Help describes the format, with how Python loads it.
func (f Format) Help() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s\n", f.Name, f.Summary)
	for line := range strings.Lines(f.python(net{Backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: 64}}, "OUT"+f.Extension)) {
		if line != "\n" {
			line = "  " + line
		}
		b.WriteString(line)
	}
	return b.String()
}
