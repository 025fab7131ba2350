package export

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// torchvisionFormat is the model file itself.
var torchvisionFormat = Format{
	Name: "torchvision", Extension: ".safetensors",
	Summary: "safetensors with torchvision's names and shapes, which sdr reads, too",
	python:  pythonTorchvision,
	write:   writeSafetensors,
}

// mobileNet is the architecture that torchvision and timm have under different names.
const mobileNet = "mobilenet_v2"

func pythonTorchvision(n net, path string) string {
	var arguments []string
	stem := pythonStem(n.Backbone)
	switch {
	case n.Arch == mobileNet:
		arguments = append(arguments, fmt.Sprintf("width_mult=%v", float64(n.Width)/64))
		if stem = ""; n.Stem == "small" {
			stem = "model.features[0][0].stride = (1, 1)  # the stem is small\n"
		}
	case n.Width != 64:
		return pythonTimm(n, path) // torchvision has no other width
	}
	if n.classes > 0 {
		arguments = append(arguments, fmt.Sprintf("num_classes=%d", n.classes))
	} else {
		layer, _, _ := strings.Cut(n.Classifier(), ".")
		stem = fmt.Sprintf("model.%s = torch.nn.Identity()\n", layer) + stem
	}
	return fmt.Sprintf(`import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.%s(%s)
%smodel.load_state_dict(load_file(%q))
`, n.Arch, strings.Join(arguments, ", "), stem, path)
}

func writeSafetensors(ctx context.Context, path string, m *Model, _ Options) error {
	return inference.Save(ctx, path, &m.Model.Model)
}

// pythonStem returns the lines of Python that give torchvision's or timm's ResNet the stem of a backbone; none for the
// stem that it has.
func pythonStem(b nn.Backbone) string {
	var lines strings.Builder
	if b.Stem == "small" {
		fmt.Fprintf(&lines, "model.conv1 = torch.nn.Conv2d(3, %d, 3, 1, 1, bias=False)  # the stem is small\n", b.Width)
		fmt.Fprintln(&lines, "model.maxpool = torch.nn.Identity()")
	} else if b.Width != 64 {
		fmt.Fprintf(&lines, "model.conv1 = torch.nn.Conv2d(3, %d, 7, 2, 3, bias=False)  # the width is not 64\n", b.Width)
	}
	return lines.String()
}
