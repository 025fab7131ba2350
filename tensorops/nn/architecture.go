package nn

import "fmt"

// Backbone is the architecture of a residual network (arXiv 1512.03385; ResNet-50 with the stride on the 3x3
// convolution, as torchvision has it).
type Backbone struct {
	Arch  string `json:"arch"`  // resnet18 or resnet50
	Stem  string `json:"stem"`  // small: 3x3, stride 1; imagenet: 7x7, stride 2, then 3x3 max-pooling, stride 2
	Width int    `json:"width"` // channels of the first stage before expansion, 64 = torchvision
}

// Validate returns an error for a backbone that cannot be built.
func (b Backbone) Validate() error {
	switch {
	case b.Arch != "resnet18" && b.Arch != "resnet50":
		return fmt.Errorf("nn: unknown architecture %q; use resnet18 or resnet50", b.Arch)
	case b.Stem != "small" && b.Stem != "imagenet":
		return fmt.Errorf("nn: unknown stem %q; use small or imagenet", b.Stem)
	case b.Width < 1:
		return fmt.Errorf("nn: backbone width %d; use at least 1 (64 is torchvision's)", b.Width)
	}
	return nil
}

// FeatureDim is the number of features an image has after global average pooling.
func (b Backbone) FeatureDim() int { return 8 * b.Width * b.expansion() }

// expansion is the number of output channels of a block per channel of its stage.
func (b Backbone) expansion() int {
	if b.Arch == "resnet50" {
		return 4
	}
	return 1
}

// depths is the number of blocks in each stage.
func (b Backbone) depths() [4]int {
	if b.Arch == "resnet50" {
		return [4]int{3, 4, 6, 3}
	}
	return [4]int{2, 2, 2, 2}
}

// Heads are the layers that training puts on a backbone. The zero value has none: the network ends with its
// features.
//
// The projector maps features to ProjectorDim through ProjectorLayers linear layers with ReLU between them. With
// ProjectorBN every layer is followed by BatchNorm, the last one without scale and shift (SimSiam, arXiv 2011.10566);
// otherwise the layers have biases (SimCLR, arXiv 2002.05709). The predictor is linear, BatchNorm, ReLU, linear.
type Heads struct {
	ProjectorHidden int  `json:"projector_hidden"`
	ProjectorDim    int  `json:"projector_dim"`
	ProjectorLayers int  `json:"projector_layers"` // 0 = no projector
	ProjectorBN     bool `json:"projector_bn"`
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
