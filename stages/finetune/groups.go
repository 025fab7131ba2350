package finetune

import (
	"math"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// group is a range of the flat vector of parameters with settings of its own.
type group struct {
	nn.Span
	rate  float32 // that multiplies the learning rate
	decay bool    // weight decay applies
}

// groups returns the parameter groups of layer-wise learning-rate decay, as in timm: the classifier has a rate of 1, and
// each block decay times that of the block above it. Weight decay is for weights only.
func groups(l *nn.Layout, decay float64) (all []group) {
	blocks := []string{}
	for _, p := range l.Params {
		if b := block(p); !slices.Contains(blocks, b) {
			blocks = append(blocks, b)
		}
	}
	for _, p := range l.Params {
		below := len(blocks) - 1 - slices.Index(blocks, block(p))
		g := group{
			Span: nn.Span{From: p.Offset, To: p.Offset + p.Size}, rate: float32(math.Pow(decay, float64(below))),
			decay: p.Kind == nn.ConvWeight || p.Kind == nn.LinearWeight,
		}
		if last := len(all) - 1; last >= 0 && all[last].rate == g.rate && all[last].decay == g.decay {
			all[last].To = g.To
		} else {
			all = append(all, g)
		}
	}
	return all
}

// block returns the name of a parameter's block, such as layer4.1; the stem and the classifier are one each.
func block(p nn.Param) string {
	switch p.Part {
	case nn.Stem:
		return "stem"
	case nn.Projector:
		return "fc"
	}
	parts := strings.SplitN(p.Name, ".", 3)
	return strings.Join(parts[:min(2, len(parts))], ".")
}
