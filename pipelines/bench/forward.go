package bench

import (
	"fmt"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// forwards compute features of images, with running BatchNorm statistics. A GPU gets a batch that fills it; the images come
// from memory that it can read, and the features go to the CPU's.
func forwards(o Options, _ *pictures) []benchmark {
	resnet50 := nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 64}
	if o.Device.Name == ssl.CUDA {
		const images = 256
		return []benchmark{features(fmt.Sprintf("forward/resnet50/batch%d", images), resnet50, 224, images, o)}
	}
	return []benchmark{features("forward/resnet50", resnet50, 224, 16, o)}
}

func features(name string, b nn.Backbone, size, images int, o Options) benchmark {
	flops := 0.0
	for _, c := range nn.Convolutions(b, size, images) {
		flops += convFlops(c.Conv)
	}
	return benchmark{
		name:    name,
		kind:    "forward",
		sizes:   map[string]any{"arch": b.Arch, "width": b.Width, "images": images, "size": size},
		threads: o.Threads,
		flops:   flops,
		images:  images,
		prepare: func(p *kernels.Pool, _ [][]byte) (work, error) {
			x, err := ssl.OpenExtractor(o.Device, b, nn.Heads{}, size, images, p)
			if err != nil {
				return work{}, err
			}
			layout := nn.NewLayout(b, nn.Heads{})
			params, stats := make([]float32, layout.NumParams), make([]float32, layout.NumStats)
			layout.Init(params, rng.New(1, rng.Weights))
			layout.InitStats(stats)
			copy(x.Images(images), random(images*size*size*3))
			return work{run: func() {
				x.Images(images) // so that nothing of the last pass is reused
				if _, err := x.Features(); err != nil {
					panic(err)
				}
			}, close: x.Close}, x.Load(params, stats)
		},
	}
}
