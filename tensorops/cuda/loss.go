package cuda

// negCosine is nn.NegCosine on the GPU: the symmetrized negative cosine similarity of predictions and constant targets.
type negCosine struct {
	q          queue
	batch, dim int
	values     Buffer // float32 [batch], per row
}

// newNegCosine returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// prediction.
func newNegCosine(q queue, m memory, batch, dim int) *negCosine {
	return &negCosine{q, batch, dim, m.floats(batch)}
}

// Loss writes to out [1], a float32, the loss of predictions p [batch, dim] and targets t [batch, dim], and to dp
// [batch, dim] weight times its gradient with respect to p, which it adds if accumulate is set. p, t and dp are
// activations.
func (l *negCosine) Loss(p, t, dp Buffer, weight float32, accumulate bool, out Buffer) {
	l.q.launch("cosine_row", dim1(l.batch), dim1(threads), p, t, dp, l.values, l.batch, l.dim, weight, accumulate)
	mean(l.q, l.values, l.batch, out)
}

// multiplier multiplies matrices, in stream order.
type multiplier interface {
	// multiply computes the row-major C [m, n] = op(A)·op(B). A is [m, k] or, if transposed, [k, m]; B is [k, n] or [n,
	// k]. A and B are activations; C is float32 if floatOut, else activations.
	multiply(transA, transB bool, m, n, k int, a, b, c Buffer, floatOut bool)
}

// directions holds the l2-normalized rows of a batch, and takes gradients back through the normalization.
type directions struct {
	q          queue
	products   multiplier
	batch, dim int
	values     Buffer // float32 [batch]: the loss per row
	norms      Buffer // float32 [batch]
	unit       Buffer // activations [batch, dim]: normalized rows
	dunit      Buffer // float32 [batch, dim]: gradient of the normalized rows
}

func newDirections(q queue, m memory, products multiplier, batch, dim int) directions {
	return directions{
		q: q, products: products, batch: batch, dim: dim, values: m.floats(batch), norms: m.floats(batch),
		unit: m.floats(batch * dim), dunit: m.floats(batch * dim), // large enough in either precision
	}
}

// normalize sets unit and norms from z [batch, dim].
func (d *directions) normalize(z Buffer) {
	d.q.launch("direction_normalize", dim1(d.batch), dim1(threads), z, d.unit, d.norms, d.dim)
}

// project sets dz [batch, dim] to scale times the gradient of z, computed from dunit; it adds it if accumulate is set.
func (d *directions) project(z, dz Buffer, scale float32, accumulate bool) {
	d.q.launch("direction_project", dim1(d.batch), dim1(threads), z, d.norms, d.dunit, dz, d.dim, scale, accumulate)
}

// ntxent is nn.NTXent on the GPU: SimCLR's contrastive loss.
type ntxent struct {
	directions
	temperature float64
	sims        Buffer // float32 [batch, batch]: similarities, then gradients of the logits
	grads       Buffer // activations [batch, batch]: gradients plus their transpose
}

// newNTXent returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection.
func newNTXent(q queue, m memory, products multiplier, batch, dim int, temperature float64) *ntxent {
	return &ntxent{
		newDirections(q, m, products, batch, dim), temperature,
		m.floats(batch * batch), m.floats(batch * batch), // large enough in either precision
	}
}

// Loss writes to out [1], a float32, the loss of projections z [batch, dim], and to dz [batch, dim] weight times its
// gradient, which it adds if accumulate is set. z and dz are activations.
func (l *ntxent) Loss(z, dz Buffer, weight float32, accumulate bool, out Buffer) {
	b, d := l.batch, l.dim
	l.normalize(z)
	l.products.multiply(false, true, b, b, d, l.unit, l.unit, l.sims, true)
	l.q.launch("contrast_row", dim1(b), dim1(threads), l.sims, l.values, b, 0, float32(1/l.temperature))
	tiles := uint32(ceil(b, tile))
	l.q.launch("ntxent_symmetrize", dim3{tiles, tiles, 1}, dim3{tile, threads / tile, 1}, l.sims, l.grads, b)
	l.products.multiply(false, false, b, d, b, l.grads, l.unit, l.dunit, true)
	l.project(z, dz, weight/float32(b), accumulate)
	mean(l.q, l.values, b, out)
}

// infoNCE is nn.InfoNCE on the GPU: MoCo's contrastive loss. The queue is the memory of the sub-net that a step names.
type infoNCE struct {
	directions
	queue       int
	temperature float64
	bank        Buffer // activations [batch+queue, dim]: the normalized keys, then the queue
	sims        Buffer // float32 [batch, batch+queue]: similarities to the bank, then gradients of the logits
	grads       Buffer // activations [batch, batch+queue]: gradients
}

// newInfoNCE returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection, and queue the number of keys in the queue.
func newInfoNCE(q queue, m memory, products multiplier, batch, dim, queue int, temperature float64) *infoNCE {
	n := batch + queue
	return &infoNCE{
		newDirections(q, m, products, batch, dim), queue, temperature,
		m.floats(n * dim), m.floats(batch * n), m.floats(batch * n),
	}
}

