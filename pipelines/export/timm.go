package export

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// timmFormat is the model file again, since timm's names are torchvision's.
var timmFormat = Format{
	Name: "timm", Extension: ".safetensors",
	Summary: "the same file, for timm; add features_only=True for feature maps",
	check:   checkTimm,
	python:  pythonTimm,
	write:   writeSafetensors,
}

func pythonTimm(n net, path string) string {
	return fmt.Sprintf(`import timm, torch
from safetensors.torch import load_file

model = timm.create_model(%q, num_classes=%d%s)
%smodel.load_state_dict(load_file(%q))
`, n.Arch, n.classes, pythonArguments(timmArguments(n.Backbone)), pythonStem(n.Backbone), path)
}

// timmArguments returns the arguments that give timm's ResNet the width of a backbone. timm has a stem of another width than
// 64 only if it is deep; the channels after it are right then, and the stem is replaced.
func timmArguments(b nn.Backbone) map[string]any {
	if b.Width == 64 {
		return nil
	}
	w := b.Width
	return map[string]any{"channels": []int{w, 2 * w, 4 * w, 8 * w}, "stem_type": "deep", "stem_width": w / 2}
}

// checkTimm refuses backbones that timm has not, or not under these names.
func checkTimm(b nn.Backbone) error {
	if b.Arch == mobileNet {
		return fmt.Errorf("timm has other names for the weights of a MobileNetV2; export to torchvision or to onnx")
	}
	if b.Width%2 != 0 {
		return fmt.Errorf("timm has no ResNet of an odd width such as %d; export to torchvision, for a class of your own, or to onnx", b.Width)
	}
	return nil
}

// pythonArguments formats keyword arguments that follow others.
func pythonArguments(arguments map[string]any) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(arguments)) {
		value, err := json.Marshal(arguments[name]) // as Python writes these
		if err != nil {
			panic(err) // they are numbers, strings and lists
		}
		fmt.Fprintf(&b, ", %s=%s", name, value)
	}
	return b.String()
}
