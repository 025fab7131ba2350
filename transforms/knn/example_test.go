package knn_test

import (
	"context"
	"fmt"
	"log"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/knn"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[animal]())
	beam.RegisterType(reflect.TypeFor[guess]())
	beam.RegisterType(reflect.TypeFor[hit]())
	beam.RegisterFunction(printGuess)
	beam.RegisterFunction(printHit)
}

type animal struct {
	Name    string    `arrow:"name"`
	Class   string    `arrow:"class"`
	Feature []float32 `arrow:"feature"`
}

type guess struct {
	Name      string `arrow:"name"`
	Predicted string `arrow:"predicted"`
}

type hit struct {
	Name       string  `arrow:"name"`
	Rank       int32   `arrow:"rank"`
	Similarity float32 `arrow:"similarity"`
	Neighbor   string  `arrow:"neighbour_name"`
}

func printGuess(g guess) { fmt.Println(g.Name, "is a", g.Predicted) }

func printHit(h hit) {
	fmt.Printf("%s, neighbor %d: %s, %.2f\n", h.Name, h.Rank, h.Neighbor, h.Similarity)
}

var (
	known   = []animal{{"Rex", "dog", []float32{9, 1}}, {"Fido", "dog", []float32{8, 2}}, {"Tom", "cat", []float32{1, 9}}}
	unknown = []animal{{"Pluto", "?", []float32{5, 1}}, {"Felix", "?", []float32{2, 8}}}
)

func execute(p *beam.Pipeline) {
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
}

func ExampleSearch() {
	p, s := beam.NewPipelineWithRoot()
	queries, base := record.FromStructs[animal](s, beam.CreateList(s, unknown)), record.FromStructs[animal](s, beam.CreateList(s, known))
	found := knn.Search(s, queries, base, knn.SearchConfig{K: 2})
	beam.ParDo0(s, printHit, record.ToStructs[hit](s, found))
	execute(p)
	// Unordered output:
	// Pluto, neighbor 0: Fido, 1.00
	// Pluto, neighbor 1: Rex, 1.00
	// Felix, neighbor 0: Tom, 0.99
	// Felix, neighbor 1: Fido, 0.47
}

func ExampleClassify() {
	p, s := beam.NewPipelineWithRoot()
	queries, train := record.FromStructs[animal](s, beam.CreateList(s, unknown)), record.FromStructs[animal](s, beam.CreateList(s, known))
	classified := knn.Classify(s, queries, train, knn.Config{Label: "class", K: 1})
	beam.ParDo0(s, printGuess, record.ToStructs[guess](s, classified))
	execute(p)
	// Unordered output:
	// Pluto is a dog
	// Felix is a cat
}

// Each batch is an independent set.
func ExampleLeaveOneOut() {
	p, s := beam.NewPipelineWithRoot()
	sets := beam.Create(s, record.Of(known), record.Of([]animal{{"Nemo", "fish", []float32{1, 1}}, {"Dory", "shark", []float32{1, 2}}}))
	guessed := knn.LeaveOneOut(s, sets, knn.Config{Label: "class", K: 1})
	beam.ParDo0(s, printGuess, record.ToStructs[guess](s, guessed))
	execute(p)
	// Unordered output:
	// Rex is a dog
	// Fido is a dog
	// Tom is a dog
	// Nemo is a shark
	// Dory is a fish
}