// Loss writes to out [1], a float32, the loss of projections z [batch, dim], and to dz [batch, dim] weight times its
// gradient, which it adds if accumulate is set. keys [batch, dim] are the target network's projections; it inserts them
// at the front of the queue. z, keys and dz are activations; step is a struct step in device memory.
func (l *infoNCE) Loss(z, keys, step, dz Buffer, weight float32, accumulate bool, out Buffer) {
	b, d, n := l.batch, l.dim, l.batch+l.queue
	l.q.launch("direction_normalize", dim1(b), dim1(threads), keys, l.bank, Buffer{}, d)
	recall(l.q, step, l.bank, b*d, l.queue*d)
	l.normalize(z)
	l.products.multiply(false, true, b, n, d, l.unit, l.bank, l.sims, true)
	l.q.launch("contrast_row", dim1(b), dim1(threads), l.sims, l.values, b, l.queue, float32(1/l.temperature))
	convert(l.q, l.sims, l.grads)
	l.products.multiply(false, false, b, d, n, l.grads, l.bank, l.dunit, true)
	l.project(z, dz, weight/float32(b), accumulate)
	remember(l.q, step, l.bank, l.queue*d)
	mean(l.q, l.values, b, out)
}

// swapped is nn.Swapped on the GPU: SwAV's swapped prediction of assignments to prototypes.
type swapped struct {
	directions
	prototypes, iterations int
	temperature, epsilon   float64
	scores                 Buffer // float32 [batch, prototypes]: cosine similarities
	grads                  Buffer // activations [batch, prototypes]: their gradients
	u                      Buffer // float32 [2, prototypes]: factors of the assignments to each prototype, per view
	v                      Buffer // float32 [batch]: factors of the assignments of each row
}

// newSwapped returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection.
func newSwapped(q queue, m memory, products multiplier, batch, dim, prototypes int,
	temperature, epsilon float64, iterations int) *swapped {
	return &swapped{
		newDirections(q, m, products, batch, dim), prototypes, iterations, temperature, epsilon,
		m.floats(batch * prototypes), m.floats(batch * prototypes), m.floats(2 * prototypes), m.floats(batch),
	}
}

// Loss writes to out [1], a float32, the loss of projections z [batch, dim] and prototypes [dim, prototypes], whose
// columns it normalizes: in params, float32, and in weights. It writes to dz [batch, dim] weight times its gradient,
// which it adds if accumulate is set, and to dweights [dim, prototypes] that of the normalized prototypes. Arrays other
// than params and out are activations.
func (l *swapped) Loss(z, params, weights, dz, dweights Buffer, weight float32, accumulate bool, out Buffer) {
	b, d, n := l.batch, l.dim, l.prototypes
	inv, grid, block := float32(1/l.epsilon), dim1(ceil(n, side)), dim3{side, side, 1}
	l.q.launch("prototype_normalize", grid, block, params, weights, d, n)
	l.normalize(z)
	l.products.multiply(false, false, b, n, d, l.unit, weights, l.scores, true)
	for i := range l.iterations {
		l.q.launch("swapped_prototypes", dim3{grid[0], 1, 2}, block, l.scores, l.v, l.u, b, n, inv, i == 0)
		l.q.launch("swapped_rows", dim1(b), dim1(threads), l.scores, l.u, l.v, b, n, inv)
	}
	l.q.launch("swapped_loss", dim1(b), dim1(threads), l.scores, l.u, l.v, l.grads, l.values, b, n,
		float32(1/l.temperature), inv, weight/float32(b))
	l.products.multiply(true, false, d, n, b, l.unit, l.grads, dweights, false)
	l.products.multiply(false, true, b, d, n, l.grads, weights, l.dunit, true)
	l.project(z, dz, 1, accumulate)
	mean(l.q, l.values, b, out)
}

// collapse is nn.Collapse on the GPU: it detects embeddings that have become all alike.
type collapse struct {
	q      queue
	n, dim int
	norms  Buffer // float32 [n], per row
	stds   Buffer // float32 [dim]
}

// newCollapse returns a detector for n embeddings of length dim.
func newCollapse(q queue, m memory, n, dim int) *collapse {
	return &collapse{q, n, dim, m.floats(n), m.floats(dim)}
}

// Std writes to out [1], a float32, the standard deviation of each dimension of the normalized rows of z [n, dim],
// activations, averaged over the dimensions.
func (c *collapse) Std(z, out Buffer) {
	c.q.launch("collapse_norms", dim1(c.n), dim1(threads), z, c.norms, c.dim)
	c.q.launch("collapse_std", dim1(ceil(c.dim, side)), dim3{side, side, 1}, z, c.norms, c.stds, c.n, c.dim)
	mean(c.q, c.stds, c.dim, out)
}

// mean writes the mean of n float32 to out [1].
func mean(q queue, values Buffer, n int, out Buffer) {
	q.launch("loss_mean", dim1(1), dim1(threads), values, out, n)
}
