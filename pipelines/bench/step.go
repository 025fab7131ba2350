package bench

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// training is a training step of a self-supervised method: a forward pass per view, each with its own BatchNorm
// statistics, the loss, backward, and SGD with momentum and weight decay.
type training struct {
	method   string // simsiam or ntxent
	backbone nn.Backbone
	heads    nn.Heads
	images   int
	size     int           // height and width of a view in pixels
	round    ssl.Precision // to which operands of products may be rounded
	subnets  int           // that take a step between two updates of their shared weights; 0 if there is one net
	device   ssl.Device
}

const (
	temperature  = 0.2 // NT-Xent's
	learningRate = 0.03
)

var sgd = optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}

// newTraining is a step of ResNet-18 with the small stem on 64 images of 32 px, with SimSiam's heads for CIFAR (arXiv
// 2011.10566, with ImageNet's sizes) or SimCLR's heads (arXiv 2002.05709).
func newTraining(method string, width int, round ssl.Precision) training {
	sizes := map[string]ssl.Sizes{
		"simsiam": {Hidden: 2048, Dim: 2048, Predictor: 512},
		"ntxent":  {Hidden: 2048, Dim: 128},
	}
	return training{
		method: method, backbone: nn.Backbone{Arch: "resnet18", Stem: "small", Width: width}, images: 64, size: 32, round: round,
		heads: ssl.Lookup(method).Heads(sizes[method], nil),
	}
}

// newMobile is such a step of MobileNetV2, with the default recipe's small heads.
func newMobile(width int, round ssl.Precision) training {
	t := newTraining("ntxent", width, round)
	t.backbone.Arch = "mobilenet_v2"
	t.heads = ssl.Lookup(t.method).Heads(ssl.Sizes{Hidden: 128, Dim: 64}, nil)
	return t
}

// steps are whole training steps on given views, of ResNet-18 and MobileNetV2. A GPU also gets batches that fill it, several
// sub-nets for it to compute at a time, which PyTorch takes one after the other, and ResNet-50 on photos.
func steps(o Options, _ *pictures) []benchmark {
	var cases []benchmark
	for _, p := range o.precisions() {
		list := []training{
			newTraining("simsiam", 16, p), newTraining("simsiam", 32, p), newTraining("simsiam", 64, p),
			newTraining("ntxent", 16, p), newMobile(16, p), newMobile(64, p),
		}
		if o.Device.Name == ssl.CUDA {
			for _, t := range []training{newTraining("simsiam", 64, p), newTraining("ntxent", 64, p)} {
				t.images = 512
				list = append(list, t)
			}
			for _, n := range []int{4, 8} {
				t := newTraining("simsiam", 16, p)
				t.subnets = n
				list = append(list, t)
			}
			photos := newTraining("simsiam", 64, p)
			photos.backbone = nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 64}
			photos.images, photos.size = 256, 224
			if p == ssl.BF16 {
				list = append(list, photos)
			}
		}
		for _, t := range list {
			t.device = o.Device
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
		images:  t.steps() * t.images,
		round:   t.round,
		memory:  true,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			l, err := t.learner(p, nil)
			if err != nil {
				return work{}, err
			}
			for range t.steps() + 1 { // all buffers for views have some
				copy(l.Views(), random(len(l.Views())))
				t.step(l, func() {})
			}
			var held uint64
			return work{
				run:   func() { held = t.step(l, func() {}).Memory },
				held:  func() uint64 { return held },
				close: l.Close,
			}, nil
		},
	}
}

// name identifies the case.
func (t training) name() string {
	name := t.method
	if t.backbone.Arch != "resnet18" {
		name += "/" + t.backbone.Arch
	}
	name += fmt.Sprintf("/width%d", t.backbone.Width)
	if t.images != 64 {
		name += fmt.Sprintf("/batch%d", t.images)
	}
	if t.subnets > 0 {
		name += fmt.Sprintf("/subnets%d", t.subnets)
	}
	if t.round != ssl.FP32 {
		name += "/" + string(t.round)
	}
	return name
}

func (t training) sizes() map[string]any {
	return map[string]any{
		"method": t.method, "arch": t.backbone.Arch, "width": t.backbone.Width, "images": t.images, "size": t.size,
		"projector_hidden": t.heads.ProjectorHidden, "projector_dim": t.heads.ProjectorDim,
		"projector_layers": t.heads.ProjectorLayers, "projector_bn": t.heads.ProjectorBN,
		"predictor_hidden": t.heads.PredictorHidden, "steps": t.steps(),
	}
}

// steps returns the number of steps per run.
func (t training) steps() int { return max(1, t.subnets) }

// flops returns the FLOPs of a run: every layer's forward pass and both gradients, except the gradient of the images.
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
	return float64(t.steps()) * sum
}

// learner returns a learner to take the steps, whose views a device makes unless views is nil.
func (t training) learner(p *kernels.Pool, views *ssl.Views) (ssl.Learner, error) {
	cfg := ssl.Config{
		Backbone: t.backbone, Heads: t.heads, Size: t.size, Batch: t.images, Precision: t.round, Optimizer: sgd,
		Loss: ssl.Lookup(t.method).Loss(ssl.Values{"temperature": temperature}), Views: views,
		Defers: t.subnets > 0, Ahead: t.subnets,
	}
	layout := nn.NewLayout(t.backbone, t.heads)
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(1, rng.Weights))
	var split sdrnet.Config
	if t.subnets > 0 {
		split = sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{t.subnets}, Shared: .5}
	}
	nets, err := sdrnet.New(layout, split, params, cfg.State(params), nil)
	if err != nil {
		return nil, err
	}
	if t.subnets > 0 {
		nets.Split()
	}
	l, err := ssl.Open(t.device, cfg, p)
	if err != nil {
		return nil, err
	}
	return l, l.Load(nets, nil)
}

// step takes a step on the learner's views, or one of each sub-net, does something else meanwhile, and returns the last step's
// metrics, with how long the device computed in all.
func (t training) step(l ssl.Learner, meanwhile func()) (last ssl.Measure) {
	must := func(err error) {
		if err != nil {
			panic(err)
		}
	}
	for i := range t.steps() {
		s := ssl.Step{LR: learningRate, Number: 1, Of: 1}
		if t.subnets > 0 {
			s.Code, s.Defer = fmt.Sprint(i), i+1 < t.subnets
		}
		must(l.Submit(s))
	}
	meanwhile()
	for range t.steps() {
		found, err := l.Wait()
		must(err)
		found.Busy += last.Busy
		last = found
	}
	return last
}
