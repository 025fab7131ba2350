package route

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
)

// Card is the content of model.json: it describes a delivered model.
type Card struct {
	// Task is the task that the model was chosen for, by its Score under Scorer, in percent.
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
	// Run is the ID of the run that trained the model.
	Run string `json:"run"`
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
	// Run is the run's ID.
	Run string
}

func init() {
	beam.RegisterDoFn(reflect.TypeFor[byTaskFn]())
	beam.RegisterDoFn(reflect.TypeFor[deliverFn]())
}

// Deliver writes, for every task, the sub-net with the best score: all scores, best first, to scores.parquet, the
// backbone alone to model.safetensors, and its Card to model.json.
//
// in: *record.Batch of Score. out: *record.Batch of Delivery, one row per batch.
func Deliver(s beam.Scope, scores beam.PCollection, cfg DeliverConfig) beam.PCollection {
	s = s.Scope("route.Deliver")
	return beam.ParDo(s, &deliverFn{cfg}, beam.GroupByKey(s, beam.ParDo(s, &byTaskFn{}, scores)))
}

// byTaskFn keys scores by task name.
type byTaskFn struct{}

func (*byTaskFn) ProcessElement(_ context.Context, b *record.Batch, emit func(string, *record.Batch)) error {
	rows, err := record.Rows[Score](b)
	if err != nil {
		return err
	}
	for _, r := range rows {
		emit(r.Task, record.Of([]Score{r}))
	}
	return nil
}

type deliverFn struct{ Config DeliverConfig }

func (fn *deliverFn) ProcessElement(ctx context.Context, task string, scores func(**record.Batch) bool) (*record.Batch, error) {
	rows, err := record.All[Score](scores)
	if err != nil {
		return nil, err
	}
	dir := fn.Config.Dir
	if fn.Config.PerTask {
		dir = files.Join(dir, task)
	}
	best, err := deliver(ctx, dir, fn.Config.Run, task, rows)
	if err != nil {
		return nil, fmt.Errorf("route: task %s: %w", task, err)
	}
	return record.Of([]Delivery{{Task: task, Subnet: best.Subnet, Scorer: best.Scorer, Score: best.Score, Dir: dir}}), nil
}

func deliver(ctx context.Context, dir, id, task string, scores []Score) (Score, error) {
	best := Best(Candidates(scores, task))
	m, err := best.Open(ctx)
	if err != nil {
		return best, err
	}
	card := Card{
		Task: best.Task, Subnet: best.Subnet, Scorer: best.Scorer, Score: best.Score, Norm: best.Norm,
		Backbone: m.Backbone, Input: m.Input, Features: m.Backbone.FeatureDim(), Run: id,
	}
	if best.Level > 0 {
		card.Subset, _, _ = strings.Cut(best.Subnet, "-")
	}
	sorted := slices.Clone(scores)
	slices.SortFunc(sorted, func(a, b Score) int { return better(b, a) })
	if err := arrowio.SaveParquet(ctx, files.Join(dir, "scores.parquet"), record.Of(sorted).Record); err != nil {
		return best, err
	}
	return best, Write(ctx, dir, m, card)
}

// Write writes a model's backbone to model.safetensors in a folder, and its Card, or what has one embedded, to
// model.json.
func Write(ctx context.Context, dir string, m *inference.Model, card any) error {
	if err := Export(ctx, m, files.Join(dir, "model.safetensors")); err != nil {
		return err
	}
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
