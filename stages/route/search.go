package route

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/sdr-ml/sdr/stages/internal/labeled"
	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/stages/run/progress"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/transforms/arrowio"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/files"
	"github.com/sdr-ml/sdr/transforms/inference"
	"github.com/sdr-ml/sdr/transforms/record"
	"github.com/sdr-ml/sdr/transforms/tasks"
)

// kept returns the scores of the pairs of one task from the folder where they are kept, or computes and keeps them.
func (c Config) kept(ctx context.Context, pairs []Pair) ([]Score, error) {
	if c.Dir == "" {
		return c.search(ctx, pairs)
	}
	paths, err := tasks.Paths(ctx, pairs[0].Train)
	if err != nil {
		return nil, err
	}
	identities := []string{pairs[0].Task, pairs[0].Train}
	for _, p := range paths {
		identities = append(identities, files.Identity(ctx, p))
	}
	path := files.Join(c.Dir, run.Digest(identities)+".parquet")
	if known, err := files.Exists(ctx, path); err != nil || known {
		if err != nil {
			return nil, err
		}
		scores, err := arrowio.LoadRows[Score](ctx, path)
		if err != nil {
			return nil, fmt.Errorf("%w; remove it, and the task is scored again", err)
		}
		return scores, nil
	}
	scores, err := c.search(ctx, pairs)
	if err != nil {
		return nil, err
	}
	return scores, arrowio.SaveParquet(ctx, path, record.Of(scores).Record)
}

// search scores pairs of one task, all or those that the beam reaches, and ranks them.
func (c Config) search(ctx context.Context, pairs []Pair) ([]Score, error) {
	var scores []Score
	var err error
	if c.Beam == 0 {
		scores, err = c.score(ctx, pairs)
	} else {
		scores, err = c.descend(ctx, pairs)
	}
	if err != nil {
		return nil, err
	}
	rank(scores, c.Scorers)
	return scores, nil
}

// descend searches the trees of all runs.
func (c Config) descend(ctx context.Context, pairs []Pair) (scores []Score, err error) {
	for _, of := range byRun(pairs) {
		found, err := c.descendOne(ctx, of)
		if err != nil {
			return nil, err
		}
		scores = append(scores, found...)
	}
	return scores, nil
}

// byRun groups pairs by the run of their nets.
func byRun(pairs []Pair) (groups [][]Pair) {
	for len(pairs) > 0 {
		run := path.Dir(pairs[0].Model)
		other := func(p Pair) bool { return path.Dir(p.Model) != run }
		groups = append(groups, slices.DeleteFunc(slices.Clone(pairs), other))
		pairs = slices.DeleteFunc(slices.Clone(pairs), func(p Pair) bool { return !other(p) })
	}
	return groups
}

// descendOne scores level after level: the children of the best nodes so far. It tries the norms after the first for these
// only.
func (c Config) descendOne(ctx context.Context, pairs []Pair) (scores []Score, err error) {
	reached := []string{""}
	for len(pairs) > 0 {
		level := slices.MinFunc(pairs, func(a, b Pair) int { return int(a.Level - b.Level) }).Level
		var now []Pair
		for _, p := range pairs {
			if p.Level == level && (level == 0 || slices.ContainsFunc(reached, func(code string) bool { return below(p.Subnet, code) })) {
				now = append(now, p)
			}
		}
		pairs = slices.DeleteFunc(pairs, func(p Pair) bool { return p.Level == level })
		first := slices.DeleteFunc(slices.Clone(now), func(p Pair) bool { return p.Norm != now[0].Norm })
		found, err := c.score(ctx, first)
		if err != nil {
			return nil, err
		}
		if level > 0 {
			reached = c.best(found)
		}
		rest := slices.DeleteFunc(now, func(p Pair) bool {
			return p.Norm == first[0].Norm || level > 0 && !slices.Contains(reached, code(p.Subnet))
		})
		others, err := c.score(ctx, rest)
		if err != nil {
			return nil, err
		}
		scores = slices.Concat(scores, found, others)
	}
	return scores, nil
}

