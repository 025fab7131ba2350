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
	Stem  string `json:"stem"`  // imagenet: torchvision's; small: a 3x3 convolution of stride 1, without pooling
	Width int    `json:"width"` // 64 = torchvision's channels, of which others are multiples; ResNets begin with as many
}

// architecture builds a family of backbones. To add one, implement it in a file of its own that registers it.
type architecture interface {
	// build adds the backbone's layers and operations, starting from the images, and returns its last feature maps. It
	// appends the outputs of the stages to the design's ends.
	build(d *design, b Backbone, images operand) operand
	// stages returns the number of stages that an SDRnet can split.
	stages() int
	// classifier returns torchvision's name of the last linear layer.
	classifier() string
	// timmName returns timm's name of a tensor, of which torchvision's is given.
	timmName(name string) string
}

var architectures = map[string]architecture{}

// Architectures lists the valid values of Backbone.Arch in alphabetical order.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Stems lists the valid values of Backbone.Stem.
func Stems() []string { return []string{"small", "imagenet"} }

// Validate returns an error for an invalid backbone.
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

// String describes the backbone in words.
func (b Backbone) String() string {
	return fmt.Sprintf("%s of width %d with the %s stem", b.Arch, b.Width, b.Stem)
}

// FeatureDim returns the number of features per image after global average pooling.
func (b Backbone) FeatureDim() int {
	d := newDesign(b, Heads{})
	return d.channels[d.features]
}

// Stages returns the number of stages that an SDRnet can split; 0 for an unknown architecture.
func (b Backbone) Stages() int {
	if a := architectures[b.Arch]; a != nil {
		return a.stages()
	}
	return 0
}

// Classifier returns the name of the linear layer of Heads.Classes, torchvision's: fc, or classifier.1 of a MobileNetV2.
func (b Backbone) Classifier() string { return architectures[b.Arch].classifier() }

// TimmName returns timm's name of a tensor of a model file, which has torchvision's.
func (b Backbone) TimmName(name string) string { return architectures[b.Arch].timmName(name) }

// Heads are the training-only layers on top of a backbone. The zero value is no heads: the network ends with its
// features.
//
// The projector maps features to ProjectorDim by ProjectorLayers linear layers with ReLU between them. With
// ProjectorBN, each layer is followed by BatchNorm, the last one's without scale and shift (SimSiam, arXiv 2011.10566);
// with ProjectorBias as well, the last layer has a bias instead (BYOL, arXiv 2006.07733). Without ProjectorBN, all
// layers have biases (SimCLR, arXiv 2002.05709). The predictor is linear, BatchNorm, ReLU, linear.
//
// Prototypes are vectors to which a loss compares the projector's output (SwAV, arXiv 2006.09882). They are parameters
// that no pass of the network reads: the loss does, and computes their gradient; see Swapped.
//
// A net that is trained on labels has a classifier instead of these: one linear layer from the features to Classes
// logits, under torchvision's name; see [Backbone.Classifier].
type Heads struct {
	ProjectorHidden int  `json:"projector_hidden"`
	ProjectorDim    int  `json:"projector_dim"`
	ProjectorLayers int  `json:"projector_layers"` // 0 = no projector
	ProjectorBN     bool `json:"projector_bn"`
	ProjectorBias   bool `json:"projector_bias,omitempty"`
	Prototypes      int  `json:"prototypes,omitempty"`
	PredictorHidden int  `json:"predictor_hidden"`  // 0 = no predictor
	Classes         int  `json:"classes,omitempty"` // 0 = no classifier
}

// Validate returns an error for invalid heads.
func (h Heads) Validate() error {
	switch {
	case h.ProjectorLayers < 0 || h.PredictorHidden < 0 || h.Prototypes < 0 || h.Classes < 0:
		return fmt.Errorf("nn: heads %+v: negative size; use 0 for no head", h)
	case h.Classes > 0 && h != Heads{Classes: h.Classes}:
		return fmt.Errorf("nn: heads %+v: a classifier excludes all other heads; clear the other fields", h)
	case h.ProjectorLayers == 0 && h != Heads{Classes: h.Classes}:
		return fmt.Errorf("nn: heads %+v: sizes without a projector; set ProjectorLayers or clear the other fields", h)
	case h.ProjectorLayers > 0 && h.ProjectorDim < 1:
		return fmt.Errorf("nn: heads %+v: a projector needs a ProjectorDim of at least 1", h)
	case h.ProjectorLayers > 1 && h.ProjectorHidden < 1:
		return fmt.Errorf("nn: heads %+v: a projector with several layers needs a ProjectorHidden of at least 1", h)
	}
	return nil
}
