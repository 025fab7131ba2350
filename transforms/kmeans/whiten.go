package kmeans

import (
	"errors"
	"fmt"
	"math"
	"reflect"

	"github.com/apache/arrow/go/v15/arrow"
	"github.com/apache/arrow/go/v15/arrow/array"
	"github.com/apache/beam/sdks/v2/go/pkg/beam"
	"gonum.org/v1/gonum/mat"

	"github.com/sdr-ml/sdr/transforms/compute"
	"github.com/sdr-ml/sdr/transforms/record"
)

func init() {
	beam.RegisterDoFn(reflect.TypeFor[basisFn]())
	beam.RegisterDoFn(reflect.TypeFor[momentFn]())
	beam.RegisterDoFn(reflect.TypeFor[spanFn]())
	beam.RegisterDoFn(reflect.TypeFor[whitenFn]())
	beam.RegisterFunction(writeBasis)
}

// WhitenConfig configures [Whiten]; [FitWhiten] does not use Normalize, nor [ApplyWhiten] Floor.
type WhitenConfig struct {
	// Column is the name of the column of vectors. The whitened vectors have the same name and width.
	Column string
	// Floor is the smallest variance that is scaled to 1, as a fraction of the largest; directions with less variance
	// end up below 1. It is above 0 and at most 1.
	Floor float64
	// Normalize scales the whitened vectors to unit length.
	Normalize bool
}

// Validate reports all invalid fields.
func (c WhitenConfig) Validate() error {
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("kmeans: Column is empty; name the column of vectors"))
	}
	if !(c.Floor > 0 && c.Floor <= 1) {
		errs = append(errs, fmt.Errorf("kmeans: Floor is %v; it must be above 0 and at most 1", c.Floor))
	}
	return errors.Join(errs...)
}

// Whiten centers the vectors of in, a PCollection<*record.Batch>, and rotates and scales them so that their covariance
// becomes the identity (PCA whitening):
//
//	y = (x - mean) V / sqrt(max(variance, Floor * largest variance))
//
// V holds the eigenvectors of the covariance in order of decreasing variance, each with its largest component positive.
// It returns a PCollection<*record.Batch> with the column replaced. Vectors with a NaN, an infinity or a value above
// 1e15 are errors that name the row. Whiten panics if cfg is invalid. It is [ApplyWhiten] of [FitWhiten].
func Whiten(s beam.Scope, in beam.PCollection, cfg WhitenConfig) beam.PCollection {
	s = s.Scope("kmeans.Whiten")
	return ApplyWhiten(s, in, FitWhiten(s, in, cfg), cfg)
}

// FitWhiten returns the whitening transform of the vectors of in as a PCollection<*record.Batch> of one batch, or none if
// in has no rows. It has a row per component of the vectors, with the columns mean (float64) and axes
// (fixed_size_list<float64>), the component's row of V divided by the square roots of the variances.
func FitWhiten(s beam.Scope, in beam.PCollection, cfg WhitenConfig) beam.PCollection {
	s = s.Scope("kmeans.FitWhiten")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	measured := total(s, beam.ParDo(s, &measureFn{Config: Config{Column: cfg.Column}}, in))
	b := beam.ParDo(s, &spanFn{Column: cfg.Column}, measured)
	for _, second := range []bool{false, true} {
		found := beam.ParDo(s, &momentFn{Column: cfg.Column, Second: second}, in, beam.SideInput{Input: b})
		b = beam.ParDo(s, &basisFn{Floor: cfg.Floor, Second: second}, total(s, found), beam.SideInput{Input: b})
	}
	return beam.ParDo(s, writeBasis, b)
}

// ApplyWhiten whitens the vectors of in by the transform in basis, which [FitWhiten] fitted to these or to other vectors,
// perhaps in another pipeline. Vectors of another width than those are errors.
func ApplyWhiten(s beam.Scope, in, basis beam.PCollection, cfg WhitenConfig) beam.PCollection {
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	return beam.ParDo(s.Scope("kmeans.ApplyWhiten"), &whitenFn{Config: cfg}, in, beam.SideInput{Input: basis})
}

// basis is the fitted whitening transform.
type basis struct {
	Rows         int64
	Width        int
	Unit, Square int       // fixed-point exponents: of values, of products of centered values
	Mean         []float64 // [Width]
	Axes         []float64 // [Width, Width], column j is scaled eigenvector j
}

