// Package onnx writes ONNX files: schema.proto is the part of ONNX's schema that the networks of this module need, and the
// methods of Graph build a graph of it, node by node.
package onnx

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/proto"
)

//go:generate go run ./gen

// The versions of the format and of its operators. Opset 18 is the first whose Resize can reduce images well.
const (
	irVersion = 8
	opset     = 18
)

// Write writes a graph as an ONNX file; doc describes it to a reader. The same arguments give the same bytes. It fails for
// 2 GiB or more, the limit of the format.
func Write(w io.Writer, g *Graph, doc string, metadata []*Entry) error {
	m := &Model{
		IrVersion: irVersion, ProducerName: "sdr", DocString: doc, Graph: g,
		OpsetImport: []*OperatorSet{{Version: opset}}, MetadataProps: metadata,
	}
	if size := proto.Size(m); size > math.MaxInt32 {
		return fmt.Errorf("onnx: the graph has %d bytes, and an ONNX file less than 2 GiB", size)
	}
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return fmt.Errorf("onnx: %w", err)
	}
	return nil
}

// Apply adds a node that applies an operator to values and returns the name of its output, after which it is named.
func (x *Graph) Apply(operator, output string, inputs []string, attributes ...*Attribute) string {
	x.Node = append(x.Node, &Node{OpType: operator, Name: output, Input: inputs, Output: []string{output}, Attribute: attributes})
	return output
}

// Floats adds a constant and returns its name. An empty shape is a scalar's.
func (x *Graph) Floats(name string, shape []int, values ...float32) string {
	data := make([]byte, 0, 4*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return x.constant(name, ElementType_FLOAT, shape, data)
}

// Ints adds a constant vector and returns its name.
func (x *Graph) Ints(name string, values ...int64) string {
	data := make([]byte, 0, 8*len(values))
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	return x.constant(name, ElementType_INT64, []int{len(values)}, data)
}

func (x *Graph) constant(name string, of ElementType, shape []int, data []byte) string {
	t := &Tensor{Name: name, DataType: of, RawData: data}
	for _, d := range shape {
		t.Dims = append(t.Dims, int64(d))
	}
	x.Initializer = append(x.Initializer, t)
	return name
}

// NewValue describes an input or output. A dimension is a number or, where it may be any, a name.
func NewValue(name string, of ElementType, doc string, shape ...any) *Value {
	s := &Shape{}
	for _, d := range shape {
		switch d := d.(type) {
		case int:
			s.Dim = append(s.Dim, &Shape_Dimension{Value: &Shape_Dimension_DimValue{DimValue: int64(d)}})
		case string:
			s.Dim = append(s.Dim, &Shape_Dimension{Value: &Shape_Dimension_DimParam{DimParam: d}})
		default:
			panic(fmt.Sprintf("onnx: dimension %v of %s is neither an int nor a string", d, name))
		}
	}
	return &Value{Name: name, DocString: doc, Type: &ValueType{TensorType: &TensorType{ElemType: of, Shape: s}}}
}

// Int returns an attribute of a node.
func Int(name string, value int64) *Attribute {
	return &Attribute{Name: name, Type: Attribute_INT, I: &value}
}

// Ints returns an attribute of a node.
func Ints(name string, values ...int64) *Attribute {
	return &Attribute{Name: name, Type: Attribute_INTS, Ints: values}
}

// Float returns an attribute of a node.
func Float(name string, value float32) *Attribute {
	return &Attribute{Name: name, Type: Attribute_FLOAT, F: &value}
}

// String returns an attribute of a node.
func String(name, value string) *Attribute {
	return &Attribute{Name: name, Type: Attribute_STRING, S: []byte(value)}
}
