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

// WhitenConfig configures [Whiten].
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
// 1e15 are errors that name the row. Whiten panics if cfg is invalid.
func Whiten(s beam.Scope, in beam.PCollection, cfg WhitenConfig) beam.PCollection {
	s = s.Scope("kmeans.Whiten")
	if err := cfg.Validate(); err != nil {
		panic(err)
	}
	work := withMarker(s, in)
	measured := beam.Combine(s, &addFn{}, beam.ParDo(s, &measureFn{Config: Config{Column: cfg.Column}}, work))
	b := beam.ParDo(s, &spanFn{Column: cfg.Column}, measured)
	for _, second := range []bool{false, true} {
		found := beam.ParDo(s, &momentFn{Column: cfg.Column, Second: second}, work, beam.SideInput{Input: b})
		b = beam.ParDo(s, &basisFn{Floor: cfg.Floor, Second: second}, beam.Combine(s, &addFn{}, found), beam.SideInput{Input: b})
	}
	return beam.ParDo(s, &whitenFn{Config: cfg}, work, beam.SideInput{Input: b})
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
	y.Mul(b.centered(data), mat.NewDense(b.Width, b.Width, b.Axes))
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
