package bench

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
)

// forwards compute features of images, with running BatchNorm statistics.
func forwards(o Options, _ *pictures) []benchmark {
	resnet50 := nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 64}
	return []benchmark{features("forward/resnet50", resnet50, 224, 16, o.Threads)}
}

func features(name string, b nn.Backbone, size, images, threads int) benchmark {
	flops := 0.0
	for _, c := range nn.Convolutions(b, size, images) {
		flops += convFlops(c.Conv)
	}
	return benchmark{
		name:    name,
		kind:    "forward",
		sizes:   map[string]any{"arch": b.Arch, "width": b.Width, "images": images, "size": size},
		threads: threads,
		flops:   flops,
		images:  images,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			net := nn.New(b, nn.Heads{}, size, images, 1, p, nn.Inference)
			net.Layout.Init(net.Params, rng.New(1, rng.Weights))
			batch := random(images * size * size * 3)
			return work{run: func() { net.Forward(batch, nn.RunningStats) }}, nil
		},
	}
}
