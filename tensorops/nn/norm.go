package nn

import (
	"math"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/vecs"
)

// BNMode selects the mean and variance with which BatchNorm normalizes.
type BNMode int

const (
	// BatchStats uses the batch statistics and does not change the running statistics.
	BatchStats BNMode = iota
	// UpdateStats uses the batch statistics and updates the running statistics with momentum 0.1, one view after the
	// other, as PyTorch does in training.
	UpdateStats
	// RunningStats uses the running statistics, as PyTorch does in evaluation.
	RunningStats
)

const (
	bnEpsilon  = 1e-5
	bnMomentum = 0.1
	normChunk  = 1 << 14 // floats per task, few enough for a core's cache
)

// norm is what follows a layer's product, fused: BatchNorm (arXiv 1502.03167) or a bias, then an optional residual sum
// and an activation. Data are rows of c channels. The views are equal consecutive parts of the rows with separate statistics.
// How a view is split into chunks depends on the shape alone; sums are computed within each chunk and then over the
// chunks, in order and in double precision.
type norm struct {
	Normalization
	activation  Activation
	c           int
	views, rows int // rows of one view
	chunkRows   int // rows per chunk; the last of a view may have fewer
	chunks      int // chunks per view
	pool        *kernels.Pool

	mean, vari []float64   // [views, c], of the last forward pass; variance without Bessel's correction
	frozen     bool        // whether the last forward pass used running statistics
	parts      []float64   // [views·chunks, 2, c] sums of the chunks
	scratch    [][]float32 // three tiles per worker
	tile       int         // length of a tile
	center     []float32   // [views, tile] mean, rounded to float32
	k1, k2, k3 []float32   // [views, tile] coefficients of the elementwise passes

	x, y, residual, g1, g2, masked, dx []float32 // arguments of the current pass

	momentsTask, applyTask, gradTask, combineTask func(worker, i int)
}

func newNorm(spec Normalization, a Activation, channels, rows, views int, p *kernels.Pool) *norm {
	n := &norm{Normalization: spec, activation: a, c: channels, views: views, rows: rows / views, pool: p, tile: tileLen(channels)}
	tileRows := n.tile / channels
	n.chunkRows = max(1, normChunk/n.tile) * tileRows
	n.chunks = (n.rows + n.chunkRows - 1) / n.chunkRows
	n.mean, n.vari = make([]float64, views*channels), make([]float64, views*channels)
	n.parts = make([]float64, views*n.chunks*2*channels)
	n.scratch = make([][]float32, p.Threads())
	for w := range n.scratch {
		n.scratch[w] = make([]float32, 3*n.tile)
	}
	for _, k := range []*[]float32{&n.center, &n.k1, &n.k2, &n.k3} {
		*k = make([]float32, views*n.tile)
	}
	n.momentsTask, n.applyTask, n.gradTask, n.combineTask = n.moments, n.apply, n.grad, n.combine
	return n
}

// forward computes y from x; residual is added before the activation and may be nil. y may be x. params and stats are the flat
// vectors.
func (n *norm) forward(x, residual, y, params, stats []float32, mode BNMode) {
	n.x, n.residual, n.y = x, residual, y
	n.frozen = !n.Batch || mode == RunningStats
	switch {
	case !n.Batch:
		fill(n.vari, 1-bnEpsilon) // factor 1
	case mode == RunningStats:
		for v := range n.views {
			for c := range n.c {
				n.mean[v*n.c+c] = float64(n.RunningMean.Of(stats)[c])
				n.vari[v*n.c+c] = float64(n.RunningVar.Of(stats)[c])
			}
		}
	default:
		n.pool.For(n.views*n.chunks, n.momentsTask)
		n.reduceMoments()
		if mode == UpdateStats {
			n.updateStats(stats)
		}
	}
	scale, shift := n.Scale.Of(params), n.Shift.Of(params)
	for v := range n.views {
		a, b := n.k1[v*n.tile:][:n.tile], n.k2[v*n.tile:][:n.tile]
		for c := range n.c {
			factor, offset := n.factor(scale, v, c), 0.0
			if len(shift) > 0 {
				offset = float64(shift[c])
			}
			a[c], b[c] = float32(factor), float32(offset-factor*n.mean[v*n.c+c])
		}
		retile(a, n.c)
		retile(b, n.c)
	}
	n.pool.For(n.views*n.chunks, n.applyTask)
}

