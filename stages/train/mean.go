package train

import (
	"encoding/binary"
	"reflect"

	"github.com/apache/beam/sdks/v2/go/pkg/beam"

	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterType(reflect.TypeFor[mean]())
	beam.RegisterCoder(reflect.TypeFor[*mean](), encodeMean, decodeMean)
	beam.RegisterType(reflect.TypeFor[meanFn]())
}

// maxPart is the number of elements of the longest part of a vector. Flink brings those of all bins together in one record,
// which has to fit in a few MiB.
const maxPart = 1 << 14

// part is a row of a bin's result, and of the mean of all bins': a part of a vector of the state.
type part struct {
	// Name is the vector's, and Part, counted from 0, the part's: they are maxPart long, except the last.
	Name string `arrow:"name"`
	Part int64  `arrow:"part"`
	// Whole says that the values are those of the bin with the largest weight, instead of a mean: a memory.
	Whole bool `arrow:"whole"`
	// Bin is where the values come from, and Weight is the number of steps there that have changed them.
	Bin    int64     `arrow:"bin"`
	Weight int64     `arrow:"weight"`
	Values []float32 `arrow:"values"`
}

// mean accumulates parts of bins. Each element is an unevaluated sum of two numbers, so precise that the order of the
// bins makes no difference once it is rounded to float32.
type mean struct {
	part
	high, low []float64
}

// meanFn is the CombineFn of parts with the same name and number: their mean, weighted.
type meanFn struct{}

// CreateAccumulator returns the mean of nothing.
func (*meanFn) CreateAccumulator() *mean { return &mean{} }

// AddInput adds a bin's part.
func (fn *meanFn) AddInput(m *mean, b *record.Batch) (*mean, error) {
	rows, err := record.Rows[part](b)
	if err != nil {
		return nil, err
	}
	for _, p := range rows {
		of := &mean{part: p, high: make([]float64, len(p.Values)), low: make([]float64, len(p.Values))}
		for i, v := range p.Values {
			of.high[i] = float64(v) * float64(p.Weight) // exact
		}
		of.Values = nil
		m = fn.MergeAccumulators(m, of)
	}
	return m, nil
}

// MergeAccumulators adds b to a.
func (*meanFn) MergeAccumulators(a, b *mean) *mean {
	switch {
	case a.Weight == 0:
		return b
	case b.Weight == 0:
		return a
	case a.Whole:
		if b.Weight > a.Weight || b.Weight == a.Weight && b.Bin < a.Bin {
			return b
		}
		return a
	}
	for i := range a.high {
		sum, rest := twoSum(a.high[i], b.high[i])
		a.high[i], a.low[i] = twoSum(sum, rest+a.low[i]+b.low[i])
	}
	a.Weight += b.Weight
	a.Bin = min(a.Bin, b.Bin)
	return a
}

// twoSum returns the rounded sum of two numbers and its rounding error (Knuth).
func twoSum(a, b float64) (sum, rest float64) {
	sum = a + b
	t := sum - a
	return sum, (a - (sum - t)) + (b - t)
}

// ExtractOutput returns the mean as a part.
func (*meanFn) ExtractOutput(m *mean) *record.Batch {
	m.Values = make([]float32, len(m.high))
	for i := range m.Values {
		m.Values[i] = float32((m.high[i] + m.low[i]) / float64(m.Weight))
	}
	return record.Of([]part{m.part})
}

// meanRow is an encoded mean.
type meanRow struct {
	Name   string `arrow:"name"`
	Part   int64  `arrow:"part"`
	Whole  bool   `arrow:"whole"`
	Bin    int64  `arrow:"bin"`
	Weight int64  `arrow:"weight"`
	High   []byte `arrow:"high"`
	Low    []byte `arrow:"low"`
}

func encodeMean(m *mean) ([]byte, error) {
	r := meanRow{Name: m.Name, Part: m.Part, Whole: m.Whole, Bin: m.Bin, Weight: m.Weight}
	var err error
	if r.High, err = binary.Append(nil, binary.LittleEndian, m.high); err != nil {
		return nil, err
	}
	if r.Low, err = binary.Append(nil, binary.LittleEndian, m.low); err != nil {
		return nil, err
	}
	return record.Encode(record.Of([]meanRow{r}))
}

func decodeMean(data []byte) (*mean, error) {
	b, err := record.Decode(data)
	if err != nil {
		return nil, err
	}
	rows, err := record.Rows[meanRow](b)
	if err != nil {
		return nil, err
	}
	r, n := rows[0], len(rows[0].High)/8
	m := &mean{
		part: part{Name: r.Name, Part: r.Part, Whole: r.Whole, Bin: r.Bin, Weight: r.Weight},
		high: make([]float64, n), low: make([]float64, n),
	}
	if _, err := binary.Decode(r.High, binary.LittleEndian, m.high); err != nil {
		return nil, err
	}
	_, err = binary.Decode(r.Low, binary.LittleEndian, m.low)
	return m, err
}
