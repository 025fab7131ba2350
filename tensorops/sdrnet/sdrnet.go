// Package sdrnet holds the weights of all sub-nets of an SDRnet (arXiv
// 2205.13267, section 3.2): a plain ResNet whose residual stages each hold
// filters that every sub-net shares and, once the stage has split, one group
// of individual filters for each choice.
//
// Every sub-net is a plain ResNet of the full width: Gather writes its weights
// in the flat order of nn.Layout, which is also how it trains, is saved and is
// exported. The sub-net of a code computes each split stage with
// [shared filters | filters of the group that its digit names]; where the code
// has no digit for a stage, with [shared | the base's own group]. The empty
// code is therefore the root sub-net, a path of its own through all stages.
package sdrnet

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// digits write the choice at one level of a code.
const digits = "0123456789abcdefghijklmnopqrstuvwxyz"

// Config says how an SDRnet splits.
type Config struct {
	// Stages are stages of the backbone, from 1, in the order in which they split:
	// digit l of a code chooses the group of stage Stages[l].
	Stages []int
	// Branching is the number of choices at each level.
	Branching []int
	// Shared is the fraction of the output filters of a split stage that all
	// sub-nets have in common.
	Shared float64
	// IndividualHeads gives each choice of the first level a projector and a
	// predictor of its own.
	IndividualHeads bool
}

// groups are what one level splits: the elements of a flat vector that are
// individual, and, once split, one copy of them for each choice.
type groups struct {
	params int // length of a flat vector
	spans  []nn.Span
	size   int
	values [][]float32 // [choice][size]; nil before the split
	states [][]float32 // [choice][vectors, size] of the state
}

// Net holds the weights of all sub-nets and the state that training keeps
// beside them: some vectors, each with an element for every weight.
type Net struct {
	layout *nn.Layout
	cfg    Config
	base   []float32 // the root sub-net, [layout.NumParams]
	state  []float32 // [vectors, layout.NumParams]
	groups []groups  // of every level
	level  int       // levels that have split
}

// New returns an SDRnet that has not split: one net with the given weights and
// the state that training keeps beside them, [vectors, layout.NumParams]. It
// copies both.
func New(layout *nn.Layout, cfg Config, params, state []float32) (*Net, error) {
	if len(cfg.Stages) != len(cfg.Branching) {
		return nil, fmt.Errorf("sdrnet: %d stages split into %d lists of choices", len(cfg.Stages), len(cfg.Branching))
	}
	if len(params) != layout.NumParams {
		return nil, fmt.Errorf("sdrnet: %d weights for a net that has %d", len(params), layout.NumParams)
	}
	if len(state)%layout.NumParams != 0 {
		return nil, fmt.Errorf("sdrnet: a state of %d numbers for a net that has %d weights; want some for each", len(state), layout.NumParams)
	}
	n := &Net{layout: layout, cfg: cfg, base: slices.Clone(params), state: slices.Clone(state)}
	for level, stage := range cfg.Stages {
		if stage < 1 || stage > layout.Stages || cfg.Branching[level] < 2 || cfg.Branching[level] > len(digits) {
			return nil, fmt.Errorf("sdrnet: level %d splits stage %d into %d; want stages 1 to %d of the backbone and 2 to %d choices",
				level, stage, cfg.Branching[level], layout.Stages, len(digits))
		}
		g := groups{params: layout.NumParams}
		for _, p := range layout.Params {
			switch {
			case p.Group == nn.Group(stage):
				g.add(p, int(cfg.Shared*float64(p.Filters)+.5))
			case level == 0 && cfg.IndividualHeads && (p.Group == nn.Projector || p.Group == nn.Predictor):
				g.add(p, 0)
			}
		}
		n.groups = append(n.groups, g)
	}
	return n, nil
}

// add makes all but the first shared filters of a parameter individual.
func (g *groups) add(p nn.Param, shared int) {
	if shared >= p.Filters {
		return
	}
	rows, width := p.Size/p.Filters, p.Filters-shared
	if shared == 0 {
		rows, width = 1, p.Size
	}
	for r := range rows {
		from := p.Offset + r*p.Filters + shared
		g.spans = append(g.spans, nn.Span{From: from, To: from + width})
	}
	g.size += rows * width
}

// Layout describes the flat vector of a sub-net's weights.
func (n *Net) Layout() *nn.Layout { return n.layout }

// Level returns the number of levels that have split.
func (n *Net) Level() int { return n.level }

