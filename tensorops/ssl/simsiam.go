package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("simsiam", simSiam{}) }

// simSiam predicts the projection of the other view, with a stopped gradient.
type simSiam struct{}

func (simSiam) Summary() string { return "SimSiam (arXiv 2011.10566)" }

func (simSiam) Settings() []Setting { return nil }

func (simSiam) Heads(s Sizes, _ Values) nn.Heads {
	return nn.Heads{
		ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 3, ProjectorBN: true,
		PredictorHidden: s.Predictor,
	}
}

func (simSiam) Loss(Values) Loss { return Loss{Terms: []Term{NegativeCosine{Student}}} }
