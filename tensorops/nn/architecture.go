package nn

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Backbone is a network from images to features.
type Backbone struct {
	Arch  string `json:"arch"`  // one of Architectures
	Stem  string `json:"stem"`  // small: 3x3, stride 1; imagenet: 7x7, stride 2, then 3x3 max-pooling, stride 2
	Width int    `json:"width"` // channels of the first stage before expansion, 64 = torchvision
}

// architecture builds backbones of one kind. To add one, implement it in a file of its own that registers it.
type architecture interface {
	// build adds the layers and operations of a backbone from the images on and returns its last feature maps.
	build(d *design, b Backbone, images operand) operand
	// stages is the number of stages that an SDRnet can split.
	stages() int
}

var architectures = map[string]architecture{}

// Architectures lists what Backbone.Arch can be, in alphabetical order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Stems lists what Backbone.Stem can be.
func Stems() []string { return []string{"small", "imagenet"} }

// Validate returns an error for a backbone that cannot be built.
func (b Backbone) Validate() error {
	switch {
	case architectures[b.Arch] == nil:
		return fmt.Errorf("nn: unknown architecture %q; use one of %s", b.Arch, strings.Join(Architectures(), ", "))
	case !slices.Contains(Stems(), b.Stem):
		return fmt.Errorf("nn: unknown stem %q; use one of %s", b.Stem, strings.Join(Stems(), ", "))
	case b.Width < 1:
		return fmt.Errorf("nn: backbone width %d; use at least 1 (64 is torchvision's)", b.Width)
	}
	return nil
}

// FeatureDim is the number of features per image after global average pooling.
func (b Backbone) FeatureDim() int {
	d := newDesign(b, Heads{})
	return d.channels[d.features]
}

// Stages is the number of stages that an SDRnet can split; 0 for an unknown architecture.
func (b Backbone) Stages() int {
	if a := architectures[b.Arch]; a != nil {
		return a.stages()
	}
	return 0
}

// Heads are the layers that training puts on a backbone. The zero value has none: the network ends with its
// features.
//
// The projector maps features to ProjectorDim through ProjectorLayers linear layers with ReLU between them. With
// ProjectorBN every layer is followed by BatchNorm, the last one without scale and shift (SimSiam, arXiv 2011.10566) or,
// with ProjectorBias, by a bias instead (BYOL, arXiv 2006.07733); otherwise the layers have biases (SimCLR, arXiv
// 2002.05709). The predictor is linear, BatchNorm, ReLU, linear.
type Heads struct {
	ProjectorHidden int  `json:"projector_hidden"`
	ProjectorDim    int  `json:"projector_dim"`
	ProjectorLayers int  `json:"projector_layers"` // 0 = no projector
	ProjectorBN     bool `json:"projector_bn"`
	ProjectorBias   bool `json:"projector_bias,omitempty"`
	PredictorHidden int  `json:"predictor_hidden"` // 0 = no predictor
}

// Validate returns an error for heads that cannot be built.
func (h Heads) Validate() error {
	switch {
	case h.ProjectorLayers < 0 || h.PredictorHidden < 0:
		return fmt.Errorf("nn: heads %+v: negative size; use 0 for no head", h)
	case h.ProjectorLayers == 0 && h != Heads{}:
		return fmt.Errorf("nn: heads %+v: sizes without a projector; set ProjectorLayers or clear the rest", h)
	case h.ProjectorLayers > 0 && h.ProjectorDim < 1:
		return fmt.Errorf("nn: heads %+v: the projector needs ProjectorDim of at least 1", h)
	case h.ProjectorLayers > 1 && h.ProjectorHidden < 1:
		return fmt.Errorf("nn: heads %+v: a projector of several layers needs ProjectorHidden of at least 1", h)
	}
	return nil
}
