package kmeans

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"math"
	"slices"
)

// tally is what each batch reports and the combine adds up. Any part may be empty.
type tally struct {
	Rows   int64
	Max    float64 // largest magnitude of a value
	Widths []int   // the distinct widths of the vectors, ascending
	Sums   []int64 // fixed point
	Points []point
}

// point is a single reported row.
type point struct {
	Key      rowKey
	From, To int       // clusters: where it is, and where it may go
	Out, In  float64   // squared distances from the centroids of From and To
	Vector   []float32 // its vector, if it may become a centroid
}

// rowKey orders rows by content. Rows with equal content are told apart by their batch's content and their index in it.
type rowKey struct {
	Row, Batch uint64
	Index      int
}

func (a rowKey) compare(b rowKey) int {
	return cmp.Or(cmp.Compare(a.Row, b.Row), cmp.Compare(a.Batch, b.Batch), cmp.Compare(a.Index, b.Index))
}

// addFn is the CombineFn of tallies: an exact sum. The order of Points is unspecified.
type addFn struct{}

// CreateAccumulator returns the empty tally.
func (*addFn) CreateAccumulator() *tally { return &tally{} }

// AddInput adds t to a.
func (fn *addFn) AddInput(a, t *tally) *tally { return fn.MergeAccumulators(a, t) }

// MergeAccumulators adds b to a.
func (*addFn) MergeAccumulators(a, b *tally) *tally {
	a.Rows += b.Rows
	a.Max = max(a.Max, b.Max)
	for _, w := range b.Widths {
		if i, ok := slices.BinarySearch(a.Widths, w); !ok {
			a.Widths = slices.Insert(a.Widths, i, w)
		}
	}
	if a.Sums == nil {
		a.Sums = slices.Clone(b.Sums)
	} else {
		for i, v := range b.Sums {
			a.Sums[i] += v
		}
	}
	a.Points = append(a.Points, b.Points...)
	return a
}

// unit returns the exponent e of the fixed-point unit: the sum of rows values of magnitude up to limit, each rounded to
// a multiple of 2^e, stays below 2^62 such multiples.
func unit(rows int64, limit float64) int {
	_, e := math.Frexp(float64(rows+1) * limit) // rows*limit < 2^e
	return e - 61
}

// scale returns how many multiples of 2^e make 1; the exponents of unit are far from the limits of float64.
func scale(e int) float64 { return math.Ldexp(1, -e) }

// fix rounds x to a fixed-point number of the given scale.
func fix(x, scale float64) int64 { return int64(math.RoundToEven(x * scale)) }

// float returns the value of a fixed-point number.
func float(n int64, e int) float64 { return math.Ldexp(float64(n), e) }

func encodeTally(t *tally) ([]byte, error)    { return encode(t) }
func decodeTally(data []byte) (*tally, error) { return decode[tally](data) }
func encodeModel(m *model) ([]byte, error)    { return encode(m) }
func decodeModel(data []byte) (*model, error) { return decode[model](data) }
func encodeBasis(b *basis) ([]byte, error)    { return encode(b) }
func decodeBasis(data []byte) (*basis, error) { return decode[basis](data) }

func encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	err := gob.NewEncoder(&buf).Encode(v)
	return buf.Bytes(), err
}

func decode[T any](data []byte) (*T, error) {
	v := new(T)
	return v, gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}