// reapply computes y from x as the last forward pass did, which must have had no residual.
func (n *norm) reapply(x, y []float32) {
	n.x, n.residual, n.y = x, nil, y
	n.pool.For(n.views*n.chunks, n.applyTask)
}

// factor returns the factor of x-mean in channel c of view v.
func (n *norm) factor(scale []float32, v, c int) float64 {
	f := 1 / math.Sqrt(n.vari[v*n.c+c]+bnEpsilon)
	if len(scale) > 0 {
		f *= float64(scale[c])
	}
	return f
}

// chunk returns the view, the range of elements and the sums of task i.
func (n *norm) chunk(i int) (view, from, to int, s, q []float64) {
	view = i / n.chunks
	first := i % n.chunks * n.chunkRows
	last := min(first+n.chunkRows, n.rows)
	parts := n.parts[i*2*n.c:][:2*n.c]
	return view, (view*n.rows + first) * n.c, (view*n.rows + last) * n.c, parts[:n.c], parts[n.c:]
}

// moments computes the mean of each channel of a chunk and the sum of squared deviations from it. It subtracts the
// chunk's first row, so that a large mean costs no precision.
func (n *norm) moments(worker, i int) {
	_, from, to, mean, m2 := n.chunk(i)
	scratch := n.scratch[worker]
	s, q, pivot := scratch[:n.tile], scratch[n.tile:2*n.tile], scratch[2*n.tile:]
	clear(scratch[:2*n.tile])
	copy(pivot, n.x[from:from+n.c])
	retile(pivot, n.c)
	vecs.Moments(s, q, n.x[from:to], pivot)
	fold(s, n.c)
	fold(q, n.c)
	count := float64((to - from) / n.c)
	for c := range n.c {
		sum := float64(s[c])
		mean[c] = float64(pivot[c]) + sum/count
		m2[c] = max(0, float64(q[c])-sum*sum/count)
	}
}

// reduceMoments combines the chunks' means and squared deviations (Chan et al. 1979).
func (n *norm) reduceMoments() {
	clear(n.mean)
	clear(n.vari)
	for i := range n.views * n.chunks {
		view, from, to, mean, _ := n.chunk(i)
		total, weight := n.mean[view*n.c:][:n.c], float64(to-from)/float64(n.rows*n.c)
		for c, m := range mean {
			total[c] += weight * m
		}
	}
	for i := range n.views * n.chunks {
		view, from, to, mean, m2 := n.chunk(i)
		center, total := n.mean[view*n.c:][:n.c], n.vari[view*n.c:][:n.c]
		count, scale := float64(to-from)/float64(n.c), 1/float64(n.rows)
		for c, m := range mean {
			d := m - center[c]
			total[c] += (m2[c] + count*d*d) * scale
		}
	}
}

// unbiased returns the factor that makes the variance of a view unbiased.
func (n *norm) unbiased() float64 { return float64(n.rows) / float64(max(1, n.rows-1)) }

func (n *norm) updateStats(stats []float32) {
	mean, vari := n.RunningMean.Of(stats), n.RunningVar.Of(stats)
	for v := range n.views {
		for c := range n.c {
			mean[c] += bnMomentum * (float32(n.mean[v*n.c+c]) - mean[c])
			vari[c] += bnMomentum * (float32(n.vari[v*n.c+c]*n.unbiased()) - vari[c])
		}
	}
}

func (n *norm) apply(_, i int) {
	view, from, to, _, _ := n.chunk(i)
	a, b := n.k1[view*n.tile:][:n.tile], n.k2[view*n.tile:][:n.tile]
	x, y, top := n.x[from:to], n.y[from:to], n.activation.Top()
	switch rectified := n.activation != Identity; {
	case n.residual != nil && rectified:
		vecs.ScaleShiftAddReLU(y, x, n.residual[from:to], a, b, top)
	case n.residual != nil:
		vecs.ScaleShiftAdd(y, x, n.residual[from:to], a, b)
	case rectified:
		vecs.ScaleShiftReLU(y, x, a, b, top)
	default:
		vecs.ScaleShift(y, x, a, b)
	}
}

