package bench

import (
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// convFlops returns the FLOPs of one pass: forward or either gradient.
func convFlops(c kernels.Conv) float64 { return 2 * c.Multiplications() }

// convs are the distinct convolutions of ResNet-18 with the small stem, for two views of 64 images of 32 px.
func convs(o Options, _ *pictures) []benchmark {
	var cases []benchmark
	for _, width := range []int{16, 32, 64} {
		cases = append(cases, layers(nn.Backbone{Arch: "resnet18", Stem: "small", Width: width}, 32, 128, o)...)
	}
	return cases
}

// layers are the three passes of every convolution of a backbone, leaving out repeated shapes and the gradient of the
// images.
func layers(b nn.Backbone, size, n int, o Options) []benchmark {
	var cases []benchmark
	seen := map[kernels.Conv]bool{}
	for i, c := range nn.Convolutions(b, size, n) {
		if seen[c.Conv] {
			continue
		}
		seen[c.Conv] = true
		for _, pass := range []string{"forward", "backward-data", "backward-weights"} {
			if i > 0 || pass != "backward-data" {
				name := fmt.Sprintf("conv/width%d/%s/%s", b.Width, strings.TrimSuffix(c.Weight.Name, ".weight"), pass)
				cases = append(cases, convPass(c.Conv, name, pass, o.Threads, ssl.FP32))
				if o.BF16 {
					cases = append(cases, convPass(c.Conv, name+"/bf16", pass, o.Threads, ssl.BF16))
				}
			}
		}
	}
	return cases
}

func convPass(c kernels.Conv, name, pass string, threads int, round ssl.Precision) benchmark {
	precision := kernels.FP32
	if round == ssl.BF16 {
		precision = kernels.BF16
	}
	return benchmark{
		name: name,
		kind: "conv",
		sizes: map[string]any{
			"n": c.N, "size": c.H, "in": c.Cin, "out": c.Cout, "kernel": c.KH, "stride": c.Stride, "pad": c.Pad, "pass": pass,
		},
		threads: threads,
		flops:   convFlops(c),
		round:   round,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			plan := kernels.NewConvPlan(c, precision, p)
			x, w, y := random(c.N*c.H*c.W*c.Cin), random(c.KH*c.KW*c.Cin*c.Cout), random(c.N*c.OutH()*c.OutW()*c.Cout)
			return work{run: map[string]func(){
				"forward":          func() { plan.Forward(x, w, y) },
				"backward-data":    func() { plan.BackwardData(y, w, x) },
				"backward-weights": func() { plan.BackwardWeights(x, y, w) },
			}[pass]}, nil
		},
	}
}
