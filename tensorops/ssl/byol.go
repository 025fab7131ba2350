package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("byol", byol{}) }

// byol predicts what a target network, the moving average of the student, projects the other view to.
type byol struct{}

func (byol) Summary() string { return "BYOL (arXiv 2006.07733)" }

func (byol) Settings() []Setting {
	return []Setting{{"momentum", 0.996, 0, 1, "of the target network in the first step; rises to 1 by a cosine"}}
}

func (byol) Heads(s Sizes) nn.Heads {
	return nn.Heads{
		ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 2, ProjectorBN: true, ProjectorBias: true,
		PredictorHidden: s.Predictor,
	}
}

func (byol) Loss(v Values) Loss {
	return Loss{Terms: []Term{NegativeCosine{Target}}, Target: &EMA{Base: v["momentum"]}}
}
