// Package sdrnet holds the weights of all sub-nets of an SDRnet (arXiv 2205.13267, section 3.2): a ResNet in which each
// split residual stage has filters that all sub-nets share and one group of individual filters for each choice.
//
// Every sub-net is a plain ResNet of the full width: Gather writes its weights in the flat order of nn.Layout, in which
// it also trains and is saved and exported. A code lists one choice per level, such as 12.0.3. In each split stage, the
// sub-net of a code has the filters [shared | group of its choice], or [shared | the root's own group] where the code has
// no choice for that stage. The empty code is therefore the root sub-net, a path of its own through all stages.
package sdrnet

import (
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/sdr-ml/sdr/tensorops/nn"
)

// MaxChoices is the largest number of choices at a level.
const MaxChoices = 1 << 16

// Config defines how an SDRnet splits.
type Config struct {
	// Stages lists, per level, the stages of the backbone (counted from 1) that split there: choice l of a code chooses
	// the groups of all stages in Stages[l].
	Stages [][]int
	// Branching is the number of choices at each level.
	Branching []int
	// Shared is the fraction of a split stage's output filters that all sub-nets share.
	Shared float64
	// IndividualHeads gives each choice of the first level its own projector, prototypes and predictor.
	IndividualHeads bool
}

// groups holds the individual weights of one level: which elements of the flat vector they are and, once the level has
// split, a copy of them for each choice.
type groups struct {
	params int // length of a flat vector
	spans  []nn.Span
	size   int
	values [][]float32 // [choice][size]; nil before the split
	states [][]float32 // [choice][vectors·size], the state of values
}

// Net holds the weights of all sub-nets and what training keeps with them. The training state is a number of vectors
// with one element per weight, such as the optimizer's. The memory is what each sub-net keeps for itself from step to
// step, such as a queue of embeddings.
type Net struct {
	layout *nn.Layout
	cfg    Config
	base   []float32     // the root sub-net, [layout.NumParams]
	state  []float32     // [vectors, layout.NumParams]
	groups []groups      // one per level
	memory [][][]float32 // of each sub-net, by the level of its code and its index
	level  int           // number of levels that have split
}

// New returns an SDRnet that has not split yet: one net with the given weights, training state, [vectors,
// layout.NumParams], and memory of any length. It copies them.
func New(layout *nn.Layout, cfg Config, params, state, memory []float32) (*Net, error) {
	if len(cfg.Stages) != len(cfg.Branching) {
		return nil, fmt.Errorf("sdrnet: %d stages but %d branching factors; give one for each stage", len(cfg.Stages), len(cfg.Branching))
	}
	if len(params) != layout.NumParams {
		return nil, fmt.Errorf("sdrnet: %d weights for a net of %d", len(params), layout.NumParams)
	}
	if len(state)%layout.NumParams != 0 {
		return nil, fmt.Errorf("sdrnet: a state of %d elements for a net of %d weights; want a multiple", len(state), layout.NumParams)
	}
	n := &Net{
		layout: layout, cfg: cfg, base: slices.Clone(params), state: slices.Clone(state),
		memory: [][][]float32{{slices.Clone(memory)}},
	}
	for level, stages := range cfg.Stages {
		outside := func(stage int) bool { return stage < 1 || stage > layout.Stages }
		if slices.ContainsFunc(stages, outside) || cfg.Branching[level] < 2 || cfg.Branching[level] > MaxChoices {
			return nil, fmt.Errorf("sdrnet: level %d splits the stages %v into %d groups; want stages from 1 to %d and 2 to %d groups",
				level, stages, cfg.Branching[level], layout.Stages, MaxChoices)
		}
		g := groups{params: layout.NumParams}
		for _, p := range layout.Params {
			switch {
			case slices.Contains(stages, int(p.Part)):
				g.add(p, int(cfg.Shared*float64(p.Filters)+.5))
			case level == 0 && cfg.IndividualHeads && (p.Part == nn.Projector || p.Part == nn.Predictor):
				g.add(p, 0)
			}
		}
		n.groups = append(n.groups, g)
	}
	return n, nil
}

// add makes all filters of a parameter individual, except the first shared ones.
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

// Layout returns the layout of a sub-net's flat weight vector.
func (n *Net) Layout() *nn.Layout { return n.layout }

