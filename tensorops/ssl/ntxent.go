package ssl

import "github.com/sdr-ml/sdr/tensorops/nn"

func init() { RegisterMethod("ntxent", simCLR{}) }

// simCLR tells the other view of the same image from the views of all other images in the batch.
type simCLR struct{}

func (simCLR) Summary() string { return "NT-Xent, the loss of SimCLR (arXiv 2002.05709)" }

func (simCLR) Settings() []Setting {
	return []Setting{temperature(0.2)}
}

func (simCLR) Heads(s Sizes, _ Values) nn.Heads {
	return nn.Heads{ProjectorHidden: s.Hidden, ProjectorDim: s.Dim, ProjectorLayers: 2}
}

func (simCLR) Loss(v Values) Loss { return Loss{Terms: []Term{NTXent{v["temperature"]}}} }
