package recipe

import (
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// SSL is the self-supervised loss and its heads.
type SSL struct {
	// Method is one of ssl.Methods.
	Method string `yaml:"method"`
	// Hidden is the width of the projector's hidden layers.
	Hidden int `yaml:"hidden"`
	// Dim is the width of the projector's output, the embedding.
	Dim int `yaml:"dim"`
	// Predictor is the width of the predictor's hidden layer.
	Predictor int `yaml:"predictor"`
	// Distill is lambda, the weight of SiamKD: the distillation of each sub-net
	// from the net that it split off from. 0 leaves it out.
	Distill float64 `yaml:"distill"`
	// Settings are those of the method, keys of the section like the others: what
	// is not given has the method's default, and what only other methods have is
	// dropped.
	Settings ssl.Values `yaml:",inline"`
}

// settingKeys lists the settings that any method has.
func settingKeys() []string {
	var keys []string
	for _, name := range ssl.Methods() {
		for _, s := range ssl.Lookup(name).Settings() {
			keys = append(keys, s.Name)
		}
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// resolve makes Settings those of the method, all of them. An unknown method has
// none.
func (s *SSL) resolve() {
	given := s.Settings
	s.Settings = ssl.Values{}
	if m := ssl.Lookup(s.Method); m != nil {
		for _, setting := range m.Settings() {
			v, ok := given[setting.Name]
			if !ok {
				v = setting.Default
			}
			s.Settings[setting.Name] = v
		}
	}
}

// MarshalYAML writes the settings among the other keys.
func (s SSL) MarshalYAML() (any, error) {
	out := yaml.MapSlice{
		{Key: "method", Value: s.Method}, {Key: "hidden", Value: s.Hidden}, {Key: "dim", Value: s.Dim},
		{Key: "predictor", Value: s.Predictor}, {Key: "distill", Value: s.Distill},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		out = append(out, yaml.MapItem{Key: name, Value: s.Settings[name]})
	}
	return out, nil
}

// Loss returns the loss of the method.
func (r *Recipe) Loss() ssl.Loss { return ssl.Lookup(r.SSL.Method).Loss(r.SSL.Settings) }

// Heads returns the heads that the loss needs on the backbone. SiamKD needs a
// predictor whatever the method.
func (r *Recipe) Heads() nn.Heads {
	h := ssl.Lookup(r.SSL.Method).Heads(ssl.Sizes{Hidden: r.SSL.Hidden, Dim: r.SSL.Dim, Predictor: r.SSL.Predictor})
	if r.SSL.Distill > 0 {
		h.PredictorHidden = r.SSL.Predictor
	}
	return h
}