// spanFn makes a basis without Mean and Axes from the measurements.
type spanFn struct{ Column string }

func (fn *spanFn) ProcessElement(t *tally, emit func(*basis)) error {
	if len(t.Widths) > 1 {
		return fmt.Errorf("kmeans: column %q: vectors have different widths %v; all must be equally long", fn.Column, t.Widths)
	}
	b := &basis{Rows: t.Rows, Unit: unit(t.Rows, t.Longest), Square: unit(t.Rows, 4*t.Longest*t.Longest)}
	if t.Rows > 0 {
		b.Width = t.Widths[0]
	}
	emit(b)
	return nil
}

// momentFn sums the vectors of a batch or, if Second, the products of their centered components ([Width, Width], upper
// triangle).
type momentFn struct {
	Column string
	Second bool
}

func (fn *momentFn) ProcessElement(in *record.Batch, b *basis, emit func(*tally)) error {
	t := &tally{}
	defer func() { emit(t) }()
	if in.NumRows() == 0 {
		return nil
	}
	data, _, err := vectors(in, fn.Column)
	if err != nil {
		return err
	}
	if !fn.Second {
		t.Clusters, t.Sums = []int32{0}, make([]int64, b.Width)
		for i, v := range data {
			t.Sums[i%b.Width] += fix(float64(v), scale(b.Unit))
		}
		return nil
	}
	var gram mat.SymDense
	gram.SymOuterK(1, b.centered(data).T())
	t.Clusters, t.Sums = []int32{0}, make([]int64, b.Width*b.Width)
	for i := range b.Width {
		for j := i; j < b.Width; j++ {
			t.Sums[i*b.Width+j] = fix(gram.At(i, j), scale(b.Square))
		}
	}
	return nil
}

// centered returns the matrix of the vectors minus the mean.
func (b *basis) centered(data []float32) *mat.Dense {
	m := make([]float64, len(data))
	for i, v := range data {
		m[i] = float64(v) - b.Mean[i%b.Width]
	}
	return mat.NewDense(len(data)/b.Width, b.Width, m)
}

// basisFn computes the mean or, if Second, the axes from the sums.
type basisFn struct {
	Floor  float64
	Second bool
}

func (fn *basisFn) ProcessElement(t *tally, b *basis) (*basis, error) {
	if b.Rows == 0 {
		return b, nil
	}
	next := *b
	if !fn.Second {
		next.Mean = make([]float64, b.Width)
		for i, sum := range t.Sums {
			next.Mean[i] = float(sum, b.Unit) / float64(b.Rows)
		}
		return &next, nil
	}
	cov := mat.NewSymDense(b.Width, nil)
	for i := range b.Width {
		for j := i; j < b.Width; j++ {
			cov.SetSym(i, j, float(t.Sums[i*b.Width+j], b.Square)/float64(b.Rows))
		}
	}
	var eigen mat.EigenSym
	if !eigen.Factorize(cov, true) {
		return nil, errors.New("kmeans: the eigenvalues of the covariance did not converge; check the vectors for a few huge values")
	}
	next.Axes = axes(&eigen, b.Width, fn.Floor)
	return &next, nil
}

// axes scales the eigenvectors and sorts them by decreasing eigenvalue.
func axes(eigen *mat.EigenSym, width int, floor float64) []float64 {
	values := eigen.Values(nil) // ascending
	var vectors mat.Dense
	eigen.VectorsTo(&vectors)
	least := max(values[width-1], 0) * floor
	axes := make([]float64, width*width)
	if least == 0 {
		return axes // all vectors are equal
	}
	for j := range width {
		from := width - 1 - j
		scale := 1 / math.Sqrt(max(values[from], least))
		var largest float64
		for i := range width {
			if v := vectors.At(i, from); math.Abs(v) > math.Abs(largest) {
				largest = v
			}
		}
		for i := range width {
			axes[i*width+j] = vectors.At(i, from) * math.Copysign(scale, largest)
		}
	}
	return axes
}

// The columns of a basis as a batch.
const (
	meanColumn = "mean"
	axesColumn = "axes"
)

