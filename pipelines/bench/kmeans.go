package bench

import (
	"context"
	"fmt"
	"reflect"
	"runtime"
	"strconv"
	"sync"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	_ "github.com/apache/beam/sdks/v2/go/pkg/beam/runners/prism" // where the jobs run
	"golang.org/x/sync/errgroup"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/kmeans"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[readFn]())
	beam.RegisterDoFn(reflect.TypeFor[countFn]())
}

// clustering describes k-means from given centroids, the first vectors.
type clustering struct {
	rows, width, k int
	iterations     int // of a whole job; 0 for one iteration without a job
}

// kmeanses are iterations, also of more and more vectors, and whole jobs on prism with the number of iterations that
// Config.Iterations often has. In iterations alone, a GPU has the vectors already.
func kmeanses(o Options, _ *pictures) (cases []benchmark) {
	for _, iterations := range []int{0, 20} {
		for _, k := range []int{16, 256, 1024} {
			cases = append(cases, clustering{100_000, 512, k, iterations}.benchmark(o.Threads))
		}
	}
	for _, rows := range []int{100_000, 300_000, 1_000_000} {
		cases = append(cases, clustering{rows, 128, 256, 0}.benchmark(o.Threads))
	}
	if o.Device.Name == ssl.CUDA { // ImageNet by the features of a ResNet-50
		cases = append(cases, clustering{1_280_000, 2048, 256, 0}.benchmark(o.Threads))
	}
	return cases
}

func (c clustering) benchmark(threads int) benchmark {
	name := fmt.Sprintf("kmeans/%dx%d/k%d", c.rows, c.width, c.k)
	iterations := 1
	if c.iterations > 0 {
		name, iterations = name+"/job", c.iterations
	}
	return benchmark{
		name:    name,
		kind:    "kmeans",
		sizes:   map[string]any{"rows": c.rows, "width": c.width, "k": c.k, "iterations": c.iterations},
		threads: threads,
		flops:   2 * float64(c.rows) * float64(c.width) * float64(c.k) * float64(iterations),
		prepare: func(*kernels.Pool, [][]byte) (work, error) { return c.prepare(threads) },
	}
}

func (c clustering) prepare(threads int) (work, error) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(threads)) // the size of the pool of package compute
	_ = compute.Run(func(*kernels.Pool) error { return nil })
	vectors := normal(c.rows * c.width)
	var start [][]float32
	for i := range c.k {
		start = append(start, vectors[i*c.width:][:c.width])
	}
	if c.iterations == 0 {
		l, err := kmeans.NewLloyd(vectors, c.width, start)
		if err != nil {
			return work{}, err
		}
		return work{run: func() {
			if err := l.Iterate(); err != nil {
				panic(err)
			}
		}, close: l.Close}, nil
	}
	const batch = 2000
	var batches []*record.Batch
	for from := 0; from < c.rows; from += batch {
		n := min(batch, c.rows-from)
		column, err := record.FromDense("feature", compute.Engine().Matrix(vectors[from*c.width:][:n*c.width], n, c.width))
		if err != nil {
			return work{}, err
		}
		rows := make([]numbered, n)
		for i := range rows {
			rows[i].ID = int64(from + i)
		}
		batches = append(batches, record.With(record.Of(rows), "feature", column))
	}
	return work{run: func() {
		if err := c.job(batches, start); err != nil {
			panic(err) // of a job without anything that could fail
		}
	}}, nil
}

// job clusters batches and counts the assigned rows.
func (c clustering) job(batches []*record.Batch, start [][]float32) error {
	key := strconv.Itoa(c.k)
	readable.Store(key, batches)
	defer readable.Delete(key)
	p, s := beam.NewPipelineWithRoot()
	in := beam.ParDo(s, &readFn{key}, beam.Impulse(s))
	assigned, centroids := kmeans.Cluster(s, in, kmeans.Config{
		Column: "feature", Branching: []int{c.k}, Iterations: c.iterations, Start: start, Local: true,
	})
	beam.ParDo0(s, &countFn{}, beam.Flatten(s, assigned, centroids))
	_, err := beam.Run(context.Background(), "prism", p)
	return err
}

// numbered is a row without its vector.
type numbered struct {
	ID int64 `arrow:"id"`
}

// readable holds the batches of the running job.
var readable sync.Map

// readFn stands for reading the batches.
type readFn struct{ Key string }

func (fn *readFn) ProcessElement(_ []byte, emit func(*record.Batch)) error {
	batches, ok := readable.Load(fn.Key)
	if !ok {
		return fmt.Errorf("bench: there are no batches for k = %s", fn.Key)
	}
	for _, b := range batches.([]*record.Batch) {
		emit(b)
	}
	return nil
}

// countFn stands for writing the result.
type countFn struct{}

func (*countFn) ProcessElement(*record.Batch) {}

// normal returns n normally distributed random numbers.
func normal(n int) []float32 {
	const part = 1 << 20
	s := kernels.NewFloats(n)
	var g errgroup.Group
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := 0; i < n; i += part {
		g.Go(func() error {
			r, to := rng.New(1, rng.Sample, uint64(n), uint64(i)), s[i:min(n, i+part)]
			for j := range to {
				to[j] = float32(r.NormFloat64())
			}
			return nil
		})
	}
	_ = g.Wait() // of functions that return nil
	return s
}