// backward computes dx, the gradient of x, from the gradient g1 (+ g2 unless nil) of y, and the gradients of scale and
// shift. With an activation or g2, it writes to masked the gradient before the activation, which is also the residual's.
// masked may be g1 or dx; dx may be g1, g2 or masked. x and y are those of the forward pass.
func (n *norm) backward(g1, g2, x, y, masked, dx, params, grads []float32) {
	n.g1, n.g2, n.x, n.y, n.masked, n.dx = g1, g2, x, y, masked, dx
	if n.activation == Identity && g2 == nil {
		n.masked = g1
	}
	for v := range n.views {
		center := n.center[v*n.tile:][:n.tile]
		for c := range n.c {
			center[c] = float32(n.mean[v*n.c+c])
		}
		retile(center, n.c)
	}
	n.pool.For(n.views*n.chunks, n.gradTask)
	n.reduceGrad(params, grads)
	n.pool.For(n.views*n.chunks, n.combineTask)
}

// grad applies the activation's mask to a chunk of the gradient and computes its sums.
func (n *norm) grad(worker, i int) {
	view, from, to, sum, dot := n.chunk(i)
	var g2, y []float32
	if n.g2 != nil {
		g2 = n.g2[from:to]
	}
	if n.activation != Identity {
		y = n.y[from:to]
	}
	scratch := n.scratch[worker]
	s, q := scratch[:n.tile], scratch[n.tile:2*n.tile]
	clear(scratch[:2*n.tile])
	vecs.GradMoments(s, q, n.masked[from:to], n.g1[from:to], g2, y, n.x[from:to], n.center[view*n.tile:][:n.tile], n.activation.Top())
	fold(s, n.c)
	fold(q, n.c)
	for c := range n.c {
		sum[c], dot[c] = float64(s[c]), float64(q[c])
	}
}

// reduceGrad adds up the chunks. With g the masked gradient, m the number of rows, f the factor and v the variance,
//
//	dshift = Σg, dscale = Σg·(x-mean)/√(v+ε)
//	dx = f·(g - Σg/m - (x-mean)·Σg·(x-mean)/(m·(v+ε)))
//
// or dx = f·g if mean and variance are not those of the batch.
func (n *norm) reduceGrad(params, grads []float32) {
	scale, dscale, dshift := n.Scale.Of(params), n.Scale.Of(grads), n.Shift.Of(grads)
	clear(dscale)
	clear(dshift)
	for v := range n.views {
		a, b, c0 := n.k1[v*n.tile:][:n.tile], n.k2[v*n.tile:][:n.tile], n.k3[v*n.tile:][:n.tile]
		for c := range n.c {
			var sum, dot float64
			for i := v * n.chunks; i < (v+1)*n.chunks; i++ {
				sum += n.parts[2*i*n.c+c]
				dot += n.parts[(2*i+1)*n.c+c]
			}
			at := v*n.c + c
			off := float64(n.center[v*n.tile+c]) - n.mean[at]
			dot += sum * off // the sums used the rounded mean
			precision := 1 / (n.vari[at] + bnEpsilon)
			if len(dscale) > 0 {
				dscale[c] += float32(dot * math.Sqrt(precision))
			}
			if len(dshift) > 0 {
				dshift[c] += float32(sum)
			}
			f := n.factor(scale, v, c)
			a[c], b[c], c0[c] = float32(f), 0, 0
			if !n.frozen {
				slope := -f * precision * dot / float64(n.rows)
				b[c] = float32(slope)
				c0[c] = float32(slope*off - f*sum/float64(n.rows))
			}
		}
		retile(a, n.c)
		retile(b, n.c)
		retile(c0, n.c)
	}
}

func (n *norm) combine(_, i int) {
	view, from, to, _, _ := n.chunk(i)
	at := view * n.tile
	vecs.Combine(n.dx[from:to], n.masked[from:to], n.x[from:to], n.k1[at:][:n.tile], n.k2[at:][:n.tile], n.k3[at:][:n.tile], n.center[at:][:n.tile])
}
