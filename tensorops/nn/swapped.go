package nn

import (
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Swapped is SwAV's loss (arXiv 2006.09882, eq. 1 and 2): from one view, predict to which prototypes the other view of
// the image is assigned. With s(i, k) the cosine similarity of row i and prototype k, and a temperature T,
//
//	loss = -mean over i of Σ over k of q(other i, k) · log softmax(s(i)/T)(k)
//
// The assignments q, which have no gradient, are those of a few iterations of the Sinkhorn-Knopp algorithm, towards ones
// that spread each view of the batch evenly over the prototypes (eq. 3 to 5):
//
//	q(i, k) = v(i) · exp(s(i, k)/ε) · u(k)
//
// where u makes the assignments to each prototype add up to one, and then v those of each row.
type Swapped struct {
	*directions
	prototypes, iterations int
	temperature, epsilon   float64
	values                 []float64 // per row
	scores                 []float32 // [batch, prototypes] similarities, then their gradients
	exps                   []float32 // [batch, prototypes] exp((s - 1)/ε)
	u                      []float64 // [2, prototypes] for the prototypes, per view
	v                      []float64 // [batch] for the rows
	weights                []float32
	scale                  float64

	unitTask, expTask, prototypeTask, assignTask, rowTask func(worker, i int)
}

// band is the number of prototypes per task.
const band = 64

// NewSwapped returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection.
func NewSwapped(batch, dim, prototypes int, temperature, epsilon float64, iterations int, p *kernels.Pool) *Swapped {
	l := &Swapped{
		directions: newDirections(batch, dim, p), prototypes: prototypes, iterations: iterations,
		temperature: temperature, epsilon: epsilon, values: make([]float64, batch),
		scores: make([]float32, batch*prototypes), exps: make([]float32, batch*prototypes),
		u: make([]float64, 2*prototypes), v: make([]float64, batch),
	}
	l.unitTask, l.expTask, l.rowTask = l.normalizeBand, l.exp, l.row
	l.prototypeTask, l.assignTask = l.prototype, l.assign
	return l
}

// Loss returns the loss of projections z [batch, dim] and prototypes [dim, prototypes], whose columns it normalizes. It
// adds weight times its gradient with respect to z to dz [batch, dim], and sets dprototypes [dim, prototypes] to weight
// times its gradient with respect to the normalized prototypes.
func (l *Swapped) Loss(z, prototypes, dz, dprototypes []float32, weight float32) float64 {
	b, d, n := l.batch, l.dim, l.prototypes
	mustLen("Swapped.Loss: z", len(z), b*d)
	mustLen("Swapped.Loss: prototypes", len(prototypes), d*n)
	mustLen("Swapped.Loss: dz", len(dz), b*d)
	mustLen("Swapped.Loss: dprototypes", len(dprototypes), d*n)
	l.weights, l.scale = prototypes, float64(weight)/float64(b)
	bands := (n + band - 1) / band
	l.pool.For(bands, l.unitTask)
	l.normalize(z)
	l.pool.Gemm(false, false, b, n, d, l.unit, d, prototypes, n, l.scores, n, false)
	fill(l.v, 1)
	l.pool.For(b, l.expTask)
	for range l.iterations {
		l.pool.For(2*bands, l.prototypeTask)
		l.pool.For(b, l.assignTask)
	}
	l.pool.For(b, l.rowTask)
	l.pool.Gemm(true, false, d, n, b, l.unit, d, l.scores, n, dprototypes, n, false)
	l.pool.Gemm(false, true, b, d, n, l.scores, n, prototypes, n, l.dunit, d, false)
	l.project(dz, 1)
	return mean(l.values)
}

// normalizeBand normalizes a band of the prototypes.
func (l *Swapped) normalizeBand(_, i int) {
	from, to := i*band, min((i+1)*band, l.prototypes)
	var squares [band]float64
	for at := 0; at < len(l.weights); at += l.prototypes {
		for k, w := range l.weights[at+from : at+to] {
			squares[k] += float64(w) * float64(w)
		}
	}
	for at := 0; at < len(l.weights); at += l.prototypes {
		row := l.weights[at+from : at+to]
		for k := range row {
			row[k] *= float32(1 / max(math.Sqrt(squares[k]), normFloor))
		}
	}
}

// exp computes the exponentials of a row. That they are smaller by a common factor makes no difference.
func (l *Swapped) exp(_, i int) {
	e := l.exps[i*l.prototypes:][:l.prototypes]
	for k, s := range l.scores[i*l.prototypes:][:l.prototypes] {
		e[k] = float32(math.Exp((float64(s) - 1) / l.epsilon))
	}
}

// prototype computes u for a band of the prototypes and one view.
func (l *Swapped) prototype(_, i int) {
	view, from := i%2, i/2*band
	to, rows := min(from+band, l.prototypes), l.batch/2
	var sums [band]float64
	for row := view * rows; row < (view+1)*rows; row++ {
		for k, e := range l.exps[row*l.prototypes:][from:to] {
			sums[k] += l.v[row] * float64(e)
		}
	}
	for k, u := 0, l.u[view*l.prototypes:][from:to]; k < len(u); k++ {
		u[k] = 1 / sums[k]
	}
}

// assign computes v for a row.
func (l *Swapped) assign(_, i int) {
	view := 2 * i / l.batch
	u := l.u[view*l.prototypes:]
	var sum float64
	for k, e := range l.exps[i*l.prototypes:][:l.prototypes] {
		sum += float64(e) * u[k]
	}
	l.v[i] = 1 / sum
}

// row replaces the similarities of row i by scale times their gradient, (softmax - q)/T.
func (l *Swapped) row(_, i int) {
	other := (i + l.batch/2) % l.batch
	view := 2 * other / l.batch
	s, e := l.scores[i*l.prototypes:][:l.prototypes], l.exps[other*l.prototypes:][:l.prototypes]
	u, v, inv := l.u[view*l.prototypes:], l.v[other], 1/l.temperature
	var logit float64 // that q expects
	for k, x := range s {
		logit += v * float64(e[k]) * u[k] * float64(x)
	}
	l.values[i] = softmax(s, s, inv, l.scale*inv) - logit*inv
	for k := range s {
		s[k] -= float32(l.scale * inv * v * float64(e[k]) * u[k])
	}
}
