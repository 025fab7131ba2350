package bench

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// matrices describes the product of an m x k and a k x n matrix, each of which may be stored transposed.
type matrices struct {
	m, k, n        int
	transA, transB bool
}

func (s matrices) flops() float64 { return 2 * float64(s.m) * float64(s.k) * float64(s.n) }

// prepare returns a function that computes the product.
func (s matrices) prepare(p *kernels.Pool) func() {
	a, b, c := random(s.m*s.k), random(s.k*s.n), kernels.NewFloats(s.m*s.n)
	lda, ldb := s.k, s.n
	if s.transA {
		lda = s.m
	}
	if s.transB {
		ldb = s.k
	}
	return func() { p.Gemm(s.transA, s.transB, s.m, s.n, s.k, a, lda, b, ldb, c, s.n, false) }
}

// gemms are a large square product, the products of the heads with a batch of 128 and of their gradients, the 1x1
// convolutions of ResNet-50 with 16 images of 224 px, and 3x3 convolutions of ResNet-18 as im2col turns them into
// products.
func gemms(o Options, _ *pictures) []benchmark {
	square := matrices{m: 1024, k: 1024, n: 1024}
	cases := []benchmark{square.benchmark(1)}
	if o.Threads > 1 {
		cases = append(cases, square.benchmark(o.Threads))
	}
	for _, s := range []matrices{
		{m: 128, k: 512, n: 2048},
		{m: 128, k: 2048, n: 2048},
		{m: 128, k: 2048, n: 2048, transB: true},
		{m: 2048, k: 128, n: 2048, transA: true},
		{m: 128, k: 2048, n: 512},
		{m: 50176, k: 64, n: 256},
		{m: 12544, k: 128, n: 512},
		{m: 3136, k: 1024, n: 256},
		{m: 784, k: 512, n: 2048},
		{m: 8192, k: 576, n: 64},
		{m: 2048, k: 4608, n: 512},
		{m: 4608, k: 2048, n: 512, transA: true},
	} {
		cases = append(cases, s.benchmark(o.Threads))
	}
	return cases
}

func (s matrices) benchmark(threads int) benchmark {
	letter := map[bool]string{false: "N", true: "T"}
	return benchmark{
		name:    fmt.Sprintf("gemm/%dx%dx%d/%s%s/threads%d", s.m, s.k, s.n, letter[s.transA], letter[s.transB], threads),
		kind:    "gemm",
		sizes:   map[string]any{"m": s.m, "k": s.k, "n": s.n, "trans_a": s.transA, "trans_b": s.transB},
		threads: threads,
		flops:   s.flops(),
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) { return work{run: s.prepare(p)}, nil },
	}
}

// random returns n random numbers between -1 and 1.
func random(n int) []float32 {
	r, s := rng.New(1, rng.Sample, uint64(n)), kernels.NewFloats(n)
	for i := range s {
		s[i] = 2*r.Float32() - 1
	}
	return s
}