// Level returns the number of levels that have split.
func (n *Net) Level() int { return n.level }

// Levels returns the number of levels once all have split.
func (n *Net) Levels() int { return len(n.groups) }

// Individual lists the spans of the flat vector that are individual at a level. A group holds their elements,
// concatenated.
func (n *Net) Individual(level int) []nn.Span { return n.groups[level].spans }

// Split splits the next level: each new group starts as a copy of its parent's weights and training state, and each new
// sub-net with a copy of its parent's memory.
func (n *Net) Split() {
	g := &n.groups[n.level]
	var memory [][]float32
	for _, parent := range n.memory[n.level] {
		for range n.cfg.Branching[n.level] {
			memory = append(memory, slices.Clone(parent))
		}
	}
	n.memory = append(n.memory, memory)
	for range n.cfg.Branching[n.level] {
		values, states := make([]float32, g.size), make([]float32, len(n.state)/g.params*g.size)
		g.read(n.base, values)
		g.read(n.state, states)
		g.values, g.states = append(g.values, values), append(g.states, states)
	}
	n.level++
}

// write copies a group's elements into its spans of the flat vectors, which are concatenated.
func (g *groups) write(flat, group []float32) {
	for ; len(flat) > 0; flat = flat[g.params:] {
		for _, s := range g.spans {
			group = group[copy(s.Of(flat), group):]
		}
	}
}

// read copies a group's elements out of the flat vectors.
func (g *groups) read(flat, group []float32) {
	for ; len(flat) > 0; flat = flat[g.params:] {
		for _, s := range g.spans {
			group = group[copy(group, s.Of(flat)):]
		}
	}
}

// exchange swaps a group's elements with those of the flat vectors.
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
	for level, c := range n.Path(code) {
		g := &n.groups[level]
		g.write(params, g.values[c])
	}
}

// Update calls step with the weights of a sub-net, their training state (concatenated vectors) and its memory, to be
// changed in place. Shared elements change for all sub-nets, individual ones for the sub-nets with the same group, the
// memory for this sub-net only. While step runs, the net must not be used otherwise.
func (n *Net) Update(code string, step func(params, state, memory []float32)) {
	n.exchange(code)
	step(n.base, n.state, n.memory[Level(code)][n.Index(code)])
	n.exchange(code)
}

// exchange swaps the root's own groups with those of a code. Called twice, it restores them.
func (n *Net) exchange(code string) {
	for level, c := range n.Path(code) {
		g := &n.groups[level]
		g.exchange(n.base, g.values[c])
		g.exchange(n.state, g.states[c])
	}
}

// Path yields the levels at which a code has a group, and the index of the group. It panics on an invalid code.
func (n *Net) Path(code string) iter.Seq2[int, int] {
	return func(yield func(level, choice int) bool) {
		rest, more := code, code != ""
		for level := 0; more; level++ {
			var part string
			part, rest, more = strings.Cut(rest, ".")
			if level == n.level {
				panic(fmt.Sprintf("sdrnet: code %q has more choices than the %d levels that have split", code, n.level))
			}
			c, err := strconv.Atoi(part)
			if err != nil || c < 0 || c >= n.cfg.Branching[level] {
				panic(fmt.Sprintf("sdrnet: code %q: choice %q is not one of 0 to %d", code, part, n.cfg.Branching[level]-1))
			}
			if !yield(level, c) {
				return
			}
		}
	}
}

// Index returns the position of a code among all codes of its level, in the order of their choices.
func (n *Net) Index(code string) int {
	i := 0
	for level, c := range n.Path(code) {
		i = i*n.cfg.Branching[level] + c
	}
	return i
}

// Clone returns a deep copy that later updates do not change, such as the frozen teachers of SiamKD.
func (n *Net) Clone() *Net {
	c := *n
	c.base, c.state = slices.Clone(n.base), slices.Clone(n.state)
	c.groups = slices.Clone(n.groups)
	for i := range c.groups {
		c.groups[i].values = cloneAll(c.groups[i].values)
		c.groups[i].states = cloneAll(c.groups[i].states)
	}
	c.memory = slices.Clone(n.memory)
	for i := range c.memory {
		c.memory[i] = cloneAll(c.memory[i])
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
