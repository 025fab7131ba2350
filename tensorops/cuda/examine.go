package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/dense"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nearest"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// tolerances are the errors that Examine accepts, relative to the largest value: the accuracy of the operands.
var tolerances = map[ssl.Precision]float64{ssl.FP32: 1e-4, ssl.TF32: 5e-3, ssl.BF16: 2e-2}

// Examine implements ssl.Driver: it looks at the libraries and the GPU, and compares a matrix product, a convolution, views,
// a search and a few training steps with the CPU's.
func (g *gpus) Examine(opts ssl.Device) []ssl.Finding {
	found := describe(opts.Libraries)
	add := func(what, detail string, err error) bool {
		found = append(found, ssl.Finding{What: what, Detail: detail, Err: err})
		return err == nil
	}
	pool := kernels.NewPool(0)
	defer pool.Close()
	for _, precision := range []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16} {
		limit := tolerances[precision]
		judge := func(what string, off float64, err error) bool {
			if err == nil && !(off <= limit) {
				err = fmt.Errorf("differs from the CPU by %.2g of the largest value, more than %.2g", off, limit)
			}
			return add(fmt.Sprintf("%s in %s", what, precision), fmt.Sprintf("within %.2g of the CPU, relative to the largest value", off), err)
		}
		a, err := g.load(opts.Libraries)
		if err != nil {
			return found // already reported
		}
		d, err := openDevice(a, opts, precision)
		if err != nil {
			add("GPU", "", err)
			return found
		}
		if precision == ssl.FP32 {
			add("GPU", d.name, nil)
		}
		off, err := d.examineProduct(pool)
		ok := judge("matrix product", off, err)
		off, err = d.examineConvolutions(pool)
		ok = judge("convolutions", off, err) && ok
		off, err = d.examineViews()
		ok = judge("views", off, err) && ok
		if precision == ssl.FP32 { // the only one for searches
			off, err = d.examineSearch(pool)
			ok = judge("nearest neighbors", off, err) && ok
		}
		if err := d.close(); err != nil {
			add("closing the GPU", "", err)
		}
		if !ok {
			continue
		}
		off, err = g.examineSteps(opts, precision, pool)
		judge("training steps", off, err)
	}
	return found
}

// examineProduct computes a matrix product on GPU and CPU and returns the largest error, relative to the largest value.
func (d *device) examineProduct(pool *kernels.Pool) (float64, error) {
	const m, n, k = 96, 64, 80
	leave, err := d.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	a, b, want := numbers(1, m*k), numbers(2, k*n), make([]float32, m*n)
	pool.Gemm(false, false, m, n, k, a, k, b, n, want, n, false)
	d.growWorkspace()
	c := d.floats(m * n)
	d.multiply(false, false, m, n, k, d.toDevice(a), d.toDevice(b), c, true)
	got := make([]float32, m*n)
	d.download(unsafe.Pointer(&got[0]), c, 4*len(got))
	err = d.wait()
	return farthest(want, got), err
}

// examinedShapes are the convolutions that Examine computes.
var examinedShapes = []kernels.Conv{
	{N: 4, H: 14, W: 14, Cin: 16, Cout: 32, KH: 3, KW: 3, Stride: 2, Pad: 1},
	{N: 4, H: 14, W: 14, Cin: 24, Cout: 24, KH: 3, KW: 3, Stride: 1, Pad: 1, Depthwise: true},
}

// examineConvolutions does the same for the three passes of convolutions.
func (d *device) examineConvolutions(pool *kernels.Pool) (worst float64, err error) {
	leave, err := d.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	for _, s := range examinedShapes {
		off, err := d.examineConvolution(s, pool)
		if err != nil {
			return 0, err
		}
		worst = max(worst, off)
	}
	return worst, nil
}

func (d *device) examineConvolution(s kernels.Conv, pool *kernels.Pool) (float64, error) {
	plan := kernels.NewConvPlan(s, kernels.FP32, pool)
	x, w := numbers(1, s.N*s.H*s.W*s.Cin), numbers(2, s.Weights())
	dy := numbers(3, s.N*s.OutH()*s.OutW()*s.Cout)
	y, dx, dw := make([]float32, len(dy)), make([]float32, len(x)), make([]float32, len(w))
	plan.Forward(x, w, y)
	plan.BackwardData(dy, w, dx)
	plan.BackwardWeights(x, dy, dw)

	l := &nn.Layout{Params: []nn.Param{{Size: len(w), Filters: s.Cout, Kind: nn.ConvWeight}}, NumParams: len(w)}
	order := newFlat(l).order[:len(w)]
	reordered := make([]float32, len(w))
	for i, from := range order {
		reordered[i] = w[from]
	}
	out, back := d.acts(len(y), "a convolution"), d.acts(len(x), "a convolution")
	dwOnGPU := d.acts(len(w), "a convolution")
	v := d.product(s, d.toDevice(reordered), dwOnGPU)
	onGPU, dyOnGPU := d.toDevice(x), d.toDevice(dy)
	v.Forward(onGPU, out)
	v.BackwardData(dyOnGPU, back)
	v.BackwardWeights(onGPU, dyOnGPU)
	worst := 0.0
	for _, pair := range []struct {
		want    []float32
		got     Buffer
		weights bool
	}{{y, out, false}, {dx, back, false}, {dw, dwOnGPU, true}} {
		got, err := d.toHost(pair.got)
		if err != nil {
			return 0, err
		}
		if pair.weights {
			for i, from := range order {
				reordered[from] = got[i]
			}
			got = reordered
		}
		worst = max(worst, farthest(pair.want, got))
	}
	return worst, nil
}

