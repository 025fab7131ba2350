package kmeans

import (
	"errors"
	"fmt"
	"math"
	"reflect"

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
}

// WhitenConfig says how to whiten.
type WhitenConfig struct {
	// Column holds the vectors; the result holds the whitened ones under the
	// same name and with the same width.
	Column string
	// Floor is the least variance that is scaled to 1, as a fraction of the
	// largest; directions with less stay below 1. It lies above 0 and up to 1.
	Floor float64
	// Normalize scales the whitened vectors to length 1.
	Normalize bool
}

// Validate reports every setting that [Whiten] cannot work with.
func (c WhitenConfig) Validate() error {
	var errs []error
	if c.Column == "" {
		errs = append(errs, errors.New("kmeans: Column is empty; name the column of vectors"))
	}
	if !(c.Floor > 0 && c.Floor <= 1) {
		errs = append(errs, fmt.Errorf("kmeans: Floor is %v; it must lie above 0 and up to 1", c.Floor))
	}
	return errors.Join(errs...)
}

// Whiten centres the vectors of in, a PCollection<*record.Batch>, and turns and
// scales them so that their covariance becomes the identity (PCA whitening):
// y = (x - mean) V / sqrt(max(variance, Floor * largest variance)), with the
// eigenvectors V of the covariance in the order of falling variance, each with
// its largest component positive. It returns a PCollection<*record.Batch> with
// the column replaced. Vectors with a NaN, an infinity or a value above 1e15
// are errors that name the row. Whiten panics if cfg is not valid.
func Whiten(s beam.Scope, in beam.PCollection, cfg WhitenConfig) beam.PCollection {
	s = s.Scope("kmeans.Whiten")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	work := withMarker(s, in)
	measured := beam.Combine(s, &addFn{}, beam.ParDo(s, &measureFn{Column: cfg.Column}, work))
	b := beam.ParDo(s, &spanFn{Column: cfg.Column}, measured)
	b = pass(s, &momentFn{Column: cfg.Column}, &basisFn{}, work, b)
	b = pass(s, &momentFn{Column: cfg.Column, Second: true}, &basisFn{Floor: cfg.Floor, Second: true}, work, b)
	return beam.ParDo(s, &whitenFn{Config: cfg}, work, beam.SideInput{Input: b})
}

// basis is what whitening learns from the data.
type basis struct {
	Rows         int64
	Width        int
	Unit, Square int       // fixed-point exponents: of values, of products of centred values
	Mean         []float64 // [Width]
	Axes         []float64 // [Width, Width], column j is scaled eigenvector j
}

// spanFn makes the empty basis from the measured data.
type spanFn struct{ Column string }

func (fn *spanFn) ProcessElement(t *tally, emit func(*basis)) error {
	if len(t.Widths) > 1 {
		return fmt.Errorf("kmeans: column %q: vectors of the different widths %v cannot be whitened together", fn.Column, t.Widths)
	}
	b := &basis{Rows: t.Rows, Unit: unit(t.Rows, t.Max), Square: unit(t.Rows, 4*t.Max*t.Max)}
	if t.Rows > 0 {
		b.Width = t.Widths[0]
	}
	emit(b)
	return nil
}

// momentFn sums the vectors of a batch, or the products of their centred
// components ([Width, Width], upper triangle).
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
		t.Sums = make([]int64, b.Width)
		for i, v := range data {
			t.Sums[i%b.Width] += fix(float64(v), b.Unit)
		}
		return nil
	}
	var gram mat.SymDense
	gram.SymOuterK(1, b.centred(data).T())
	t.Sums = make([]int64, b.Width*b.Width)
	for i := range b.Width {
		for j := i; j < b.Width; j++ {
			t.Sums[i*b.Width+j] = fix(gram.At(i, j), b.Square)
		}
	}
	return nil
}

// centred is the matrix of the vectors less the mean.
func (b *basis) centred(data []float32) *mat.Dense {
	m := make([]float64, len(data))
	for i, v := range data {
		m[i] = float64(v) - b.Mean[i%b.Width]
	}
	return mat.NewDense(len(data)/b.Width, b.Width, m)
}

// basisFn takes the mean, or the axes, from the sums.
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

// axes scales the eigenvectors and orders them by falling eigenvalue.
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

// whitenFn replaces the vectors of a batch.
type whitenFn struct{ Config WhitenConfig }

func (fn *whitenFn) ProcessElement(in *record.Batch, b *basis, emit func(*record.Batch)) error {
	if isMarker(in) {
		return nil
	}
	if in.NumRows() == 0 {
		emit(in)
		return nil
	}
	data, _, err := vectors(in, fn.Config.Column)
	if err != nil {
		return err
	}
	var y mat.Dense
	y.Mul(b.centred(data), mat.NewDense(b.Width, b.Width, b.Axes))
	out := make([]float32, 0, len(data))
	for i := range int(in.NumRows()) {
		row := y.RawRowView(i)
		scale := 1.0
		if n := mat.Norm(mat.NewVecDense(b.Width, row), 2); fn.Config.Normalize && n > 0 {
			scale = 1 / n
		}
		for _, v := range row {
			out = append(out, float32(v*scale))
		}
	}
	col, err := record.FromDense(fn.Config.Column, compute.Engine().Matrix(out, int(in.NumRows()), b.Width))
	if err != nil {
		return err
	}
	emit(record.With(in, fn.Config.Column, col))
	return nil
}
