package route

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Card is the content of model.json: it describes a delivered model.
type Card struct {
	// Format is that of the file; see run.CheckFormat.
	Format int `json:"format"`
	// Task is the task that the model was chosen for, by its Score under Scorer; see FormatScore.
	Task   string  `json:"task"`
	Subnet string  `json:"subnet"`
	Scorer string  `json:"scorer"`
	Score  float64 `json:"score"`
	// Norm says where the BatchNorm statistics come from, see Norms.
	Norm string `json:"norm"`
	// Backbone is the model's architecture, and Input says how it expects images to be prepared.
	Backbone nn.Backbone     `json:"backbone"`
	Input    inference.Input `json:"input"`
	// Features is the number of features per image.
	Features int `json:"features"`
	// Subset is the code of the subset that the model was trained on; empty means all images.
	Subset string `json:"subset"`
	// Customized says how the model was customized for the task, such as "trained at 0.03", and Images is the number of
	// images that it has seen for that, in Seconds; they are zero if it was not. Gain is nil, too, if the task has no test images.
	Customized string  `json:"customized,omitempty"`
	Images     int64   `json:"images,omitempty"`
	Seconds    float64 `json:"seconds,omitempty"`
	Gain       *Gain   `json:"gain,omitempty"`
	Origin
}

// Gain is what customizing a net changed on a task's test images under kNN, in percent.
type Gain struct {
	TestImages int64 `json:"test_images"`
	// Before is the metric of the net as it was, and After that of the model.
	Before float64 `json:"before"`
	After  float64 `json:"after"`
	// Difference is After - Before, and Low and High are the ends of its 95 % interval over test images.
	Difference float64 `json:"difference"`
	Low        float64 `json:"low"`
	High       float64 `json:"high"`
}

// Origin is what the run that trained a model tells of it.
type Origin struct {
	// Run is the run's ID.
	Run string `json:"run"`
	// Data are the paths of the images, as they were given.
	Data []string `json:"data"`
	// Recipe sums up the recipe.
	Recipe string `json:"recipe"`
	// Init is the file of the weights that the training began with; empty for random ones.
	Init string `json:"init,omitempty"`
}

// ReadOrigin describes a run.
func ReadOrigin(ctx context.Context, folder *run.Folder) (o Origin, err error) {
	text, err := files.Read(ctx, folder.RecipePath())
	if err != nil {
		return o, err
	}
	r, err := recipe.Parse(text)
	if err != nil {
		return o, fmt.Errorf("%s: %w", folder.RecipePath(), err)
	}
	o = Origin{Run: folder.Info.ID.String(), Data: folder.Info.Data, Recipe: r.Summary()}
	if folder.Info.Init != nil {
		o.Init = folder.Info.Init.File
	}
	return o, nil
}

// Delivery is the schema of Deliver's output: one delivered model.
type Delivery struct {
	Task   string  `arrow:"task"`
	Subnet string  `arrow:"subnet"`
	Scorer string  `arrow:"scorer"`
	Score  float64 `arrow:"score"`
	// Dir is the folder that holds the model.
	Dir string `arrow:"dir"`
}

// DeliverConfig says where to deliver models.
type DeliverConfig struct {
	// Dir is the output folder; with PerTask each task gets a subfolder.
	Dir     string
	PerTask bool
	// Link writes each sub-net to Dir/models once and links it there from the folders of its tasks, as long as it has the
	// statistics of its training.
	Link bool
}

func init() { beam.RegisterDoFn(reflect.TypeFor[deliverFn]()) }

// Deliver writes, for every task, the sub-net that Route's first scorer chose: all scores, best first, to scores.parquet, the
// backbone alone to model.safetensors, and its Card to model.json.
//
// in: *record.Batch of Score, as Route returns them. out: *record.Batch of Delivery, one row per batch.
func Deliver(s beam.Scope, scores beam.PCollection, cfg DeliverConfig) beam.PCollection {
	s = s.Scope("route.Deliver")
	return beam.ParDo(s, &deliverFn{cfg}, scores)
}

type deliverFn struct{ Config DeliverConfig }

func (fn *deliverFn) ProcessElement(ctx context.Context, b *record.Batch) (*record.Batch, error) {
	rows, err := record.Rows[Score](b)
	if err != nil {
		return nil, err
	}
	task, dir := rows[0].Task, fn.Config.Dir
	if fn.Config.PerTask {
		dir = files.Join(dir, task)
	}
	best, err := deliver(ctx, dir, fn.Config, rows)
	if err != nil {
		return nil, fmt.Errorf("route: task %s: %w", task, err)
	}
	return record.Of([]Delivery{{Task: task, Subnet: best.Subnet, Scorer: best.Scorer, Score: best.Score, Dir: dir}}), nil
}

// deliver writes the sub-net that the router chooses for a task.
func deliver(ctx context.Context, dir string, cfg DeliverConfig, scores []Score) (Score, error) {
	at := slices.IndexFunc(scores, func(s Score) bool { return s.Rank == 1 })
	if at < 0 {
		return Score{}, errors.New("there is no net to choose from")
	}
	best := scores[at]
	m, err := best.Open(ctx)
	if err != nil {
		return best, err
	}
	of, err := run.Open(ctx, best.Run())
	if err != nil {
		return best, err
	}
	origin, err := ReadOrigin(ctx, of)
	if err != nil {
		return best, err
	}
	card := Card{
		Task: best.Task, Subnet: best.Subnet, Scorer: best.Scorer, Score: best.Score, Norm: best.Norm,
		Backbone: m.Backbone, Input: m.Input, Features: m.Backbone.FeatureDim(),
		Subset: Subset(best.Subnet, best.Level), Origin: origin,
	}
	if err := arrowio.SaveParquet(ctx, files.Join(dir, "scores.parquet"), record.Of(scores).Record); err != nil {
		return best, err
	}
	if cfg.Link && best.Norm == NormTraining {
		shared := files.Join(cfg.Dir, "models", card.Run+"-"+best.Subnet+".safetensors")
		return best, errors.Join(link(ctx, m, shared, files.Join(dir, "model.safetensors")), writeCard(ctx, dir, card))
	}
	return best, Write(ctx, dir, m, card)
}

// link exports a model to a shared file, if it does not exist yet, and makes path the same file.
func link(ctx context.Context, m *inference.Model, shared, path string) error {
	if known, err := files.Exists(ctx, shared); err != nil || !known {
		if err := errors.Join(err, Export(ctx, m, shared)); err != nil {
			return err
		}
	}
	return files.Link(ctx, shared, path)
}

// Write writes a model's backbone to model.safetensors in a folder, and its Card, or what has one embedded, to
// model.json.
func Write(ctx context.Context, dir string, m *inference.Model, card Card) error {
	if err := Export(ctx, m, files.Join(dir, "model.safetensors")); err != nil {
		return err
	}
	return writeCard(ctx, dir, card)
}

func writeCard(ctx context.Context, dir string, card Card) error {
	card.Format = run.Format
	text, err := json.MarshalIndent(card, "", "  ")
	if err != nil {
		return err
	}
	return files.WriteBytes(ctx, files.Join(dir, "model.json"), append(text, '\n'))
}

// Export writes a model's backbone, without the training heads, under torchvision's names.
func Export(ctx context.Context, m *inference.Model, path string) error {
	return inference.Save(ctx, path, m.WithoutHeads())
}
