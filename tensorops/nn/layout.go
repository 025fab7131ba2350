package nn

import (
	"math"
	"slices"
)

// Part is the part of the network that a parameter belongs to: Stem, a stage of the backbone (1, 2, ...), Projector, to
// which the prototypes and a classifier belong, or Predictor. Flat vectors are in this order.
type Part int

// The parts other than stages.
const (
	Stem      Part = 0
	Projector Part = math.MaxInt - 1
	Predictor Part = math.MaxInt
)

// Kind is the role of a parameter in its layer.
type Kind int

const (
	ConvWeight   Kind = iota // [KH, KW, Cin, Cout]; [KH, KW, 1, Cout] if depthwise
	LinearWeight             // [In, Out]
	Bias                     // of a linear layer [Out]
	Scale                    // of a BatchNorm [C] (its "weight")
	Shift                    // of a BatchNorm [C] (its "bias")
)

// Param is a parameter tensor in the flat parameter vector.
type Param struct {
	Name    string // torchvision's, e.g. layer4.0.conv1.weight; or projector.N.*, prototypes.weight and predictor.N.*
	Shape   []int  // in memory, see Kind
	Offset  int    // of its first element in the flat vector
	Size    int    // number of elements
	Filters int    // output filters, the last axis
	Part    Part
	Kind    Kind
}

// Stat is a BatchNorm running statistic in the flat vector of statistics.
type Stat struct {
	Name   string // torchvision's, e.g. bn1.running_mean
	Offset int
	Size   int // channels
	Part   Part
}

// Layout says where each parameter and statistic of a network is in the flat vectors. Parameters are in the order of
// PyTorch's named_parameters: stem, stages, projector, prototypes, predictor. The layout without heads is therefore a
// prefix of the layout with heads.
type Layout struct {
	Params     []Param
	Stats      []Stat
	NumParams  int  // length of the flat vector of parameters
	NumStats   int  // length of the flat vector of statistics
	Stages     int  // stages of the backbone; their parameters are of the parts 1 to Stages
	Prototypes Span // of the prototypes, [ProjectorDim, Prototypes]; empty if there are none
}

// NewLayout returns the layout of a network. It panics if the backbone or heads are invalid.
func NewLayout(b Backbone, h Heads) *Layout { return newDesign(b, h).layout }

// Param returns the parameter with the given name, and whether it exists.
func (l *Layout) Param(name string) (Param, bool) {
	for _, p := range l.Params {
		if p.Name == name {
			return p, true
		}
	}
	return Param{}, false
}

// FirstChange returns the first part in which two networks differ in parameters or statistics; the last part if they do
// not. stats may be nil, in both, where they make no difference.
func (l *Layout) FirstChange(params, stats, otherParams, otherStats []float32) Part {
	first := Predictor
	for _, p := range l.Params {
		if p.Part < first && !slices.Equal(params[p.Offset:p.Offset+p.Size], otherParams[p.Offset:p.Offset+p.Size]) {
			first = p.Part
		}
	}
	for _, s := range l.Stats {
		if stats != nil && s.Part < first && !slices.Equal(stats[s.Offset:s.Offset+s.Size], otherStats[s.Offset:s.Offset+s.Size]) {
			first = s.Part
		}
	}
	return first
}

// AddParam appends a parameter, and returns where it is in the flat vector.
func (l *Layout) AddParam(name string, part Part, kind Kind, shape ...int) Span {
	p := Param{Name: name, Shape: shape, Offset: l.NumParams, Size: 1, Filters: shape[len(shape)-1], Part: part, Kind: kind}
	for _, d := range shape {
		p.Size *= d
	}
	l.Params = append(l.Params, p)
	l.NumParams += p.Size
	return Span{p.Offset, p.Offset + p.Size}
}

func (l *Layout) addStat(name string, part Part, channels int) Span {
	s := Stat{Name: name, Offset: l.NumStats, Size: channels, Part: part}
	l.Stats = append(l.Stats, s)
	l.NumStats += channels
	return Span{s.Offset, s.Offset + channels}
}

// Span is a range of a flat vector.
type Span struct{ From, To int }

// Of returns the range of a flat vector.
func (s Span) Of(flat []float32) []float32 { return flat[s.From:s.To:s.To] }

// Len returns the number of elements; 0 means that the layer has no such parameter.
func (s Span) Len() int { return s.To - s.From }
