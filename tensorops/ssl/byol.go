package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("byol", byol{}) }

// byol predicts, from one view, the target network's projection of the other view. The target network is an EMA of the
// student.
type byol struct{}

func (byol) Summary() string { return "BYOL (arXiv 2006.07733)" }

func (byol) Settings() []Setting {
	return []Setting{{
		Name: "momentum", Default: 0.996, Max: 1,
		Usage: "EMA momentum of the target network at the first step; follows a cosine up to 1",
	}}
}

func (byol) Heads(s Sizes, _ Values) nn.Heads {
	return nn.Heads{
		ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 2, ProjectorBN: true, ProjectorBias: true,
		PredictorHidden: s.Predictor,
	}
}

func (byol) Loss(v Values) Loss {
	return Loss{Terms: []Term{NegativeCosine{Target}}, Target: &EMA{Base: v["momentum"], Final: 1}}
}
