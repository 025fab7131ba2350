package kmeans

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[Centroid]())
	beam.RegisterDoFn(reflect.TypeFor[assignFn]())
}

// AssignConfig configures [Assign].
type AssignConfig struct {
	// Column is the name of the column of vectors; see [Config].
	Column string
	// Spherical scales the vectors to length 1 first, for centroids from a spherical clustering.
	Spherical bool
}

// Validate returns an error if a field is invalid.
func (c AssignConfig) Validate() error {
	if c.Column == "" {
		return errors.New("kmeans: Column is empty; name the column of vectors")
	}
	return nil
}

// Assign assigns each row of in, a PCollection<*record.Batch>, to the nearest of the given centroids, a
// PCollection<*record.Batch> of rows [Centroid], for example from [Cluster] on other data; it uses only their codes and
// vectors. It returns a PCollection<*record.Batch> like assigned of Cluster, with one batch per batch of in.
//
// A row descends the tree of codes: to the nearest centroid of the first level, then to the nearest of its children,
// whose codes begin with its code and a dot. Ties go to the code that sorts first, part by part, numbers by their value. Assign ignores Balance: rows that Cluster
// reassigned to keep its limits may end up elsewhere.
//
// The pipeline fails if there are no centroids, if one has no code, if two have the same code, if vectors have
// different widths, and on values and columns that Cluster rejects. Assign panics if cfg is invalid.
func Assign(s beam.Scope, in, centroids beam.PCollection, cfg AssignConfig) beam.PCollection {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	return beam.ParDo(s.Scope("kmeans.Assign"), &assignFn{Config: cfg}, in, beam.SideInput{Input: centroids})
}

// assignFn assigns the rows of a batch.
type assignFn struct {
	Config AssignConfig

	tree record.Side[*tree]
}

func (fn *assignFn) ProcessElement(w beam.Window, b *record.Batch, centroids func(**record.Batch) bool) (*record.Batch, error) {
	t, err := fn.tree.Get(w, func() (*tree, error) { return plant(centroids) })
	if err != nil {
		return nil, err
	}
	return t.assign(b, fn.Config)
}

// AssignBatch is [Assign] for one batch in memory, to the centroids in another one.
func AssignBatch(b, centroids *record.Batch, cfg AssignConfig) (*record.Batch, error) {
	t, err := plant(func(next **record.Batch) bool {
		*next, centroids = centroids, nil
		return *next != nil
	})
	if err != nil {
		return nil, err
	}
	return t.assign(b, cfg)
}

// assign replaces the vectors of a batch by codes and distances.
func (t *tree) assign(b *record.Batch, cfg AssignConfig) (*record.Batch, error) {
	data, width, err := vectors(b, cfg.Column)
	var longest float64
	if err == nil {
		longest, err = checkRows(b, cfg.Column, data, width, "code", "distance")
	}
	if err == nil && b.NumRows() > 0 && width != t.width {
		err = fmt.Errorf("kmeans: column %q has vectors of width %d; the centroids have %d", cfg.Column, width, t.width)
	}
	if err != nil {
		return nil, err
	}
	if cfg.Spherical && b.NumRows() > 0 {
		if b, err = onSphere(b, cfg.Column); err != nil {
			return nil, err
		}
		if data, _, err = vectors(b, cfg.Column); err != nil {
			return nil, err
		}
		longest = 1
	}
	codes, squares := t.descend(data, int(b.NumRows()), longest)
	return withCodes(b, squares, func(i int) string { return codes[i] }, cfg.Column), nil
}

// tree is a hierarchy of centroids.
type tree struct {
	width    int
	branches map[string]*branch // by the parent's code
}

// branch is the children of a node, sorted by code.
type branch struct {
	codes    []string
	vectors  []float32
	norms    []float64
	siblings *siblings // nil until needed
}

type node struct {
	code   string
	vector []float32
}

// plant builds the tree from rows of Centroid. A node's parent is the one with the longest proper prefix of its code.
func plant(batches func(**record.Batch) bool) (*tree, error) {
	var all []node
	t := &tree{branches: map[string]*branch{}}
	var b *record.Batch
	for batches(&b) {
		type code struct {
			Code string `arrow:"code"`
		}
		rows, err := record.Rows[code](b)
		if err != nil {
			return nil, fmt.Errorf("kmeans: centroids: %w", err)
		}
		data, width, err := vectors(b, "centroid")
		if err == nil {
			_, err = checkRows(b, "centroid", data, width)
		}
		if err == nil && t.width > 0 && len(rows) > 0 && width != t.width {
			err = fmt.Errorf("kmeans: centroids have different widths %d and %d; all must be equally long", t.width, width)
		}
		if err != nil {
			return nil, err
		}
		for i, r := range rows {
			vector := data[i*width : (i+1)*width]
			t.width, all = width, append(all, node{r.Code, vector})
		}
	}
	if len(all) == 0 {
		return nil, errors.New("kmeans: there are no centroids to assign rows to")
	}
	slices.SortFunc(all, func(a, b node) int { return compareCodes(a.code, b.code) })
	codes := map[string]bool{}
	for _, n := range all {
		if codes[n.code] || n.code == "" {
			return nil, fmt.Errorf("kmeans: two centroids have the code %q, or one has none", n.code)
		}
		parent := parentOf(n.code)
		for parent != "" && !codes[parent] { // parents sort before their children
			parent = parentOf(parent)
		}
		codes[n.code] = true
		if t.branches[parent] == nil {
			t.branches[parent] = &branch{}
		}
		at := t.branches[parent]
		at.codes, at.vectors = append(at.codes, n.code), append(at.vectors, n.vector...)
		at.norms = append(at.norms, vecs.SquareNorm(n.vector))
	}
	return t, nil
}

// parentOf returns a code without its last part.
func parentOf(code string) string { return code[:max(0, strings.LastIndexByte(code, '.'))] }

// descend returns the code of the leaf that each vector reaches, and the squared distance from it. No vector
// may be longer than longest.
func (t *tree) descend(data []float32, n int, longest float64) (codes []string, squares []float64) {
	r := rows{vectors: data, width: t.width}
	codes, squares = make([]string, n), make([]float64, n)
	_ = compute.Run(func(pool *kernels.Pool) error {
		level := map[string][]int32{"": r.byParent(n, 1)[0]} // rows by the node that they reached
		for len(level) > 0 {
			next := map[string][]int32{}
			for code, list := range level {
				b := t.branches[code]
				if b == nil || len(list) == 0 {
					continue
				}
				if b.siblings == nil {
					b.siblings = newSiblings(pool, b.vectors, t.width, b.norms, nil)
				}
				r.pieces(pool, list, func(list []int32, x []float32) {
					b.siblings.nearest(pool, x, longest, true, func(_, i, j int, square float64) {
						codes[list[i]], squares[list[i]] = b.codes[j], square
					})
				})
				for _, row := range list {
					next[codes[row]] = append(next[codes[row]], row)
				}
			}
			level = next
		}
		return nil
	})
	return codes, squares
}
