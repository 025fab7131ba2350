package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("moco", moCo{}) }

// moCo tells the target network's projection of the other view, the key, from the keys of earlier batches. Both views
// serve as queries and as keys.
type moCo struct{}

func (moCo) Summary() string { return "MoCo v2 (arXiv 2003.04297), with a symmetric loss" }

func (moCo) Settings() []Setting {
	return []Setting{
		temperature(0.2),
		{Name: "momentum", Default: 0.999, Max: 1, Usage: "EMA momentum of the target network, in all steps"},
		{
			Name: "queue", Default: 4096, Min: 1, Max: 1 << 20, Whole: true,
			Usage: "number of negative keys that each sub-net keeps",
		},
	}
}

func (moCo) Heads(s Sizes, _ Values) nn.Heads {
	return nn.Heads{ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 2}
}

func (moCo) Loss(v Values) Loss {
	return Loss{
		Terms:  []Term{InfoNCE{Temperature: v["temperature"], Queue: int(v["queue"])}},
		Target: &EMA{Base: v["momentum"], Final: v["momentum"]},
	}
}
