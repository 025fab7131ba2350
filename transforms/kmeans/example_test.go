package kmeans_test

import (
	"context"
	"fmt"
	"log"
	"math"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[feature]())
	beam.RegisterType(reflect.TypeFor[label]())
	beam.RegisterFunction(printLabel)
	beam.RegisterFunction(printCentroid)
	beam.RegisterFunction(printFeature)
}

func printLabel(l label) { fmt.Printf("row %d: cluster %s, distance %.1f\n", l.ID, l.Code, l.Distance) }

func printCentroid(c kmeans.Centroid) {
	fmt.Printf("cluster %s: %d rows around %.1f\n", c.Code, c.Size, c.Centroid)
}

func printFeature(f feature) {
	fmt.Printf("row %d: %.1f from the center\n", f.ID, math.Hypot(float64(f.Feature[0]), float64(f.Feature[1])))
}

// run runs a pipeline in this process.
func run(p *beam.Pipeline) {
	if _, err := beam.Run(context.Background(), "prism", p); err != nil {
		log.Fatal(err)
	}
}

// points are two groups.
var points = []feature{{1, []float32{0, 0}}, {2, []float32{0, 1}}, {3, []float32{8, 0}}, {4, []float32{8, 1}}, {5, []float32{8, 2}}}

func ExampleCluster() {
	p, s := beam.NewPipelineWithRoot()
	in := record.FromStructs[feature](s, beam.CreateList(s, points))
	assigned, centroids := kmeans.Cluster(s, in, kmeans.Config{
		Column: "feature", Branching: []int{2}, Iterations: 10,
		Start: [][]float32{{0, 0}, {9, 0}}, // else k-means++ draws them
	})
	beam.ParDo0(s, printLabel, record.ToStructs[label](s, assigned))
	beam.ParDo0(s, printCentroid, record.ToStructs[kmeans.Centroid](s, centroids))
	run(p)
	// Unordered output:
	// row 1: cluster 0, distance 0.5
	// row 2: cluster 0, distance 0.5
	// row 3: cluster 1, distance 1.0
	// row 4: cluster 1, distance 0.0
	// row 5: cluster 1, distance 1.0
	// cluster 0: 2 rows around [0.0 0.5]
	// cluster 1: 3 rows around [8.0 1.0]
}

func ExampleAssign() {
	p, s := beam.NewPipelineWithRoot()
	in := record.FromStructs[feature](s, beam.CreateList(s, points))
	known := record.FromStructs[kmeans.Centroid](s, beam.Create(s,
		kmeans.Centroid{Code: "0", Centroid: []float32{0, 0}}, kmeans.Centroid{Code: "1", Centroid: []float32{8, 0}}))
	assigned := kmeans.Assign(s, in, known, kmeans.AssignConfig{Column: "feature"})
	beam.ParDo0(s, printLabel, record.ToStructs[label](s, assigned))
	run(p)
	// Unordered output:
	// row 1: cluster 0, distance 0.0
	// row 2: cluster 0, distance 1.0
	// row 3: cluster 1, distance 0.0
	// row 4: cluster 1, distance 1.0
	// row 5: cluster 1, distance 2.0
}

// A flat ellipse becomes a circle.
func ExampleWhiten() {
	p, s := beam.NewPipelineWithRoot()
	in := record.FromStructs[feature](s, beam.Create(s, feature{1, []float32{9, 1}}, feature{2, []float32{-9, 1}}, feature{3, []float32{0, 4}}, feature{4, []float32{0, -2}}))
	white := kmeans.Whiten(s, in, kmeans.WhitenConfig{Column: "feature", Floor: .01})
	beam.ParDo0(s, printFeature, record.ToStructs[feature](s, white))
	run(p)
	// Unordered output:
	// row 1: 1.4 from the center
	// row 2: 1.4 from the center
	// row 3: 1.4 from the center
	// row 4: 1.4 from the center
}
