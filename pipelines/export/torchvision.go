package export

import (
	"context"
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/stages/route"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// torchvisionFormat is the model file itself.
var torchvisionFormat = Format{
	Name: "torchvision", Extension: ".safetensors",
	Summary: "safetensors with torchvision's names and shapes, which sdr reads, too",
	python: func(b nn.Backbone, path string) string {
		switch {
		case b.Arch == mobileNet:
			return pythonMobileNet(b, path)
		case b.Width != 64:
			return pythonTimm(b, path) // torchvision has no other width
		}
		return fmt.Sprintf(`import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.%s()
model.fc = torch.nn.Identity()
%smodel.load_state_dict(load_file(%q))
`, b.Arch, pythonStem(b), path)
	},
	write: writeSafetensors,
}

// mobileNet is the architecture that only torchvision has under these names.
const mobileNet = "mobilenet_v2"

func pythonMobileNet(b nn.Backbone, path string) string {
	stem := ""
	if b.Stem == "small" {
		stem = "model.features[0][0].stride = (1, 1)  # the stem is small\n"
	}
	return fmt.Sprintf(`import torch, torchvision
from safetensors.torch import load_file

model = torchvision.models.mobilenet_v2(width_mult=%v)
model.classifier = torch.nn.Identity()
%smodel.load_state_dict(load_file(%q))
`, float64(b.Width)/64, stem, path)
}

func writeSafetensors(ctx context.Context, path string, m *Model, _ Options) error {
	return route.Export(ctx, m.Model, path)
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
