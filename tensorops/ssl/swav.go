package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("swav", swAV{}) }

// swAV predicts from one view to which prototypes, learned cluster centers, the other view is assigned. Each batch is
// spread evenly over the prototypes, so batches of one subset suit prototypes of its own: split.heads: individual.
type swAV struct{}

func (swAV) Summary() string { return "SwAV (arXiv 2006.09882), without multi-crop" }

func (swAV) Settings() []Setting {
	return []Setting{
		temperature(0.1),
		{Name: "prototypes", Default: 300, Min: 1, Max: 1 << 16, Whole: true, Usage: "number of prototypes"},
		{
			Name: "epsilon", Default: 0.05, Min: 0.03, Max: 10,
			Usage: "entropy regularization of the assignments: higher ones are softer",
		},
	}
}

func (swAV) Heads(s Sizes, v Values) nn.Heads {
	return nn.Heads{
		ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 2, ProjectorBN: true, ProjectorBias: true,
		Prototypes: int(v["prototypes"]),
	}
}

func (swAV) Loss(v Values) Loss {
	return Loss{Terms: []Term{SwappedPrediction{Temperature: v["temperature"], Epsilon: v["epsilon"], Iterations: 3}}}
}
