package probe_test

import (
	"context"
	"fmt"
	"log"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/probe"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[fruit]())
	beam.RegisterType(reflect.TypeFor[guess]())
	beam.RegisterFunction(printClass)
	beam.RegisterFunction(printGuess)
}

type fruit struct {
	Name    string    `arrow:"name"`
	Kind    string    `arrow:"kind"`
	Feature []float32 `arrow:"feature"`
}

type guess struct {
	Name      string `arrow:"name"`
	Predicted string `arrow:"predicted"`
}

func printClass(c probe.Class) {
	fmt.Printf("%d weights, the first %.2f\n", len(c.Weight), c.Weight[0])
}

func printGuess(g guess) { fmt.Println(g.Name, "is a", g.Predicted) }

func ExampleFit() {
	p, s := beam.NewPipelineWithRoot()
	train := record.FromStructs[fruit](s, beam.Create(s,
		fruit{"a", "lime", []float32{1, 9}}, fruit{"b", "lime", []float32{2, 8}},
		fruit{"c", "plum", []float32{9, 1}}, fruit{"d", "plum", []float32{8, 2}}))
	classifier := probe.Fit(s, train, probe.Config{Label: "kind", C: []float64{1}})
	beam.ParDo0(s, printClass, record.ToStructs[probe.Class](s, classifier))

	queries := record.FromStructs[fruit](s, beam.Create(s, fruit{"x", "?", []float32{0, 7}}, fruit{"y", "?", []float32{9, 0}}))
	predicted := probe.Predict(s, queries, classifier, probe.PredictConfig{})
	beam.ParDo0(s, printGuess, record.ToStructs[guess](s, predicted))
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
	// Unordered output:
	// 2 weights, the first -0.49
	// 2 weights, the first 0.49
	// x is a lime
	// y is a plum
}
