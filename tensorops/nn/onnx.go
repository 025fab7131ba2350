package nn

import (
	"fmt"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/onnx"
)

// AppendONNX adds the model's backbone and, if it has one, its classifier to an ONNX graph: from the value images,
// normalized, [batch, 3, height, width], to the values features, [batch, FeatureDim], which are those of Inference, and logits,
// [batch, Heads.Classes]. The constants have the names of a model file. It panics if the model has other heads.
func (m *Model) AppendONNX(g *onnx.Graph, images, features, logits string) {
	if m.Heads != (Heads{Classes: m.Heads.Classes}) {
		panic(fmt.Sprintf("nn: AppendONNX of a model with heads %+v", m.Heads))
	}
	d := newDesign(m.Backbone, m.Heads)
	names := map[int]string{} // of parameters, by offset
	for _, p := range d.layout.Params {
		shape, data := toFile(p, m.Params[p.Offset:p.Offset+p.Size])
		names[p.Offset] = g.Floats(p.Name, shape, data...)
	}
	stats := map[int]string{}
	for _, s := range d.layout.Stats {
		stats[s.Offset] = g.Floats(s.Name, []int{s.Size}, m.Stats[s.Offset:s.Offset+s.Size]...)
	}
	values := []string{images} // per operand
	for _, o := range d.operations {
		x := values[o.in]
		switch o.kind {
		case layerKind:
			residual := ""
			if o.residual != none {
				residual = values[o.residual]
			}
			if o.layer.Linear {
				x = g.Apply("Gemm", logits, []string{x, names[o.layer.Weight.From], names[o.layer.Norm.Shift.From]}, onnx.Int("transB", 1))
			} else {
				x = appendLayer(g, o.layer, names, stats, x, residual)
			}
		case maxPoolKind:
			x = g.Apply("MaxPool", "maxpool", []string{x}, onnx.Ints("kernel_shape", 3, 3), onnx.Ints("pads", 1, 1, 1, 1), onnx.Ints("strides", 2, 2))
		case avgPoolKind:
			x = g.Apply("GlobalAveragePool", "avgpool", []string{x})
			x = g.Apply("Flatten", features, []string{x}, onnx.Int("axis", 1))
		}
		values = append(values, x)
	}
}

// appendLayer adds a convolution with BatchNorm, the sum with a residual unless that is "", and the activation.
func appendLayer(g *onnx.Graph, l Layer, names, stats map[int]string, x, residual string) string {
	weight, scale := names[l.Weight.From], names[l.Norm.Scale.From]
	conv, norm := strings.TrimSuffix(weight, ".weight"), strings.TrimSuffix(scale, ".weight")
	k, s, p := int64(l.Kernel), int64(l.Stride), int64(l.Pad)
	attributes := []*onnx.Attribute{onnx.Ints("kernel_shape", k, k), onnx.Ints("pads", p, p, p, p), onnx.Ints("strides", s, s)}
	if l.Depthwise {
		attributes = append(attributes, onnx.Int("group", int64(l.Out)))
	}
	x = g.Apply("Conv", conv, []string{x, weight}, attributes...)
	n := l.Norm
	x = g.Apply("BatchNormalization", norm, []string{x, scale, names[n.Shift.From], stats[n.RunningMean.From], stats[n.RunningVar.From]}, onnx.Float("epsilon", bnEpsilon))
	if residual != "" {
		x = g.Apply("Add", norm+".sum", []string{x, residual})
	}
	switch l.Activation {
	case ReLU:
		x = g.Apply("Relu", norm+".relu", []string{x})
	case ReLU6:
		x = g.Apply("Clip", norm+".relu6", []string{x, g.Floats(norm+".least", nil, 0), g.Floats(norm+".most", nil, 6)})
	}
	return x
}
