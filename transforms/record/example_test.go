package record_test

import (
	"context"
	"fmt"
	"log"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[sale]())
	beam.RegisterType(reflect.TypeFor[price]())
	beam.RegisterFunction(printBatch)
	beam.RegisterFunction(printPrice)
}

type sale struct {
	Fruit string  `arrow:"fruit"`
	Count int64   `arrow:"count"`
	Price float64 `arrow:"price"`
}

// price has some of the columns of sale.
type price struct {
	Fruit string  `arrow:"fruit"`
	Price float64 `arrow:"price"`
}

func printBatch(b *record.Batch) { fmt.Println(b.NumRows(), "rows of", b.NumCols(), "columns") }

func printPrice(p price) { fmt.Printf("%s: %.2f\n", p.Fruit, p.Price) }

func execute(p *beam.Pipeline) {
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
}

func ExampleFromStructs() {
	p, s := beam.NewPipelineWithRoot()
	batches := record.FromStructs[sale](s, beam.Create(s, sale{"apple", 3, .5}, sale{"fig", 7, .25}))
	beam.ParDo0(s, printBatch, batches)
	execute(p)
	// Output: 2 rows of 3 columns
}

// Columns that the struct does not name are left out.
func ExampleToStructs() {
	p, s := beam.NewPipelineWithRoot()
	batches := beam.Create(s, record.Of([]sale{{"apple", 3, .5}, {"fig", 7, .25}}))
	beam.ParDo0(s, printPrice, record.ToStructs[price](s, batches))
	execute(p)
	// Unordered output:
	// apple: 0.50
	// fig: 0.25
}
