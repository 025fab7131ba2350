package export

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/onnx"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// onnxFormat is a graph from input to features and, with a classifier, logits, with the backbone and its input in the metadata.
var onnxFormat = Format{
	Name: "onnx", Extension: ".onnx", Preprocess: true,
	Summary: "an ONNX graph, opset 18, of normalized images or, with --preprocess, of uint8 ones",
	python: func(n net, path string) string {
		output, more := featuresName, ""
		if n.classes > 0 {
			output, more = logitsName, "; classes names these"
		}
		return fmt.Sprintf(`import onnxruntime

session = onnxruntime.InferenceSession(%[1]q)
# images are float32 [batch, 3, size, size], (pixels / 255 - mean) / std or, with --preprocess,
# uint8 [batch, height, width, 3]; size, mean and std: session.get_modelmeta().custom_metadata_map%[3]s
%[2]s = session.run(["%[2]s"], {"input": images})[0]
`, path, output, more)
	},
	write: func(ctx context.Context, path string, m *Model, o Options) error {
		metadata, err := onnxMetadata(m)
		if err != nil {
			return err
		}
		doc := fmt.Sprintf("%s, width %d, %s stem, from images of %d px to %d features", m.Backbone.Arch, m.Backbone.Width, m.Backbone.Stem, m.Input.Size, m.Backbone.FeatureDim())
		return files.Write(ctx, path, func(w io.Writer) error { return onnx.Write(w, graph(m, o.Preprocess), doc, metadata) })
	},
}

// The names of the graph's input and outputs.
const (
	inputName    = "input"
	featuresName = "features"
	logitsName   = "logits"
)

// onnxMetadata returns the metadata of a model file, sorted.
func onnxMetadata(m *Model) (entries []*onnx.Entry, err error) {
	backbone, err := json.Marshal(m.Backbone)
	if err != nil {
		return nil, err
	}
	all := maps.Clone(m.Meta)
	all["backbone"] = string(backbone)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		entries = append(entries, &onnx.Entry{Key: key, Value: all[key]})
	}
	return entries, nil
}

// graph returns the graph of a model, with or without the preparation of images.
func graph(m *Model, preprocess bool) *onnx.Graph {
	g := &onnx.Graph{Name: m.Backbone.Arch}
	images := inputName
	if preprocess {
		g.Input = append(g.Input, onnx.NewValue(inputName, onnx.ElementType_UINT8, "images: rows of red, green and blue", "batch", "height", "width", 3))
		images = prepare(g, m.Input)
	} else {
		g.Input = append(g.Input, onnx.NewValue(inputName, onnx.ElementType_FLOAT, "images: (pixels / 255 - mean) / std", "batch", 3, m.Input.Size, m.Input.Size))
	}
	m.AppendONNX(g, images, featuresName, logitsName)
	g.Output = append(g.Output, onnx.NewValue(featuresName, onnx.ElementType_FLOAT, "", "batch", m.Backbone.FeatureDim()))
	if n := m.Heads.Classes; n > 0 {
		g.Output = append(g.Output, onnx.NewValue(logitsName, onnx.ElementType_FLOAT, "of the metadata's classes", "batch", n))
	}
	return g
}

// prepare adds what imageio.RGB.Square and augment.Normalize do: it scales the shorter side to the model's size, by a
// bicubic filter that is as wide as the scale asks, in the passes of package resample, crops the central square, and
// normalizes.
func prepare(g *onnx.Graph, in inference.Input) string {
	x := g.Apply("Transpose", "channels_first", []string{inputName}, onnx.Ints("perm", 0, 3, 1, 2))
	x = g.Apply("Cast", "pixels", []string{x}, onnx.Int("to", int64(onnx.ElementType_FLOAT)))
	size := g.Ints("size", int64(in.Size), int64(in.Size))
	axes := g.Ints("axes", 2, 3)

	sides := g.Apply("Shape", "sides", []string{x}, onnx.Int("start", 2))
	shorter := g.Apply("ReduceMin", "shorter", []string{sides})
	scaled := g.Apply("Mul", "sides_by_size", []string{sides, size})
	scaled = g.Apply("Div", "scaled_sides", []string{scaled, shorter}) // rounds down

	// One pass per axis; the first pass leaves the height as it is unless it shrinks by more than twice as much as the width.
	shrinks := g.Apply("Sub", "shrinks", []string{sides, scaled})
	shrinks = g.Apply("Mul", "shrinks_by", []string{shrinks, g.Ints("once_twice", 1, 2)})
	shrinks = g.Apply("Max", "shrinks_at_all", []string{shrinks, g.Ints("not", 0)})
	tall := g.Apply("Greater", "tall", []string{part(g, shrinks, 0), part(g, shrinks, 1)})
	height, width := part(g, scaled, 0), part(g, scaled, 1)
	half, black, white := g.Floats("half", nil, .5), g.Floats("black", nil, 0), g.Floats("white", nil, 255)
	for i, pass := range []struct {
		axis int64
		to   string
	}{{2, g.Apply("Where", "first_height", []string{tall, height, part(g, sides, 0)})}, {3, width}, {2, height}} {
		name := fmt.Sprintf("_by_pass_%d", i+1)
		x = g.Apply("Resize", "resized"+name, []string{x, "", "", pass.to}, onnx.Int("antialias", 1), onnx.Ints("axes", pass.axis),
			onnx.String("mode", "cubic"), onnx.Float("cubic_coeff_a", -.5), onnx.Int("exclude_outside", 1))
		x = g.Apply("Clip", "clipped"+name, []string{x, black, white})
		x = g.Apply("Add", "raised"+name, []string{x, half})
		x = g.Apply("Floor", "rounded"+name, []string{x})
	}

	begin := g.Apply("Sub", "margins", []string{scaled, size})
	begin = g.Apply("Cast", "margins_float", []string{begin}, onnx.Int("to", int64(onnx.ElementType_FLOAT)))
	begin = g.Apply("Mul", "half_margins", []string{begin, half})
	begin = g.Apply("Round", "begin_float", []string{begin}) // half to even, as CenterCrop does
	begin = g.Apply("Cast", "begin", []string{begin}, onnx.Int("to", int64(onnx.ElementType_INT64)))
	end := g.Apply("Add", "end", []string{begin, size})
	x = g.Apply("Slice", "square", []string{x, begin, end, axes})

	x = g.Apply("Div", "scaled", []string{x, white})
	x = g.Apply("Sub", "centered", []string{x, g.Floats("mean", []int{1, 3, 1, 1}, in.Mean[:]...)})
	return g.Apply("Div", "normalized", []string{x, g.Floats("std", []int{1, 3, 1, 1}, in.Std[:]...)})
}

// part picks an element of a vector, as a vector.
func part(g *onnx.Graph, of string, index int64) string {
	name := fmt.Sprintf("%s_%d", of, index)
	return g.Apply("Gather", name, []string{of, g.Ints("index_of_"+name, index)})
}
