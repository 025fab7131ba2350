package bench

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// training is a training step of a self-supervised method: two views of every image forward, each with the BatchNorm
// statistics of its own, the loss, backward, and SGD with momentum and weight decay.
type training struct {
	method   string // simsiam or ntxent
	backbone nn.Backbone
	heads    nn.Heads
	images   int
	size     int // pixels of a view's side
	bf16     bool
}

const (
	temperature  = 0.2 // of NT-Xent
	learningRate = 0.03
)

var sgd = optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}

// newTraining is a step of ResNet-18 with the small stem on 64 images of 32 px: with the heads that SimSiam has on CIFAR
// (arXiv 2011.10566, with ImageNet's sizes) or those of SimCLR (arXiv 2002.05709).
func newTraining(method string, width int, bf16 bool) training {
	t := training{
		method: method, backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: width}, images: 64, size: 32, bf16: bf16,
		heads: nn.Heads{ProjectorHidden: 2048, ProjectorDim: 128, ProjectorLayers: 2},
	}
	if method == "simsiam" {
		t.heads = nn.Heads{
			ProjectorHidden: 2048, ProjectorDim: 2048, ProjectorLayers: 3, ProjectorBN: true, PredictorHidden: 512,
		}
	}
	return t
}

// steps are whole training steps on views that are there already.
func steps(o Options, _ *pictures) []benchmark {
	var cases []benchmark
	for _, bf16 := range o.precisions() {
		for _, t := range []training{
			newTraining("simsiam", 16, bf16), newTraining("simsiam", 32, bf16), newTraining("simsiam", 64, bf16),
			newTraining("ntxent", 16, bf16),
		} {
			cases = append(cases, t.benchmark(o.Threads))
		}
	}
	return cases
}

func (t training) benchmark(threads int) benchmark {
	return benchmark{
		name:    "step/" + t.name(),
		kind:    "step",
		sizes:   t.sizes(),
		threads: threads,
		flops:   t.flops(),
		images:  t.images,
		bf16:    t.bf16,
		memory:  true,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			step, views := t.prepare(p), random(2*t.images*t.size*t.size*3)
			return work{run: func() { step(views) }}, nil
		},
	}
}

// name tells the cases apart.
func (t training) name() string {
	return fmt.Sprintf("%s/width%d", t.method, t.backbone.Width) + map[bool]string{true: "/bf16"}[t.bf16]
}

func (t training) sizes() map[string]any {
	return map[string]any{
		"method": t.method, "width": t.backbone.Width, "images": t.images, "size": t.size,
		"projector_hidden": t.heads.ProjectorHidden, "projector_dim": t.heads.ProjectorDim,
		"projector_layers": t.heads.ProjectorLayers, "projector_bn": t.heads.ProjectorBN,
		"predictor_hidden": t.heads.PredictorHidden,
	}
}

// flops of a step: every layer forward, and both its gradients, but for that of the images.
func (t training) flops() float64 {
	sum := 0.0
	for i, c := range nn.Convolutions(t.backbone, t.size, 2*t.images) {
		sum += 3 * convFlops(c.Conv)
		if i == 0 {
			sum -= convFlops(c.Conv)
		}
	}
	for _, p := range nn.NewLayout(t.backbone, t.heads).Params {
		if p.Kind == nn.LinearWeight {
			sum += 3 * 2 * float64(2*t.images*p.Size)
		}
	}
	return sum
}

// prepare makes the net and returns its step on views [2*images, size, size, 3].
func (t training) prepare(p *kernels.Pool) func(views []float32) {
	n := 2 * t.images
	mode := nn.Train
	if t.bf16 {
		mode |= nn.BF16
	}
	net := nn.New(t.backbone, t.heads, t.size, n, 2, p, mode)
	net.Layout.Init(net.Params, rng.New(1, rng.Weights))
	velocity, gradient := make([]float32, len(net.Params)), make([]float32, len(net.Z))
	var backward func()
	if t.method == "ntxent" {
		loss := nn.NewNTXent(n, t.heads.ProjectorDim, temperature, p)
		backward = func() {
			loss.Loss(net.Z, gradient, 1)
			net.Backward(gradient, nil)
		}
	} else {
		loss := nn.NewNegCosine(n, t.heads.ProjectorDim, p)
		backward = func() {
			loss.Loss(net.P, net.Z, gradient, 1)
			net.Backward(nil, gradient)
		}
	}
	return func(views []float32) {
		net.Forward(views, nn.UpdateStats)
		clear(gradient)
		backward()
		sgd.Step(net.Params, net.Grads, velocity, learningRate)
	}
}
