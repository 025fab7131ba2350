package sdrnet

import "fmt"

// Kind is what a Vector holds.
type Kind int

const (
	Weights  Kind = iota
	Training      // the training state of weights: concatenated vectors, each as long as the weights
	Memory        // the memory of a sub-net
)

// Vector is one named part of a Net's state.
type Vector struct {
	// Name is "base" or, for a group, level and choice such as "1.3"; the suffix ".state" marks the training state of
	// these weights. A memory has Level and Choice in its name, too, such as "memory.2.7".
	Name string
	// Values holds the elements themselves, not a copy.
	Values []float32
	// Level and Choice identify the group; -1 for the base. For a memory, they are the level of the
	// sub-net's code and its Index.
	Level, Choice int
	// Kind says what Values are.
	Kind Kind
}

// State lists all that training changes, in a fixed order: the content of a checkpoint. Memories without elements are
// left out.
func (n *Net) State() []Vector {
	var out []Vector
	add := func(name string, values, state []float32, level, choice int) {
		out = append(out, Vector{name, values, level, choice, Weights})
		out = append(out, Vector{name + ".state", state, level, choice, Training})
	}
	add("base", n.base, n.state, -1, -1)
	for level := range n.level {
		for c, v := range n.groups[level].values {
			add(fmt.Sprintf("%d.%d", level, c), v, n.groups[level].states[c], level, c)
		}
	}
	for level, memories := range n.memory {
		for i, m := range memories {
			if len(m) > 0 {
				out = append(out, Vector{fmt.Sprintf("memory.%d.%d", level, i), m, level, i, Memory})
			}
		}
	}
	return out
}

// Restore splits the net to a level and copies into it, by name, the state that State listed.
func (n *Net) Restore(level int, values func(name string) ([]float32, bool)) error {
	if level > len(n.groups) {
		return fmt.Errorf("sdrnet: state of level %d for a net of %d levels", level, len(n.groups))
	}
	for n.level < level {
		n.Split()
	}
	for _, v := range n.State() {
		got, ok := values(v.Name)
		if !ok {
			return fmt.Errorf("sdrnet: the state lacks %q", v.Name)
		}
		if len(got) != len(v.Values) {
			return fmt.Errorf("sdrnet: the state's %q has %d elements, the net's %d; use the backbone, method, optimizer and recipe that it was saved with", v.Name, len(got), len(v.Values))
		}
		copy(v.Values, got)
	}
	return nil
}
