package train

import (
	"fmt"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/internal/learn"
	"github.com/sdr-ml/sdr/stages/run/recipe"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/inference"
)

// model returns a sub-net with BatchNorm statistics of the images that norm says. known is for prefixModel.
func (t *trainer) model(code, norm string, known map[string][]float32) (*inference.Model, error) {
	params := make([]float32, t.nets.Layout().NumParams)
	t.nets.Gather(code, params)
	if t.variant == recipe.Random && t.init != nil {
		return t.initial(params), nil
	}
	subset := ""
	switch norm {
	case recipe.NormPrefix:
		return t.prefixModel(params, code, known)
	case recipe.NormSubset:
		subset = code
	}
	return learn.Model(t.recipe, params, t.pictures(), t.streams[subset].Rows, streamKey(subset), t.pool)
}

// prefixModel returns a sub-net whose BatchNorm statistics are estimated part by part: those of a stage on the images of
// all subsets whose sub-nets have the same filters from the stem to this stage. Such sub-nets thus compute the same
// there. known keeps what sub-nets of the same phase have in common.
func (t *trainer) prefixModel(params []float32, code string, known map[string][]float32) (*inference.Model, error) {
	layout := t.nets.Layout()
	stats := make([]float32, layout.NumStats)
	for _, s := range layout.Stats {
		path := t.path(code, s.Part)
		if known[path] == nil {
			m, err := learn.Model(t.recipe, params, t.pictures(), t.onPath(code, s.Part), rng.Name(path), t.pool)
			if err != nil {
				return nil, err
			}
			known[path] = m.Stats
		}
		copy(stats[s.Offset:s.Offset+s.Size], known[path][s.Offset:])
	}
	made := learn.WithoutStats(t.recipe, params)
	made.Stats = stats
	return made, nil
}

// path names the filters of a sub-net from the stem to a part: its choices at the levels that split there.
func (t *trainer) path(code string, to nn.Part) string {
	var b strings.Builder
	for level, choice := range sdrnet.Choices(code) {
		if t.splits(level, to) {
			fmt.Fprintf(&b, "%d:%d ", level, choice)
		}
	}
	return b.String()
}

// onPath returns the images of all subsets whose sub-nets share a sub-net's path to a part.
func (t *trainer) onPath(code string, to nn.Part) (rows []int32) {
	path, level := t.path(code, to), sdrnet.Level(code)
	for _, leaf := range t.leaves {
		if t.path(sdrnet.Prefix(leaf, level), to) == path {
			rows = append(rows, t.streams[leaf].Rows...)
		}
	}
	slices.Sort(rows)
	return rows
}

// splits reports whether a level has filters of its own in a part or before it.
func (t *trainer) splits(level int, to nn.Part) bool {
	stages, _ := t.recipe.Levels()
	return slices.ContainsFunc(stages[level], func(stage int) bool { return nn.Part(stage) <= to })
}
