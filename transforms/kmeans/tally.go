package kmeans

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/gob"
	"math"
	"slices"
)

// tally is what each batch reports and the combine adds up. Any part may be empty.
type tally struct {
	Rows      int64
	Longest   float64  // largest length of a vector
	Heaviest  float64  // largest weight
	Widths    []int    // the distinct widths of the vectors, ascending
	Processes []string // that hold rows, ascending
	Clusters  []int32  // that have sums, ascending
	Sums      integers // of each of them, see sums
	Points    []point
}

// point is a single reported row.
type point struct {
	Key      rowKey
	From, To int     // clusters: where it is, and where it may go
	Out, In  float64 // squared distances from the centroids of From and To
	Weight   float64
	Vector   floats // its vector, if it may become a centroid
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
	a.Longest, a.Heaviest = max(a.Longest, b.Longest), max(a.Heaviest, b.Heaviest)
	a.Widths, a.Processes = union(a.Widths, b.Widths), union(a.Processes, b.Processes)
	a.addSums(b)
	a.Points = append(a.Points, b.Points...)
	return a
}

// union adds the elements of b to a; both ascend.
func union[T cmp.Ordered](a, b []T) []T {
	for _, v := range b {
		if i, ok := slices.BinarySearch(a, v); !ok {
			a = slices.Insert(a, i, v)
		}
	}
	return a
}

// addSums adds the sums of b to those of a.
func (a *tally) addSums(b *tally) {
	switch {
	case len(b.Clusters) == 0:
	case slices.Equal(a.Clusters, b.Clusters):
		for i, v := range b.Sums {
			a.Sums[i] += v
		}
	default:
		a.Clusters, a.Sums = mergeSums(a, b, len(b.Sums)/len(b.Clusters))
	}
}

// mergeSums returns the sums of both tallies, which have stride sums per cluster.
func mergeSums(a, b *tally, stride int) (clusters []int32, sums []int64) {
	sums = make([]int64, 0, len(a.Sums)+len(b.Sums))
	for i, j := 0, 0; i < len(a.Clusters) || j < len(b.Clusters); {
		switch {
		case j == len(b.Clusters) || i < len(a.Clusters) && a.Clusters[i] < b.Clusters[j]:
			clusters, sums = append(clusters, a.Clusters[i]), append(sums, a.Sums[i*stride:][:stride]...)
			i++
		case i == len(a.Clusters) || a.Clusters[i] > b.Clusters[j]:
			clusters, sums = append(clusters, b.Clusters[j]), append(sums, b.Sums[j*stride:][:stride]...)
			j++
		default:
			clusters = append(clusters, a.Clusters[i])
			for l, v := range a.Sums[i*stride:][:stride] {
				sums = append(sums, v+b.Sums[j*stride+l])
			}
			i, j = i+1, j+1
		}
	}
	return clusters, sums
}

// unit returns the exponent e of the fixed-point unit: values of magnitude up to limit are below 2^51 multiples of 2^e,
// as vecs.AddFixed needs, and the sum of rows of them, each rounded to a multiple, stays below 2^62.
func unit(rows int64, limit float64) int {
	_, whole := math.Frexp(float64(rows+1) * limit) // rows*limit < 2^whole
	_, one := math.Frexp(limit)
	return max(whole-61, one-50)
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

// floats, doubles and integers are encoded as their bytes, which is much faster than as gob's numbers.
type (
	floats   []float32
	doubles  []float64
	integers []int64
)

func (x floats) GobEncode() ([]byte, error)     { return toBytes([]float32(x)) }
func (x doubles) GobEncode() ([]byte, error)    { return toBytes([]float64(x)) }
func (x integers) GobEncode() ([]byte, error)   { return toBytes([]int64(x)) }
func (x *floats) GobDecode(data []byte) error   { return fromBytes((*[]float32)(x), data, 4) }
func (x *doubles) GobDecode(data []byte) error  { return fromBytes((*[]float64)(x), data, 8) }
func (x *integers) GobDecode(data []byte) error { return fromBytes((*[]int64)(x), data, 8) }
func toBytes(numbers any) ([]byte, error)       { return binary.Append(nil, binary.LittleEndian, numbers) }
func fromBytes[T any](x *[]T, data []byte, size int) error {
	*x = make([]T, len(data)/size)
	_, err := binary.Decode(data, binary.LittleEndian, *x)
	return err
}

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
