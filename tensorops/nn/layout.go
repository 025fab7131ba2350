package nn

import "math"

// Group says which part of the network a parameter belongs to: Stem, a stage of the backbone (1, 2, ...), Projector or
// Predictor. Flat vectors are in this order.
type Group int

// The groups that are no stages.
const (
	Stem      Group = 0
	Projector Group = math.MaxInt - 1
	Predictor Group = math.MaxInt
)

// Kind says what a parameter does in its layer.
type Kind int

// The kinds of parameters.
const (
	ConvWeight   Kind = iota // [KH, KW, Cin, Cout]
	LinearWeight             // [In, Out]
	Bias                     // of a linear layer [Out]
	Scale                    // of a BatchNorm [C] (its "weight")
	Shift                    // of a BatchNorm [C] (its "bias")
)

// Param is one parameter tensor in the flat vector of all parameters.
type Param struct {
	Name    string // torchvision's, e.g. layer4.0.conv1.weight; heads are projector.N.* and predictor.N.*
	Shape   []int  // in memory, see Kind
	Offset  int    // of its first element in the flat vector
	Size    int    // number of elements
	Filters int    // output filters, the last axis
	Group   Group
	Kind    Kind
}

// Stat is one BatchNorm running statistic in the flat vector of all statistics.
type Stat struct {
	Name   string // torchvision's, e.g. bn1.running_mean
	Offset int
	Size   int // channels
	Group  Group
}

// Layout tells where every parameter and statistic of a network lies in the flat vectors. Parameters follow the order
// of PyTorch's named_parameters: stem, stages, projector, predictor; so the layout without heads is a prefix of the
// layout with heads.
type Layout struct {
	Params    []Param
	Stats     []Stat
	NumParams int // length of the flat vector of parameters
	NumStats  int // length of the flat vector of statistics
	Stages    int // of the backbone; the groups of their parameters are 1 to Stages
}

// NewLayout lays out a network. It panics when Validate of its arguments fails.
func NewLayout(b Backbone, h Heads) *Layout { return newDesign(b, h).layout }

// Param returns the parameter of that name and whether there is one.
func (l *Layout) Param(name string) (Param, bool) {
	for _, p := range l.Params {
		if p.Name == name {
			return p, true
		}
	}
	return Param{}, false
}

func (l *Layout) addParam(name string, group Group, kind Kind, shape ...int) Span {
	p := Param{Name: name, Shape: shape, Offset: l.NumParams, Size: 1, Filters: shape[len(shape)-1], Group: group, Kind: kind}
	for _, d := range shape {
		p.Size *= d
	}
	l.Params = append(l.Params, p)
	l.NumParams += p.Size
	return Span{p.Offset, p.Offset + p.Size}
}

func (l *Layout) addStat(name string, group Group, channels int) Span {
	s := Stat{Name: name, Offset: l.NumStats, Size: channels, Group: group}
	l.Stats = append(l.Stats, s)
	l.NumStats += channels
	return Span{s.Offset, s.Offset + channels}
}

// Span is a range of a flat vector.
type Span struct{ From, To int }

// Of cuts the range from a flat vector.
func (s Span) Of(flat []float32) []float32 { return flat[s.From:s.To:s.To] }

// Len is the number of elements; 0 is the span of a part that a layer does not have.
func (s Span) Len() int { return s.To - s.From }
