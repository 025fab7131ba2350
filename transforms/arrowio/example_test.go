package arrowio_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"github.com/apache/beam/sdks/v2/go/pkg/beam/testing/passert"

	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/record"
)

type sale struct {
	Fruit string `arrow:"fruit"`
	Count int64  `arrow:"count"`
}

// Two batches as one Parquet file, of which another pipeline makes an Arrow file.
func Example() {
	dir, err := os.MkdirTemp("", "arrowio")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	p, s := beam.NewPipelineWithRoot()
	sales := beam.Create(s, record.Of([]sale{{"apple", 3}, {"fig", 1}}), record.Of([]sale{{"plum", 8}}))
	arrowio.WriteParquet(s, filepath.Join(dir, "sales.parquet"), sales)
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}

	p, s = beam.NewPipelineWithRoot()
	again := arrowio.ReadParquet(s, filepath.Join(dir, "*.parquet"))
	passert.Equals(s, beam.ParDo(s, fruits, again), "apple", "fig", "plum")
	arrowio.WriteIPC(s, filepath.Join(dir, "sales.arrow"), again)
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
	rows := int64(0)
	err = arrowio.Each(context.Background(), filepath.Join(dir, "sales.arrow"), func(b *record.Batch) error {
		rows += b.NumRows()
		return nil
	})
	fmt.Println(rows, "rows", err)
	// Output: 3 rows <nil>
}

func fruits(b *record.Batch, emit func(string)) error {
	rows, err := record.Rows[sale](b)
	for _, r := range rows {
		emit(r.Fruit)
	}
	return err
}

func init() { beam.RegisterFunction(fruits) }
