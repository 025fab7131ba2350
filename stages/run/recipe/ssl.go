package recipe

import (
	"maps"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// SSL is the self-supervised method and its heads.
type SSL struct {
	// Method is the method's name, one of ssl.Methods.
	Method string `yaml:"method"`
	// Hidden is the width of the projector's hidden layers.
	Hidden int `yaml:"hidden"`
	// Dim is the dimension of the embedding, the projector's output.
	Dim int `yaml:"dim"`
	// Predictor is the width of the predictor's hidden layer.
	Predictor int `yaml:"predictor"`
	// Distill is lambda, the weight of SiamKD, which distills each sub-net from the net that it split off from. 0 turns
	// it off.
	Distill float64 `yaml:"distill"`
	// Teacher is the net that Distill distills from: "parent" for the net that the sub-net split off from, frozen as of
	// then, or "ema" for an exponential moving average of the root, which teaches all sub-nets and the root itself.
	Teacher string `yaml:"teacher"`
	// TeacherMomentum is the momentum of that average, which moves after each step of the root.
	TeacherMomentum float64 `yaml:"teacher_momentum"`
	// Settings are the method's own settings, which are keys of this section too. Missing ones get the method's
	// defaults; settings of other methods are dropped.
	Settings ssl.Values `yaml:",inline"`
}

// Names of the teachers.
const (
	ParentTeacher = "parent"
	EMATeacher    = "ema"
)

// settingKeys lists the settings of all methods.
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

// resolve completes Settings to exactly the settings of the method. An unknown method has none.
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

// MarshalYAML writes the settings next to the other keys.
func (s SSL) MarshalYAML() (any, error) {
	out := yaml.MapSlice{
		{Key: "method", Value: s.Method}, {Key: "hidden", Value: s.Hidden}, {Key: "dim", Value: s.Dim},
		{Key: "predictor", Value: s.Predictor}, {Key: "distill", Value: s.Distill},
		{Key: "teacher", Value: s.Teacher}, {Key: "teacher_momentum", Value: s.TeacherMomentum},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Settings)) {
		out = append(out, yaml.MapItem{Key: name, Value: s.Settings[name]})
	}
	return out, nil
}

// Loss returns the method's loss.
func (r *Recipe) Loss() ssl.Loss { return ssl.Lookup(r.SSL.Method).Loss(r.SSL.Settings) }

// Heads returns the heads that the loss needs on the backbone. SiamKD always needs a predictor.
func (r *Recipe) Heads() nn.Heads {
	sizes := ssl.Sizes{Hidden: r.SSL.Hidden, Dim: r.SSL.Dim, Predictor: r.SSL.Predictor}
	h := ssl.Lookup(r.SSL.Method).Heads(sizes, r.SSL.Settings)
	if r.SSL.Distill > 0 {
		h.PredictorHidden = r.SSL.Predictor
	}
	return h
}