// examineViews makes views on GPU and CPU, which should be the same, and returns the largest error, relative to the largest
// value.
func (d *device) examineViews() (float64, error) {
	const batch, side, size = 16, 32, 24
	leave, err := d.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	operations := append(augment.SimSiam(64), augment.Solarize{P: .2, Threshold: 128})
	of := ssl.Views{Size: side, Std: [3]float32{1, 1, 1}, Steps: augment.MaxSteps * len(operations)}
	worker, random := augment.NewWorker(operations, size, of.Mean, of.Std), rng.NewGenerator()
	maker, want := newViewMaker(d, d, of, batch, size), make([]float32, 2*batch*size*size*3)
	host := make([]byte, maker.sources.Len)
	sources := maker.in(host)
	for i, v := range numbers(4, len(sources.Images)) {
		sources.Images[i] = uint8(128 + 40*v)
	}
	for i := range 2 * batch {
		random.Seek(1, rng.View, uint64(i))
		worker.Fill(sources.Steps[i*of.Steps:][:of.Steps], side, side, random)
		random.Seek(1, rng.View, uint64(i))
		worker.View(want[i*size*size*3:][:size*size*3], sources.Images[i%batch*side*side*3:][:side*side*3], side, side, random)
	}
	d.upload(maker.sources, unsafe.Pointer(&host[0]), len(host))
	out := d.acts(len(want), "an examination")
	maker.run(out)
	got, err := d.toHost(out)
	return farthest(want, got), err
}

// examineSearch finds nearest neighbors on GPU and CPU and returns the largest error of a similarity.
func (d *device) examineSearch(pool *kernels.Pool) (float64, error) {
	const rows, queries, width, k = 1500, 40, 50, 20
	leave, err := d.enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	e, base, query := dense.NewEngine(pool), numbers(1, rows*width), numbers(2, queries*width)
	want, err := nearest.Search(e.Matrix(base, rows, width), e.Matrix(query, queries, width), k)
	if err != nil {
		return 0, err
	}
	s := kernels.Search{
		Base: base, Query: query, Width: width, K: k,
		Index: slices.Repeat([]int32{-1}, queries*k), Similarity: slices.Repeat([]float32{float32(math.Inf(-1))}, queries*k),
	}
	d.search(s)
	err = d.wait()
	return farthest(want.Similarity, s.Similarity), err
}

// examineSteps trains a small network on GPU and CPU and returns the largest difference of the losses, which are about
// 1.
func (g *gpus) examineSteps(opts ssl.Device, precision ssl.Precision, pool *kernels.Pool) (float64, error) {
	c := ssl.Config{
		Backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: 16},
		Heads:    nn.Heads{ProjectorHidden: 64, ProjectorDim: 64, ProjectorLayers: 2, ProjectorBN: true, PredictorHidden: 32},
		Size:     16, Batch: 32, Precision: precision, Loss: ssl.Loss{Terms: []ssl.Term{ssl.NegativeCosine{Target: ssl.Student}}},
		Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4},
	}
	layout := nn.NewLayout(c.Backbone, c.Heads)
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(1, rng.Weights))
	train := func(l ssl.Learner, err error) ([]float64, error) {
		if err != nil {
			return nil, err
		}
		nets, err := sdrnet.New(layout, sdrnet.Config{}, params, c.State(params), nil)
		if err == nil {
			err = l.Load(nets, nil)
		}
		var losses []float64
		for n := 1; n <= 4 && err == nil; n++ {
			copy(l.Views(), numbers(uint64(n), len(l.Views())))
			if err = l.Submit(ssl.Step{LR: 1e-3, Number: n, Of: 4}); err == nil {
				var m ssl.Measure
				m, err = l.Wait()
				losses = append(losses, m.Loss)
			}
		}
		return losses, errors.Join(err, l.Close())
	}
	want, err := train(ssl.Open(ssl.Device{}, c, pool))
	if err != nil {
		return 0, err
	}
	got, err := train(g.Open(opts, c))
	if err != nil {
		return 0, err
	}
	worst := 0.0
	for i := range want {
		worst = math.Max(worst, math.Abs(want[i]-got[i]))
	}
	return worst, nil
}

// toDevice copies floats to the device as activations.
func (d *device) toDevice(x []float32) Buffer {
	wide, to := d.floats(len(x)), d.acts(len(x), "an examination")
	d.upload(wide, unsafe.Pointer(&x[0]), 4*len(x))
	convert(d, wide, to)
	return to
}

// toHost copies activations to the host.
func (d *device) toHost(b Buffer) ([]float32, error) {
	out := make([]float32, b.Len)
	if !d.bf16 {
		d.download(unsafe.Pointer(&out[0]), b, 4*b.Len)
		return out, d.wait()
	}
	narrow := make([]uint16, b.Len)
	d.download(unsafe.Pointer(&narrow[0]), b, 2*b.Len)
	err := d.wait()
	for i, v := range narrow {
		out[i] = math.Float32frombits(uint32(v) << 16)
	}
	return out, err
}

// numbers returns normally distributed numbers.
func numbers(seed uint64, n int) []float32 {
	random, out := rng.New(seed, rng.View), make([]float32, n)
	for i := range out {
		out[i] = float32(random.NormFloat64())
	}
	return out
}

// farthest returns the largest difference, relative to the largest value.
func farthest(want, got []float32) float64 {
	var top, off float64
	for i, w := range want {
		top = math.Max(top, math.Abs(float64(w)))
		off = math.Max(off, math.Abs(float64(w-got[i])))
	}
	return off / top
}