// Levels returns the number of levels that there will be.
func (n *Net) Levels() int { return len(n.groups) }

// Individual lists the runs of the flat vector that each choice of a level has for itself; its group holds them one
// behind the other.
func (n *Net) Individual(level int) []nn.Span { return n.groups[level].spans }

// Split splits the next level: each new group starts as a copy of the weights
// and the state that its parent has.
func (n *Net) Split() {
	g := &n.groups[n.level]
	for range n.cfg.Branching[n.level] {
		values, states := make([]float32, g.size), make([]float32, len(n.state)/g.params*g.size)
		g.read(n.base, values)
		g.read(n.state, states)
		g.values, g.states = append(g.values, values), append(g.states, states)
	}
	n.level++
}

// write copies a group's elements into as many flat vectors as it has, one
// behind the other.
func (g *groups) write(flat, group []float32) {
	for ; len(flat) > 0; flat = flat[g.params:] {
		for _, s := range g.spans {
			group = group[copy(s.Of(flat), group):]
		}
	}
}

// read copies the other way.
func (g *groups) read(flat, group []float32) {
	for ; len(flat) > 0; flat = flat[g.params:] {
		for _, s := range g.spans {
			group = group[copy(group, s.Of(flat)):]
		}
	}
}

// exchange swaps a group's elements with those of as many flat vectors as it has.
func (g *groups) exchange(flat, group []float32) {
	for ; len(flat) > 0; flat = flat[g.params:] {
		for _, s := range g.spans {
			own := group[:s.Len()]
			for i, v := range s.Of(flat) {
				flat[s.From+i], own[i] = own[i], v
			}
			group = group[s.Len():]
		}
	}
}

// Gather writes the weights of a sub-net into params, [Layout().NumParams].
func (n *Net) Gather(code string, params []float32) {
	copy(params, n.base)
	for level := range n.path(code) {
		g := &n.groups[level]
		g.write(params, g.values[n.Choice(code, level)])
	}
}

// Update lets step read and change, in place, the weights of a sub-net and the state that belongs to them (its vectors
// one behind the other): shared elements for every sub-net, individual ones for those of this code's
// groups. While step runs, the net must not be used otherwise.
func (n *Net) Update(code string, step func(params, state []float32)) {
	n.exchange(code)
	step(n.base, n.state)
	n.exchange(code)
}

// exchange swaps what the base has for itself with the groups of a code; doing so twice changes nothing.
func (n *Net) exchange(code string) {
	for level := range n.path(code) {
		g, c := &n.groups[level], n.Choice(code, level)
		g.exchange(n.base, g.values[c])
		g.exchange(n.state, g.states[c])
	}
}

// path returns the number of levels at which a code takes a group.
func (n *Net) path(code string) int {
	if len(code) > n.level {
		panic(fmt.Sprintf("sdrnet: code %q has %d digits, %d levels have split", code, len(code), n.level))
	}
	return len(code)
}

// Choice is the number of the group that a code takes at a level, below len(code). It panics where there is none.
func (n *Net) Choice(code string, level int) int {
	c := strings.IndexByte(digits, code[level])
	if c < 0 || c >= n.cfg.Branching[level] {
		panic(fmt.Sprintf("sdrnet: code %q: digit %d is not one of %q", code, level, digits[:n.cfg.Branching[level]]))
	}
	return c
}

// Clone returns a copy that later updates do not change, such as the frozen
// parents that SiamKD distils from.
func (n *Net) Clone() *Net {
	c := *n
	c.base, c.state = slices.Clone(n.base), slices.Clone(n.state)
	c.groups = slices.Clone(n.groups)
	for i := range c.groups {
		c.groups[i].values = cloneAll(c.groups[i].values)
		c.groups[i].states = cloneAll(c.groups[i].states)
	}
	return &c
}

func cloneAll(vectors [][]float32) [][]float32 {
	out := make([][]float32, len(vectors))
	for i, v := range vectors {
		out[i] = slices.Clone(v)
	}
	return out
}

// Codes returns the codes of the sub-nets of a level, in order: level 0 is the
// empty code of the root, level 1 has one digit, and so on.
func Codes(branching []int, level int) []string {
	codes := []string{""}
	for _, m := range branching[:level] {
		var next []string
		for _, c := range codes {
			for j := range m {
				next = append(next, c+digits[j:j+1])
			}
		}
		codes = next
	}
	return codes
}
