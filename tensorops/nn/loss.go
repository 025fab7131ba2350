package nn

import (
	"fmt"
	"math"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// NegCosine is the symmetrized negative cosine similarity between the student's prediction from one view and a constant
// target from the other view. With predictions p1, p2 and targets t1, t2 of the two views,
//
//	loss = (D(p1, t2) + D(p2, t1)) / 2,  D(p, t) = -mean over images of p·t / (|p| |t|)
//
// With the network's own projections as targets it is SimSiam's loss with stop-gradient (arXiv 2011.10566, eq. 2 and
// 4), with a frozen parent's projections SiamKD's (arXiv 2205.13267). Its minimum is -1.
type NegCosine struct {
	batch, dim int
	pool       *kernels.Pool
	values     []float64 // per row
	p, t, dp   []float32
	weight     float32
	rowTask    func(worker, i int)
}

// NewNegCosine returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// prediction.
func NewNegCosine(batch, dim int, p *kernels.Pool) *NegCosine {
	l := &NegCosine{batch: batch, dim: dim, pool: p, values: make([]float64, batch)}
	l.rowTask = l.row
	return l
}

// Loss returns the loss of predictions p [batch, dim] and targets t [batch, dim] and adds weight times its gradient
// with respect to p to dp [batch, dim].
func (l *NegCosine) Loss(p, t, dp []float32, weight float32) float64 {
	size := l.batch * l.dim
	mustLen("NegCosine.Loss: p", len(p), size)
	mustLen("NegCosine.Loss: t", len(t), size)
	mustLen("NegCosine.Loss: dp", len(dp), size)
	l.p, l.t, l.dp, l.weight = p, t, dp, weight
	l.pool.For(l.batch, l.rowTask)
	return mean(l.values)
}

// row computes the loss of one prediction: with unit vectors u and v of p and t, D = -u·v and ∂D/∂p = (u·(u·v) - v) /
// |p|.
func (l *NegCosine) row(_, i int) {
	p := l.p[i*l.dim:][:l.dim]
	t := l.t[(i+l.batch/2)%l.batch*l.dim:][:l.dim]
	dp := l.dp[i*l.dim:][:l.dim]
	var pp, tt, pt float64
	for j, v := range p {
		pp += float64(v) * float64(v)
		tt += float64(t[j]) * float64(t[j])
		pt += float64(v) * float64(t[j])
	}
	np, nt := max(math.Sqrt(pp), normFloor), max(math.Sqrt(tt), normFloor)
	cosine := pt / (np * nt)
	l.values[i] = -cosine
	scale := float64(l.weight) / float64(l.batch)
	a, b := float32(scale*cosine/(np*np)), float32(-scale/(np*nt))
	for j, v := range p {
		dp[j] += a*v + b*t[j]
	}
}

// normFloor prevents division by the norm of a zero vector, like the eps of PyTorch's normalize.
const normFloor = 1e-12

// directions holds the l2-normalized rows of a batch, and takes gradients back through the normalization.
type directions struct {
	batch, dim int
	pool       *kernels.Pool
	norms      []float64
	unit       []float32 // [batch, dim] normalized rows
	dunit      []float32 // [batch, dim] gradient of the normalized rows
	z, dz      []float32
	scale      float64

	normalizeTask, projectTask func(worker, i int)
}

func newDirections(batch, dim int, p *kernels.Pool) *directions {
	d := &directions{
		batch: batch, dim: dim, pool: p, norms: make([]float64, batch),
		unit: make([]float32, batch*dim), dunit: make([]float32, batch*dim),
	}
	d.normalizeTask, d.projectTask = d.normalizeRow, d.projectRow
	return d
}

// normalize sets unit from z [batch, dim].
func (d *directions) normalize(z []float32) {
	d.z = z
	d.pool.For(d.batch, d.normalizeTask)
}

func (d *directions) normalizeRow(_, i int) {
	d.norms[i] = normalize(d.unit[i*d.dim:][:d.dim], d.z[i*d.dim:][:d.dim])
}

// normalize sets u to the l2-normalized z and returns z's norm.
func normalize(u, z []float32) (norm float64) {
	for _, v := range z {
		norm += float64(v) * float64(v)
	}
	norm = max(math.Sqrt(norm), normFloor)
	scale := float32(1 / norm)
	for j, v := range z {
		u[j] = scale * v
	}
	return norm
}

// project adds to dz [batch, dim] scale times the gradient of z, computed from dunit.
func (d *directions) project(dz []float32, scale float64) {
	d.dz, d.scale = dz, scale
	d.pool.For(d.batch, d.projectTask)
}

func (d *directions) projectRow(_, i int) {
	u, du, dz := d.unit[i*d.dim:][:d.dim], d.dunit[i*d.dim:][:d.dim], d.dz[i*d.dim:][:d.dim]
	var dot float64
	for j, v := range u {
		dot += float64(v) * float64(du[j])
	}
	a, b := float32(d.scale/d.norms[i]), float32(dot)
	for j, v := range u {
		dz[j] += a * (du[j] - b*v)
	}
}

// NTXent is SimCLR's contrastive loss (arXiv 2002.05709, eq. 1): each row of the batch must identify the other view of
// its image among all other rows, by cosine similarity s divided by a temperature T,
//
//	loss = -mean over i of log( exp(s(i, other i)/T) / Σ over k≠i of exp(s(i, k)/T) )
type NTXent struct {
	*directions
	temperature float64
	values      []float64 // per row
	sims        []float32 // [batch, batch] similarities, then gradients of the logits

	rowTask, symmetrizeTask func(worker, i int)
}

// NewNTXent returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection.
func NewNTXent(batch, dim int, temperature float64, p *kernels.Pool) *NTXent {
	l := &NTXent{
		directions: newDirections(batch, dim, p), temperature: temperature,
		values: make([]float64, batch), sims: make([]float32, batch*batch),
	}
	l.rowTask, l.symmetrizeTask = l.row, l.symmetrize
	return l
}

// Loss returns the loss of projections z [batch, dim] and adds weight times its gradient to dz [batch, dim].
func (l *NTXent) Loss(z, dz []float32, weight float32) float64 {
	b, d := l.batch, l.dim
	mustLen("NTXent.Loss: z", len(z), b*d)
	mustLen("NTXent.Loss: dz", len(dz), b*d)
	l.normalize(z)
	l.pool.Gemm(false, true, b, b, d, l.unit, d, l.unit, d, l.sims, b, false)
	l.pool.For(b, l.rowTask)
	l.pool.For(b, l.symmetrizeTask)
	l.pool.Gemm(false, false, b, d, b, l.sims, b, l.unit, d, l.dunit, d, false)
	l.project(dz, float64(weight)/float64(b))
	return mean(l.values)
}

// row replaces the similarities of row i by the gradient of its term, (softmax - one-hot)/T.
func (l *NTXent) row(_, i int) {
	s := l.sims[i*l.batch:][:l.batch]
	target := (i + l.batch/2) % l.batch
	inv := 1 / l.temperature
	logit := float64(s[target]) * inv
	s[i] = float32(math.Inf(-1)) // exclude the row itself
	l.values[i] = softmax(s, s, inv, inv) - logit
	s[target] -= float32(inv)
}

// softmax writes scale times the softmax of inv·z to p and returns the logarithm of the sum of exp(inv·z). p may be z.
func softmax(p, z []float32, inv, scale float64) float64 {
	top := float64(slices.Max(z))
	var sum float64
	for k, v := range z {
		e := math.Exp((float64(v) - top) * inv)
		sum += e
		p[k] = float32(e)
	}
	normalize := float32(scale / sum)
	for k := range p {
		p[k] *= normalize
	}
	return top*inv + math.Log(sum)
}

// symmetrize adds the transpose, because each similarity occurs in two rows. Task i handles row i from the diagonal on
// and its mirror image, so that no two tasks touch the same element.
func (l *NTXent) symmetrize(_, i int) {
	for k := i; k < l.batch; k++ {
		sum := l.sims[i*l.batch+k] + l.sims[k*l.batch+i]
		l.sims[i*l.batch+k], l.sims[k*l.batch+i] = sum, sum
	}
}

// CrossEntropy is the softmax cross-entropy with label smoothing ε (arXiv 1512.00567, sec. 7), as in PyTorch: the target
// of a row of logits z is 1-ε for its label, and besides ε spread over all classes,
//
//	loss = -mean over rows of (1-ε) · log softmax(z)(label) + ε · mean over k of log softmax(z)(k)
type CrossEntropy struct {
	batch, classes  int
	smoothing       float64
	pool            *kernels.Pool
	values          []float64
	probabilities   []float32 // [threads, classes]
	logits, dlogits []float32
	labels          []int64
	weight          float32
	rowTask         func(worker, i int)
}

// NewCrossEntropy returns the loss for logits [batch, classes]. The smoothing is from 0, for none, to 1.
func NewCrossEntropy(batch, classes int, smoothing float64, p *kernels.Pool) *CrossEntropy {
	l := &CrossEntropy{
		batch: batch, classes: classes, smoothing: smoothing, pool: p,
		values: make([]float64, batch), probabilities: make([]float32, p.Threads()*classes),
	}
	l.rowTask = l.row
	return l
}

// Loss returns the loss of logits [batch, classes] for labels [batch] in [0, classes) and adds weight times its
// gradient to dlogits [batch, classes]. It panics on a label out of range.
func (l *CrossEntropy) Loss(logits []float32, labels []int64, dlogits []float32, weight float32) float64 {
	mustLen("CrossEntropy.Loss: logits", len(logits), l.batch*l.classes)
	mustLen("CrossEntropy.Loss: dlogits", len(dlogits), l.batch*l.classes)
	if len(labels) != l.batch {
		panic(fmt.Sprintf("nn: CrossEntropy.Loss: %d labels, want %d", len(labels), l.batch))
	}
	for i, c := range labels {
		if c < 0 || c >= int64(l.classes) {
			panic(fmt.Sprintf("nn: CrossEntropy.Loss: label %d of row %d; want labels from 0 to %d", c, i, l.classes-1))
		}
	}
	l.logits, l.labels, l.dlogits, l.weight = logits, labels, dlogits, weight
	l.pool.For(l.batch, l.rowTask)
	return mean(l.values)
}

// row computes the loss of one row: ∂loss/∂z = softmax(z) - target.
func (l *CrossEntropy) row(worker, i int) {
	z, dz, label := l.logits[i*l.classes:][:l.classes], l.dlogits[i*l.classes:][:l.classes], l.labels[i]
	p := l.probabilities[worker*l.classes:][:l.classes]
	scale, spread := float64(l.weight)/float64(l.batch), l.smoothing/float64(l.classes)
	l.values[i] = softmax(p, z, 1, scale) - (1-l.smoothing)*float64(z[label])
	for k, v := range p {
		dz[k] += v
	}
	dz[label] -= float32(scale * (1 - l.smoothing))
	if spread == 0 {
		return
	}
	var sum float64
	for k, v := range z {
		sum += float64(v)
		dz[k] -= float32(scale * spread)
	}
	l.values[i] -= spread * sum
}

// Collapse detects embeddings that have become all alike.
type Collapse struct {
	dim          int
	sum, squares []float64 // over the batch, per dimension
}

// NewCollapse returns a detector for embeddings of the given length.
func NewCollapse(dim int) *Collapse {
	return &Collapse{dim: dim, sum: make([]float64, dim), squares: make([]float64, dim)}
}

// Std returns the standard deviation over the batch of each dimension of the l2-normalized rows of z [n, dim], averaged
// over the dimensions: about 1/√dim for healthy embeddings, 0 for collapsed ones (arXiv 2011.10566, sec. 4.1).
func (c *Collapse) Std(z []float32) float64 {
	n := len(z) / c.dim
	clear(c.sum)
	clear(c.squares)
	for i := range n {
		row := z[i*c.dim:][:c.dim]
		var norm float64
		for _, v := range row {
			norm += float64(v) * float64(v)
		}
		scale := 1 / max(math.Sqrt(norm), normFloor)
		for j, v := range row {
			u := float64(v) * scale
			c.sum[j] += u
			c.squares[j] += u * u
		}
	}
	var total float64
	for j, s := range c.sum {
		total += math.Sqrt(max(0, c.squares[j]-s*s/float64(n)) / float64(max(1, n-1)))
	}
	return total / float64(c.dim)
}

func mean(s []float64) float64 {
	var sum float64
	for _, v := range s {
		sum += v
	}
	return sum / float64(len(s))
}
