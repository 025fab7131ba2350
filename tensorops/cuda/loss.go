package cuda

// negCosine is nn.NegCosine on the GPU: the symmetrised negative cosine similarity of predictions and constant targets.
type negCosine struct {
	q          queue
	batch, dim int
	values     Buffer // float32 [batch], of every row
}

// newNegCosine prepares the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// prediction.
func newNegCosine(q queue, m memory, batch, dim int) *negCosine {
	return &negCosine{q, batch, dim, m.floats(batch)}
}

// Loss sets out [1], a float32, to the loss of predictions p [batch, dim] and targets t [batch, dim], and dp
// [batch, dim] to weight times its gradient with respect to p, or adds that if accumulate. p, t and dp are activations.
func (l *negCosine) Loss(p, t, dp Buffer, weight float32, accumulate bool, out Buffer) {
	l.q.launch("cosine_row", line(l.batch), line(threads), p, t, dp, l.values, l.batch, l.dim, weight, accumulate)
	mean(l.q, l.values, l.batch, out)
}

// multiplier multiplies matrices, in the queue's order.
type multiplier interface {
	// multiply sets the row-major C [m, n] to op(A)·op(B): A is [m, k], or [k, m] if transposed, B is [k, n], or
	// [n, k]. A and B are activations, C is float32 if floatOut, else activations.
	multiply(transA, transB bool, m, n, k int, a, b, c Buffer, floatOut bool)
}

// ntxent is nn.NTXent on the GPU: SimCLR's contrastive loss.
type ntxent struct {
	q           queue
	products    multiplier
	batch, dim  int
	temperature float64
	values      Buffer // float32 [batch], of every row
	norms       Buffer // float32 [batch]
	unit        Buffer // activations [batch, dim]: normalised rows
	sims        Buffer // float32 [batch, batch]: similarities, then gradients of the logits
	grads       Buffer // activations [batch, batch]: the gradients and their transpose added
	dunit       Buffer // float32 [batch, dim]: gradient of the normalised rows
}

// newNTXent prepares the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection.
func newNTXent(q queue, m memory, products multiplier, batch, dim int, temperature float64) *ntxent {
	return &ntxent{
		q: q, products: products, batch: batch, dim: dim, temperature: temperature,
		values: m.floats(batch), norms: m.floats(batch), sims: m.floats(batch * batch), dunit: m.floats(batch * dim),
		unit: m.floats(batch * dim), grads: m.floats(batch * batch), // large enough in either precision
	}
}

// Loss sets out [1], a float32, to the loss of projections z [batch, dim], and dz [batch, dim] to weight times its
// gradient. z and dz are activations.
func (l *ntxent) Loss(z, dz Buffer, weight float32, out Buffer) {
	b, d, block := l.batch, l.dim, line(threads)
	l.q.launch("ntxent_normalize", line(b), block, z, l.unit, l.norms, d)
	l.products.multiply(false, true, b, b, d, l.unit, l.unit, l.sims, true)
	l.q.launch("ntxent_row", line(b), block, l.sims, l.values, b, float32(1/l.temperature))
	tiles := uint32(ceil(b, tile))
	l.q.launch("ntxent_symmetrize", dim3{tiles, tiles, 1}, dim3{tile, threads / tile, 1}, l.sims, l.grads, b)
	l.products.multiply(false, false, b, d, b, l.grads, l.unit, l.dunit, true)
	l.q.launch("ntxent_project", line(b), block, z, l.norms, l.dunit, dz, d, weight/float32(b))
	mean(l.q, l.values, b, out)
}

// collapse is nn.Collapse on the GPU: it watches for embeddings that have become all alike.
type collapse struct {
	q      queue
	n, dim int
	norms  Buffer // float32 [n], of the rows
	stds   Buffer // float32 [dim]
}

// newCollapse prepares the watch of n embeddings of length dim.
func newCollapse(q queue, m memory, n, dim int) *collapse {
	return &collapse{q, n, dim, m.floats(n), m.floats(dim)}
}

// Std sets out [1], a float32, to the standard deviation of every dimension of the normalised rows of z [n, dim],
// activations, averaged over the dimensions.
func (c *collapse) Std(z, out Buffer) {
	c.q.launch("collapse_norms", line(c.n), line(threads), z, c.norms, c.dim)
	c.q.launch("collapse_std", line(ceil(c.dim, side)), dim3{side, side, 1}, z, c.norms, c.stds, c.n, c.dim)
	mean(c.q, c.stds, c.dim, out)
}

// mean sets out [1] to the mean of n float32.
func mean(q queue, values Buffer, n int, out Buffer) {
	q.launch("loss_mean", line(1), line(threads), values, out, n)
}
