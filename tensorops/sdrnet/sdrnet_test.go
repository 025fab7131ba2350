package sdrnet_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

func layout() *nn.Layout {
	return nn.NewLayout(nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4}, nn.Heads{ProjectorHidden: 8, ProjectorDim: 6, ProjectorLayers: 2})
}

// vectors is the number of state vectors in these tests.
const vectors = 2

func newNet(t *testing.T, cfg sdrnet.Config) (*sdrnet.Net, []float32) {
	l := layout()
	params := make([]float32, l.NumParams)
	l.Init(params, rng.New(1, rng.Weights))
	n, err := sdrnet.New(l, cfg, params, make([]float32, vectors*len(params)), make([]float32, 3))
	require.NoError(t, err)
	return n, params
}

func gather(n *sdrnet.Net, code string) []float32 {
	p := make([]float32, n.Layout().NumParams)
	n.Gather(code, p)
	return p
}

// add is an update that adds a different amount to a sub-net's weights, its first and its second state vector, so that
// ownership shows, and as much as to its weights to its memory.
func add(n *sdrnet.Net, code string, by float32) {
	n.Update(code, func(p, state, memory []float32) {
		for i := range memory {
			memory[i] += by
		}
		for i := range p {
			p[i] += by
			state[i] += 2 * by
			state[len(p)+i] += 3 * by
		}
	})
}

func TestSplitChangesNoSubnet(t *testing.T) {
	n, params := newNet(t, sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 3}, Shared: .5})
	n.Split()
	n.Split()
	for _, code := range []string{"", "0", "1", "0.0", "0.1", "0.2", "1.0", "1.1", "1.2"} {
		require.Equal(t, params, gather(n, code), code)
	}
}

// TestStateFollowsTheWeights checks that the training state has the ownership of the weights: all start at zero, and
// updates add proportional amounts.
func TestStateFollowsTheWeights(t *testing.T) {
	cfg := sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 3}, Shared: .5, IndividualHeads: true}
	l := layout()
	n, err := sdrnet.New(l, cfg, make([]float32, l.NumParams), make([]float32, vectors*l.NumParams), nil)
	require.NoError(t, err)
	add(n, "", 1)
	n.Split()
	add(n, "1", 10)
	n.Split()
	for i, code := range []string{"1.2", "", "0.2", "1.1", "1.2"} {
		add(n, code, float32(100*(i+1)))
	}
	var moved []float32 // weights of the preceding vector
	for _, v := range n.State() {
		if !strings.HasSuffix(v.Name, ".state") {
			moved = v.Values
			continue
		}
		require.Len(t, v.Values, vectors*len(moved), v.Name)
		for i, w := range moved {
			require.Equal(t, [vectors]float32{2 * w, 3 * w}, [vectors]float32{v.Values[i], v.Values[len(moved)+i]}, "%s[%d]", v.Name, i)
		}
	}
}

// TestMemoryIsTheSubnets checks that an update changes no other sub-net's memory, and that a new sub-net starts with
// its parent's.
func TestMemoryIsTheSubnets(t *testing.T) {
	n, _ := newNet(t, sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 3}, Shared: .5})
	add(n, "", 1)
	n.Split()
	add(n, "1", 10)
	n.Split()
	add(n, "", 100)
	add(n, "1.2", 1000)
	want := map[string]float32{"": 101, "0": 1, "1": 11, "0.0": 1, "0.1": 1, "0.2": 1, "1.0": 11, "1.1": 11, "1.2": 1011}
	for code, v := range want {
		n.Update(code, func(_, _, memory []float32) { require.Equal(t, []float32{v, v, v}, memory, code) })
	}
	require.Equal(t, []int{0, 1, 5}, []int{n.Index(""), n.Index("1"), n.Index("1.2")})
	memories := 0
	for _, v := range n.State() {
		if v.Kind == sdrnet.Memory {
			memories++
		}
	}
	require.Len(t, want, memories)
}

func TestUpdateAllocatesNothing(t *testing.T) {
	n, _ := newNet(t, sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}, Shared: .5})
	n.Split()
	n.Split()
	require.Zero(t, testing.AllocsPerRun(3, func() { n.Update("0.1", func(_, _, _ []float32) {}) }))
}

// TestUpdateReachesWhatIsShared compares with a direct definition of ownership: an update of one sub-net changes
// another one's shared filters, and its individual filters where both codes take the same group.
func TestUpdateReachesWhatIsShared(t *testing.T) {
	cfg := sdrnet.Config{Stages: [][]int{{4, 2}, {3}}, Branching: []int{2, 3}, Shared: .5, IndividualHeads: true}
	n, params := newNet(t, cfg)
	n.Split()
	n.Split()
	add(n, "1.2", 1)
	level := map[nn.Part]int{4: 0, 2: 0, 3: 1, nn.Projector: 0, nn.Predictor: 0}
	for _, other := range []string{"", "0", "1", "0.0", "0.2", "1.0", "1.2"} {
		got := gather(n, other)
		for _, p := range n.Layout().Params {
			l, splits := level[p.Part]
			shared := p.Filters / 2
			if p.Part >= nn.Projector {
				shared = 0
			}
			for i := range p.Size {
				moved := true
				if splits && i%p.Filters >= shared {
					choices := sdrnet.Choices(other)
					moved = len(choices) > l && choices[l] == []int{1, 2}[l]
				}
				want := params[p.Offset+i]
				if moved {
					want++
				}
				require.Equal(t, want, got[p.Offset+i], "%s: %s[%d]", other, p.Name, i)
			}
		}
	}
}

func TestRootHasAGroupOfItsOwn(t *testing.T) {
	n, params := newNet(t, sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{2}, Shared: 0})
	n.Split()
	add(n, "", 1)
	for _, p := range n.Layout().Params {
		got := gather(n, "0")[p.Offset]
		want := params[p.Offset]
		if p.Part != 4 {
			want++
		}
		require.Equal(t, want, got, p.Name)
	}
}

func TestCloneIsFrozen(t *testing.T) {
	n, _ := newNet(t, sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{2}, Shared: .5})
	n.Split()
	c := n.Clone()
	before := gather(c, "1")
	add(n, "1", 1)
	require.Equal(t, before, gather(c, "1"))
	c.Update("1", func(_, _, memory []float32) { require.Equal(t, make([]float32, 3), memory) })
}

func TestRestore(t *testing.T) {
	cfg := sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}, Shared: .5}
	n, _ := newNet(t, cfg)
	n.Split()
	add(n, "1", 1)
	state := map[string][]float32{}
	for _, v := range n.State() {
		state[v.Name] = slices.Clone(v.Values)
	}
	get := func(name string) ([]float32, bool) { v, ok := state[name]; return v, ok }

	m, _ := newNet(t, cfg)
	require.NoError(t, m.Restore(1, get))
	add(m, "0", 2)
	add(n, "0", 2)
	require.Equal(t, n.State(), m.State())

	require.ErrorContains(t, m.Restore(2, get), "lacks")
	state["0.1"] = state["0.1"][1:]
	require.ErrorContains(t, m.Restore(1, get), "use the backbone")
}
