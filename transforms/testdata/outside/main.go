// Command outside stands for a third-party program: it uses every transform of sdr in its own Beam pipelines.
package main

import (
	"context"
	"flag"
	"log"
	"path/filepath"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/direct"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/knn"
	"github.com/sdr-ml/sdr/transforms/probe"
	"github.com/sdr-ml/sdr/transforms/record"
)

var (
	runner = flag.String("in", "prism", "the runner")
	photos = flag.String("photos", "", "folder with a folder of images for each class")
	model  = flag.String("model", "", "model file")
	out    = flag.String("out", "", "folder to write to")
)

// Answer is one output row of this program, made from a prediction.
type Answer struct {
	Source string `arrow:"source"`
	Class  string `arrow:"class"`
	Right  bool   `arrow:"right"`
}

// Guess is one row of predictions.
type Guess struct {
	Source    string `arrow:"source"`
	Class     string `arrow:"class"`
	Predicted string `arrow:"predicted"`
}

func init() {
	beam.RegisterType(reflect.TypeFor[Answer]())
	beam.RegisterType(reflect.TypeFor[Guess]())
	beam.RegisterFunction(mark)
}

func mark(g Guess) Answer { return Answer{g.Source, g.Class, g.Class == g.Predicted} }

func main() {
	flag.Parse()
	beam.Init()
	p, s := beam.NewPipelineWithRoot()
	describe(s)
	if _, err := beam.Run(context.Background(), *runner, p); err != nil {
		log.Fatal(err)
	}
	p, s = beam.NewPipelineWithRoot()
	use(s)
	if _, err := beam.Run(context.Background(), *runner, p); err != nil {
		log.Fatal(err)
	}
}

// describe computes features, clusters and a classifier.
func describe(s beam.Scope) {
	images, dead := imageio.Read(s, *photos)
	features, failed := inference.Embed(s, images, inference.Config{Model: *model})
	assigned, centroids := kmeans.Cluster(s, features, kmeans.Config{Column: "feature", Branching: []int{2}, Iterations: 5})
	classifier := probe.Fit(s, features, probe.Config{Label: "class", C: []float64{1}})
	for name, col := range map[string]beam.PCollection{"features": features, "assigned": assigned, "centroids": centroids, "classifier": classifier} {
		arrowio.WriteParquet(s, filepath.Join(*out, name+".parquet"), col)
	}
	letters := record.ToStructs[imageio.Dead](s, beam.Flatten(s, dead, failed))
	arrowio.WriteIPC(s, filepath.Join(*out, "dead.arrow"), record.FromStructs[imageio.Dead](s, letters))
}

// use applies the results of describe to the same features.
func use(s beam.Scope) {
	read := func(name string) beam.PCollection {
		return arrowio.ReadParquet(s, filepath.Join(*out, name+".parquet"))
	}
	features := read("features")
	assigned := kmeans.Assign(s, features, read("centroids"), kmeans.AssignConfig{Column: "feature"})
	found := knn.Search(s, features, features, knn.SearchConfig{K: 2})
	voted := knn.Classify(s, features, features, knn.Config{Label: "class", K: 1})
	predicted := probe.Predict(s, features, read("classifier"), probe.PredictConfig{})
	answers := beam.ParDo(s, mark, record.ToStructs[Guess](s, predicted))
	for name, col := range map[string]beam.PCollection{"again": assigned, "found": found, "voted": voted, "answers": record.FromStructs[Answer](s, answers)} {
		arrowio.WriteIPC(s, filepath.Join(*out, name+".arrow"), col)
	}
}