// writeBasis emits a basis as a batch, unless there was nothing to fit it to.
func writeBasis(b *basis, emit func(*record.Batch)) {
	if b.Rows == 0 {
		return
	}
	mean, axes := array.NewFloat64Builder(record.Mem), array.NewFixedSizeListBuilder(record.Mem, int32(b.Width), arrow.PrimitiveTypes.Float64)
	mean.AppendValues(b.Mean, nil)
	for range b.Width {
		axes.Append(true)
	}
	axes.ValueBuilder().(*array.Float64Builder).AppendValues(b.Axes, nil)
	columns := []arrow.Array{mean.NewArray(), axes.NewArray()}
	var fields []arrow.Field
	for i, name := range []string{meanColumn, axesColumn} {
		fields = append(fields, arrow.Field{Name: name, Type: columns[i].DataType()})
	}
	emit(record.New(array.NewRecord(arrow.NewSchema(fields, nil), columns, int64(b.Width))))
}

// readBasis reads what writeBasis emits.
func readBasis(b *record.Batch) (*basis, error) {
	find := func(name string) arrow.Array {
		if at := b.Schema().FieldIndices(name); len(at) == 1 && b.Column(at[0]).NullN() == 0 {
			return b.Column(at[0])
		}
		return nil
	}
	width := int(b.NumRows())
	mean, _ := find(meanColumn).(*array.Float64)
	lists, _ := find(axesColumn).(*array.FixedSizeList)
	if mean == nil || lists == nil || width == 0 {
		return nil, errors.New("kmeans: the basis is not one that FitWhiten makes")
	}
	axes, _ := lists.ListValues().(*array.Float64)
	if from, _ := lists.ValueOffsets(0); axes == nil || from != 0 || axes.Len() != width*width || axes.NullN() > 0 {
		return nil, errors.New("kmeans: the axes of the basis are not a square matrix of float64")
	}
	return &basis{Width: width, Mean: mean.Float64Values(), Axes: axes.Float64Values()}, nil
}

// whitenFn replaces the vectors of a batch.
type whitenFn struct {
	Config WhitenConfig

	basis record.Side[*basis]
}

func (fn *whitenFn) ProcessElement(w beam.Window, in *record.Batch, fitted func(**record.Batch) bool) (*record.Batch, error) {
	if in.NumRows() == 0 {
		return in, nil
	}
	b, err := fn.basis.Get(w, func() (*basis, error) {
		var b, more *record.Batch
		if !fitted(&b) || fitted(&more) {
			return nil, errors.New("kmeans: want one basis to whiten vectors by")
		}
		return readBasis(b)
	})
	if err != nil {
		return nil, err
	}
	return b.whiten(in, fn.Config)
}

// WhitenBatch is [ApplyWhiten] for one batch in memory, with the batch that FitWhiten returned.
func WhitenBatch(in, fitted *record.Batch, cfg WhitenConfig) (*record.Batch, error) {
	b, err := readBasis(fitted)
	if err != nil || in.NumRows() == 0 {
		return in, err
	}
	return b.whiten(in, cfg)
}

// whiten replaces the vectors of a batch with rows.
func (b *basis) whiten(in *record.Batch, cfg WhitenConfig) (*record.Batch, error) {
	data, width, err := vectors(in, cfg.Column)
	if err == nil {
		_, err = checkRows(in, cfg.Column, data, width)
	}
	if err == nil && width != b.Width {
		err = fmt.Errorf("kmeans: column %q has vectors of width %d; the basis has %d", cfg.Column, width, b.Width)
	}
	if err != nil {
		return nil, err
	}
	var y mat.Dense
	y.Mul(b.centered(data), mat.NewDense(b.Width, b.Width, b.Axes))
	out := make([]float32, 0, len(data))
	for i := range int(in.NumRows()) {
		row := y.RawRowView(i)
		scale := 1.0
		if n := mat.Norm(mat.NewVecDense(b.Width, row), 2); cfg.Normalize && n > 0 {
			scale = 1 / n
		}
		for _, v := range row {
			out = append(out, float32(v*scale))
		}
	}
	col, err := record.FromDense(cfg.Column, compute.Engine().Matrix(out, int(in.NumRows()), b.Width))
	if err != nil {
		return nil, err
	}
	return record.With(in, cfg.Column, col), nil
}
