package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/safetensors"
	"github.com/sdr-ml/sdr/transforms/files"
)

// timmFormat is the model file again, since timm's names are torchvision's, except those of a MobileNetV2.
var timmFormat = Format{
	Name: "timm", Extension: ".safetensors",
	Summary: "the same for timm; add features_only=True for feature maps",
	check:   checkTimm,
	python:  pythonTimm,
	write:   writeTimm,
}

func pythonTimm(n net, path string) string {
	return fmt.Sprintf(`import timm, torch
from safetensors.torch import load_file

model = timm.create_model(%q, num_classes=%d%s)
%smodel.load_state_dict(load_file(%q))
`, timmArch(n.Backbone), n.classes, pythonArguments(timmArguments(n.Backbone)), timmStem(n.Backbone), path)
}

// timmArguments returns the arguments that give timm's ResNet the width of a backbone. timm has a stem of another width than
// 64 only if it is deep; the channels after it are right then, and the stem is replaced.
func timmArguments(b nn.Backbone) map[string]any {
	if b.Width == 64 || b.Arch == mobileNet {
		return nil
	}
	w := b.Width
	return map[string]any{"channels": []int{w, 2 * w, 4 * w, 8 * w}, "stem_type": "deep", "stem_width": w / 2}
}

// checkTimm refuses backbones that timm has not, or not under these names.
func checkTimm(b nn.Backbone) error {
	if b.Arch == mobileNet {
		if timmArch(b) == "" {
			return fmt.Errorf("timm has no MobileNetV2 of width %d, only of 32, 48 and 64; export to torchvision or to onnx", b.Width)
		}
		return nil
	}
	if b.Width%2 != 0 {
		return fmt.Errorf("timm has no ResNet of an odd width such as %d; export to torchvision, for a class of your own, or to onnx", b.Width)
	}
	return nil
}

// timmArch returns timm's name of an architecture; "" if it has none of this width.
func timmArch(b nn.Backbone) string {
	if b.Arch != mobileNet {
		return b.Arch
	}
	return map[int]string{32: "mobilenetv2_050", 48: "mobilenetv2_075", 64: "mobilenetv2_100"}[b.Width]
}

// timmStem is pythonStem for timm.
func timmStem(b nn.Backbone) string {
	switch {
	case b.Arch != mobileNet:
		return pythonStem(b)
	case b.Stem == "small":
		return "model.conv_stem.stride = (1, 1)  # the stem is small\n"
	}
	return ""
}

func writeTimm(ctx context.Context, path string, m *Model, o Options) error {
	if m.Backbone.Arch != mobileNet {
		return writeSafetensors(ctx, path, m, o)
	}
	tensors := nn.NewLayout(m.Backbone, m.Heads).Tensors("", m.Params, m.Stats)
	for i := range tensors {
		tensors[i].Name = m.Backbone.TimmName(tensors[i].Name)
	}
	metadata := map[string]string{"format": "pt"}
	maps.Copy(metadata, m.Meta)
	return files.Write(ctx, path, func(w io.Writer) error { return safetensors.Write(w, tensors, metadata) })
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
