package nn

import (
	"math"
	"math/rand/v2"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// InfoNCE is MoCo's contrastive loss (arXiv 1911.05722, eq. 1): each row of the batch must identify its key, which
// another encoder computed from the other view of its image, among the keys of earlier batches, which are in a queue.
// With the cosine similarity s divided by a temperature T,
//
//	loss = -mean over i of log( exp(s(i, key i)/T) / (exp(s(i, key i)/T) + Σ over k in the queue of exp(s(i, k)/T)) )
//
// Both views are rows and both have keys, as with the symmetric loss of MoCo's demonstration on CIFAR-10
// (facebookresearch/moco, moco_cifar10_demo.ipynb) or with lightly's NTXentLoss on both views stacked: all rows see the
// same queue, which gets all keys of the batch afterwards. If one view's keys were in it earlier, the other view's rows
// would have their own keys among their negatives.
type InfoNCE struct {
	*directions
	queue       int
	temperature float64
	values      []float64 // per row
	bank        []float32 // [batch+queue, dim]: the normalized keys, then the queue
	sims        []float32 // [batch, batch+queue]: similarities to the bank, then gradients of the logits
	keys        []float32

	keyTask, rowTask func(worker, i int)
}

// NewInfoNCE returns the loss for batches of two equal consecutive parts, the two views; dim is the length of a
// projection, and queue the number of keys in the queue.
func NewInfoNCE(batch, dim, queue int, temperature float64, p *kernels.Pool) *InfoNCE {
	l := &InfoNCE{
		directions: newDirections(batch, dim, p), queue: queue, temperature: temperature,
		values: make([]float64, batch),
		bank:   make([]float32, (batch+queue)*dim), sims: make([]float32, batch*(batch+queue)),
	}
	l.keyTask, l.rowTask = l.key, l.row
	return l
}

// NewQueue returns the first queue of a training, [queue, dim]: random unit vectors.
func NewQueue(queue, dim int, r *rand.Rand) []float32 {
	keys := make([]float32, queue*dim)
	for i := range keys {
		keys[i] = float32(r.NormFloat64())
	}
	for i := range queue {
		key := keys[i*dim:][:dim]
		normalize(key, key)
	}
	return keys
}

// Loss returns the loss of projections z [batch, dim] and adds weight times its gradient to dz [batch, dim]. keys
// [batch, dim] are the other encoder's projections of the same rows. queue [queue, dim] holds unit vectors, the newest
// first; Loss then inserts the normalized keys at its front, and as many at its end drop out.
func (l *InfoNCE) Loss(z, keys, queue, dz []float32, weight float32) float64 {
	b, d, n := l.batch, l.dim, l.batch+l.queue
	mustLen("InfoNCE.Loss: z", len(z), b*d)
	mustLen("InfoNCE.Loss: keys", len(keys), b*d)
	mustLen("InfoNCE.Loss: queue", len(queue), l.queue*d)
	mustLen("InfoNCE.Loss: dz", len(dz), b*d)
	l.keys = keys
	l.pool.For(b, l.keyTask)
	copy(l.bank[b*d:], queue)
	l.normalize(z)
	l.pool.Gemm(false, true, b, n, d, l.unit, d, l.bank, d, l.sims, n, false)
	l.pool.For(b, l.rowTask)
	l.pool.Gemm(false, false, b, d, n, l.sims, n, l.bank, d, l.dunit, d, false)
	l.project(dz, float64(weight)/float64(b))
	copy(queue, l.bank)
	return mean(l.values)
}

func (l *InfoNCE) key(_, i int) { normalize(l.bank[i*l.dim:][:l.dim], l.keys[i*l.dim:][:l.dim]) }

// row replaces the similarities of row i by the gradient of its term, (softmax - one-hot)/T.
func (l *InfoNCE) row(_, i int) {
	n := l.batch + l.queue
	s := l.sims[i*n:][:n]
	target, inv := (i+l.batch/2)%l.batch, 1/l.temperature
	logit := s[target]
	fill(s[:l.batch], float32(math.Inf(-1))) // the batch's other keys are no negatives
	s[target] = logit
	l.values[i] = softmax(s, s, inv, inv) - float64(logit)*inv
	s[target] -= float32(inv)
}
