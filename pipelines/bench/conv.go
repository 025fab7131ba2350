package bench

import (
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// convolution is one convolution of a network.
type convolution struct {
	name string // its parameter's, without ".weight"
	kernels.Conv
}

// convolutions lists the convolutions of a backbone in the order of its parameters, for n images of size x size pixels.
func convolutions(b nn.Backbone, size, n int) []convolution {
	strided := map[string]string{"resnet18": "conv1", "resnet50": "conv2"}[b.Arch] // where a stage halves the image
	blockSize := size                                                              // at the entry of the current block
	var list []convolution
	for _, p := range nn.NewLayout(b, nn.Heads{}).Params {
		if p.Kind != nn.ConvWeight {
			continue
		}
		c := convolution{strings.TrimSuffix(p.Name, ".weight"), kernels.Conv{
			N: n, H: size, W: size, Cin: p.Shape[2], Cout: p.Shape[3],
			KH: p.Shape[0], KW: p.Shape[1], Stride: 1, Pad: p.Shape[0] / 2,
		}}
		var stage, block int
		var layer string
		_, _ = fmt.Sscanf(c.name, "layer%d.%d.%s", &stage, &block, &layer) // the stem stays at stage 0
		first := stage > 1 && block == 0
		switch {
		case stage == 0 && b.Stem == "imagenet":
			c.Stride = 2
			size = (c.OutH()-1)/2 + 1 // max-pooling
		case layer == "downsample.0":
			c.H, c.W = blockSize, blockSize
			if first {
				c.Stride = 2
			}
		default:
			if layer == "conv1" {
				blockSize = size
			}
			if first && layer == strided {
				c.Stride = 2
			}
			size = c.OutH()
		}
		list = append(list, c)
	}
	return list
}

// flops of one pass: forward, or either gradient.
func (c convolution) flops() float64 {
	return 2 * float64(c.N*c.OutH()*c.OutW()*c.Cout) * float64(c.KH*c.KW*c.Cin)
}

// convs are the different layers of ResNet-18 with the small stem for 64 images of 32 px in two views.
func convs(o Options, _ *pictures) []benchmark {
	var cases []benchmark
	for _, width := range []int{16, 32, 64} {
		cases = append(cases, layers(nn.Backbone{Arch: "resnet18", Stem: "small", Width: width}, 32, 128, o)...)
	}
	return cases
}

// layers are the three passes of every convolution of a backbone whose shape no earlier one has. The images need no
// gradient.
func layers(b nn.Backbone, size, n int, o Options) []benchmark {
	var cases []benchmark
	seen := map[kernels.Conv]bool{}
	for i, c := range convolutions(b, size, n) {
		if seen[c.Conv] {
			continue
		}
		seen[c.Conv] = true
		for _, pass := range []string{"forward", "backward-data", "backward-weights"} {
			if i > 0 || pass != "backward-data" {
				name := fmt.Sprintf("conv/width%d/%s/%s", b.Width, c.name, pass)
				cases = append(cases, c.benchmark(name, pass, o.Threads, false))
				if o.BF16 {
					cases = append(cases, c.benchmark(name+"/bf16", pass, o.Threads, true))
				}
			}
		}
	}
	return cases
}

func (c convolution) benchmark(name, pass string, threads int, bf16 bool) benchmark {
	precision := kernels.FP32
	if bf16 {
		precision = kernels.BF16
	}
	return benchmark{
		name: name,
		kind: "conv",
		sizes: map[string]any{
			"n": c.N, "size": c.H, "in": c.Cin, "out": c.Cout, "kernel": c.KH, "stride": c.Stride, "pad": c.Pad, "pass": pass,
		},
		threads: threads,
		flops:   c.flops(),
		bf16:    bf16,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			plan := kernels.NewConvPlan(c.Conv, precision, p)
			x, w, y := random(c.N*c.H*c.W*c.Cin), random(c.KH*c.KW*c.Cin*c.Cout), random(c.N*c.OutH()*c.OutW()*c.Cout)
			return work{run: map[string]func(){
				"forward":          func() { plan.Forward(x, w, y) },
				"backward-data":    func() { plan.BackwardData(y, w, x) },
				"backward-weights": func() { plan.BackwardWeights(x, y, w) },
			}[pass]}, nil
		},
	}
}
