package pipelines_test

import (
	"context"
	"fmt"
	"log"
	"os"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/google/uuid"

	"github.com/sdr-ml/sdr/stages/evaluate"
	"github.com/sdr-ml/sdr/stages/features"
	"github.com/sdr-ml/sdr/stages/ingest"
	"github.com/sdr-ml/sdr/stages/partition"
	"github.com/sdr-ml/sdr/stages/report"
	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/stages/train"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// This example chains all stages into one Beam pipeline, as in a user's own program.
func Example() {
	ctx := context.Background()
	dir := must(os.MkdirTemp("", "sdr"))
	defer os.RemoveAll(dir)
	r := must(recipe.Load("smoke", []string{"train.images=1280", "train.norm_images=256", "train.baselines=[]"}))
	must(run.Create(ctx, dir, run.Fresh, run.Info{ID: uuid.New()}, r.Marshal()))
	splits := must(imageio.Plan(ctx, []string{"../testdata/fixtures/folder"}, ingest.ShardRows(r.Input.Size)))
	of := []tasks.Task{{Name: "fruit", Train: "../testdata/fixtures/folder/train", Test: "../testdata/fixtures/folder/test", Metric: tasks.Top1}}
	_, branching := r.Levels()
	training := train.Config{Dir: dir, Recipe: string(r.Marshal())}

	p, s := beam.NewPipelineWithRoot()
	refs := ingest.Ingest(s, beam.CreateList(s, splits), ingest.Config{Size: r.Input.Size, Dir: dir + "/ingest", DeadLetter: dir + "/dead-letter.parquet"})
	training.Variants = []string{train.Phase0}
	phase0 := train.Train(s, refs, training)
	rows := features.Extract(s, refs, phase0, train.Phase0)
	subsets := partition.Partition(s, rows, partition.Config{Shards: dir + "/ingest/shards", Dir: dir + "/partition", Branching: branching, Iterations: 10, Seed: r.Seed})
	training.Variants = []string{train.SDR}
	training.Start.Dir = dir
	models := train.Continue(s, subsets, phase0, training)
	scores := route.Route(s, models, route.Config{Tasks: of, Scorers: []string{route.KNN}})
	results := evaluate.Evaluate(s, models, evaluate.Config{Tasks: of, Protocols: []string{evaluate.KNN}})
	route.Deliver(s, scores, route.DeliverConfig{Dir: dir + "/routed"})
	report.Report(s, subsets, evaluate.Mark(s, results, scores), report.Config{Dir: dir})
	must(beam.Run(ctx, "prism", p))

	for _, file := range []string{"report.html", "results.json", "routed/model.safetensors"} {
		_, err := os.Stat(dir + "/" + file)
		fmt.Println(file, err == nil)
	}
	// Output:
	// report.html true
	// results.json true
	// routed/model.safetensors true
}

// must exits the program on an error.
func must[T any](v T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return v
}
