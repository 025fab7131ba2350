package kmeans

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gonum.org/v1/gonum/blas/gonum"

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
// whose codes begin with its code. Ties go to the code that sorts first. Assign ignores Balance: rows that Cluster
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
	data, width, err := vectors(b, fn.Config.Column)
	if err == nil {
		_, err = checkRows(b, fn.Config.Column, data, width, "code", "distance")
	}
	if err == nil && b.NumRows() > 0 && width != t.width {
		err = fmt.Errorf("kmeans: column %q has vectors of width %d; the centroids have %d", fn.Config.Column, width, t.width)
	}
	if err != nil {
		return nil, err
	}
	codes := array.NewStringBuilder(record.Mem)
	distances := array.NewFloat32Builder(record.Mem)
	for i := range int(b.NumRows()) {
		code, square := t.descend(data[i*width : (i+1)*width])
		codes.Append(code)
		distances.Append(float32(math.Sqrt(square)))
	}
	b = record.Without(b, fn.Config.Column)
	return record.With(record.With(b, "code", codes.NewArray()), "distance", distances.NewArray()), nil
}

// tree is a hierarchy of centroids.
type tree struct {
	width    int
	children map[string][]node // by the parent's code, sorted by code
}

type node struct {
	code   string
	vector []float32
	norm   float64 // squared norm
}

// plant builds the tree from rows of Centroid. A node's parent is the one with the longest proper prefix of its code.
func plant(batches func(**record.Batch) bool) (*tree, error) {
	var all []node
	t := &tree{children: map[string][]node{}}
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
			n := node{code: r.Code, vector: vector, norm: squareNorm(vector)}
			t.width, all = width, append(all, n)
		}
	}
	if len(all) == 0 {
		return nil, errors.New("kmeans: there are no centroids to assign rows to")
	}
	slices.SortFunc(all, func(a, b node) int { return cmp.Compare(a.code, b.code) })
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
		t.children[parent] = append(t.children[parent], n)
	}
	return t, nil
}

// parentOf returns a code without its last choice.
func parentOf(code string) string { return code[:max(0, strings.LastIndexByte(code, '.'))] }

// descend returns the code of the leaf that a vector reaches, and the squared distance from it.
func (t *tree) descend(x []float32) (code string, square float64) {
	var at node
	for siblings := t.children[""]; len(siblings) > 0; siblings = t.children[at.code] {
		least := math.Inf(1)
		for _, n := range siblings {
			dot := gonum.Implementation{}.Sdot(len(x), x, 1, n.vector, 1)
			if cost := n.norm - 2*float64(dot); cost < least {
				at, least = n, cost
			}
		}
	}
	return at.code, squareDistance(x, at.vector)
}
