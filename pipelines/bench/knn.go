package bench

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
)

// searching describes an exact search for the k rows with the largest inner products. Vectors and neighbors are in the CPU's
// memory, on both sides.
type searching struct{ queries, rows, width, k int }

func knns(o Options, _ *pictures) []benchmark {
	return []benchmark{searching{10_000, 50_000, 512, 20}.benchmark(o.Threads)}
}

func (s searching) benchmark(threads int) benchmark {
	return benchmark{
		name:    fmt.Sprintf("knn/%dx%dx%d/k%d", s.queries, s.rows, s.width, s.k),
		kind:    "knn",
		sizes:   map[string]any{"queries": s.queries, "rows": s.rows, "width": s.width, "k": s.k},
		threads: threads,
		flops:   2 * float64(s.queries) * float64(s.rows) * float64(s.width),
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			e := dense.NewEngine(p)
			base, query := e.Matrix(normal(s.rows*s.width), s.rows, s.width), e.Matrix(normal(s.queries*s.width), s.queries, s.width)
			_, err := nearest.Search(base, query, s.k)
			return work{run: func() { _, _ = nearest.Search(base, query, s.k) }}, err
		},
	}
}