// best returns the codes of the nodes with the best scores, as many as the beam is wide.
func (c Config) best(scores []Score) (codes []string) {
	slices.SortFunc(scores, func(a, b Score) int { return Compare(b, a) })
	for _, s := range scores {
		if of := code(s.Subnet); len(codes) < c.Beam && !slices.Contains(codes, of) {
			codes = append(codes, of)
		}
	}
	return codes
}

// code returns the code of a sub-net, whose name may end with where its statistics come from.
func code(subnet string) string {
	code, _, _ := strings.Cut(subnet, "-")
	return code
}

// Subset returns the code of the subset that a net of a level was trained on; empty for level 0, which is all images.
func Subset(subnet string, level int64) string {
	if level == 0 {
		return ""
	}
	return code(subnet)
}

// below reports whether a sub-net is below a node, or is it.
func below(subnet, node string) bool {
	at := code(subnet)
	return sdrnet.Level(at) >= sdrnet.Level(node) && sdrnet.Prefix(at, sdrnet.Level(node)) == node
}

// score scores pairs of one task.
func (c Config) score(ctx context.Context, pairs []Pair) (scores []Score, err error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	costs := map[shape]float64{}
	add := func(p Pair, name string, score, stdErr float64) error {
		s := Score{
			Task: p.Task, Subnet: p.Subnet, Norm: p.Norm, Candidate: p.Candidate, Scorer: name, Level: p.Level, Model: p.Model, Train: p.Train,
			Score: score, StdErr: stdErr,
		}
		var err error
		if s.Cost, err = cost(ctx, p.Model, costs); err != nil {
			return err
		}
		progress.Note("route", "task", p.Task, "subnet", p.Subnet, "norm", p.Norm, "scorer", name, "score", fmt.Sprintf("%.1f", s.Score))
		scores = append(scores, s)
		return nil
	}
	var ofFeatures []string
	for _, name := range c.Scorers {
		of := runScorers[name]
		if of == nil {
			ofFeatures = append(ofFeatures, name)
			continue
		}
		for _, some := range byRun(pairs) {
			err := of.ScoreRun(ctx, some, func(p Pair, score, stdErr float64) error { return add(p, name, score, stdErr) })
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if len(ofFeatures) == 0 {
		return scores, nil
	}
	err = Features(ctx, pairs, nil, func(i int, set *labeled.Set) error {
		p := pairs[i]
		if err := tasks.CheckMetric(p.Metric, set.Sets); err != nil {
			return err
		}
		for _, name := range ofFeatures {
			var score, stdErr float64
			err := compute.Run(func(pool *kernels.Pool) (err error) {
				score, stdErr, err = scorers[name].Score(pool, set, p.Metric)
				return err
			})
			if err != nil {
				return fmt.Errorf("sub-net %s: %s: %w", p.Subnet, name, err)
			}
			if err := add(p, name, score, stdErr); err != nil {
				return err
			}
		}
		return nil
	})
	return scores, err
}

// shape is what the cost of a net depends on.
type shape struct {
	backbone nn.Backbone
	size     int
}

// cost returns the number of multiplications of a net per image, in millions. known are those of the shapes so far.
func cost(ctx context.Context, model string, known map[shape]float64) (millions float64, err error) {
	m, err := inference.Open(ctx, model)
	if err != nil {
		return 0, err
	}
	of := shape{m.Backbone, m.Input.Size}
	if millions, ok := known[of]; ok {
		return millions, nil
	}
	millions = Cost(m.Backbone, m.Input.Size)
	known[of] = millions
	return millions, nil
}

// Cost returns the number of multiplications of a backbone for an image of size x size pixels, in millions.
func Cost(b nn.Backbone, size int) (millions float64) {
	for _, c := range nn.Convolutions(b, size, 1) {
		millions += c.Conv.Multiplications() / 1e6
	}
	return millions
}
