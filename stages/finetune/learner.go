package finetune

import (
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
)

// learner takes training steps on a net with a classifier. A step allocates nothing.
type learner struct {
	net      *nn.Net
	batch    int
	loss     *nn.CrossEntropy
	groups   []group
	momentum float32
	decay    float32
	velocity []float32 // of SGD, per parameter

	images   []float32 // [batch, size, size, 3], to be filled before a step
	labels   []int64   // [batch] likewise
	reversed []int64   // labels of the images that are mixed in
	dlogits  []float32
	weight   float32 // of an image, when mixed
	pool     *kernels.Pool
	mixTask  func(worker, i int)
}

// newLearner returns a learner for batches of images of size x size pixels.
func newLearner(b nn.Backbone, classes, size, batch int, cfg Config, pool *kernels.Pool) *learner {
	net := nn.New(b, nn.Heads{Classes: classes}, size, batch, 1, pool, nn.Train)
	l := &learner{
		net: net, batch: batch, pool: pool, loss: nn.NewCrossEntropy(batch, classes, cfg.Smoothing, pool),
		groups: groups(net.Layout, cfg.LayerDecay), momentum: float32(cfg.Momentum), decay: float32(cfg.WeightDecay),
		velocity: make([]float32, net.Layout.NumParams),
		images:   make([]float32, batch*size*size*3), labels: make([]int64, batch), reversed: make([]int64, batch),
		dlogits: make([]float32, batch*classes),
	}
	l.mixTask = l.mix
	return l
}

// step trains on the images and labels at a learning rate and returns the loss. With a weight below 1, each image is mixed
// with the one as far from the other end of the batch, and so are their labels (mixup).
func (l *learner) step(lr float64, weight float64) float64 {
	l.weight = float32(weight)
	if weight < 1 {
		copy(l.reversed, l.labels)
		slices.Reverse(l.reversed)
		l.pool.For(l.batch/2, l.mixTask)
	}
	l.net.Forward(l.images, nn.UpdateStats)
	clear(l.dlogits)
	loss := weight * l.loss.Loss(l.net.Z, l.labels, l.dlogits, l.weight)
	if weight < 1 {
		loss += (1 - weight) * l.loss.Loss(l.net.Z, l.reversed, l.dlogits, 1-l.weight)
	}
	l.net.Backward(l.dlogits, nil)
	for _, g := range l.groups {
		sgd := optim.SGD{Momentum: l.momentum}
		if g.decay {
			sgd.WeightDecay = l.decay
		}
		sgd.Step(g.Of(l.net.Params), g.Of(l.net.Grads), g.Of(l.velocity), float32(lr)*g.rate)
	}
	return loss
}

// mix mixes image i and the one as far from the other end.
func (l *learner) mix(_, i int) {
	n := len(l.images) / l.batch
	a, b := l.images[i*n:][:n], l.images[(l.batch-1-i)*n:][:n]
	for k, v := range a {
		a[k] = l.weight*v + (1-l.weight)*b[k]
		b[k] = l.weight*b[k] + (1-l.weight)*v
	}
}

// predict returns the logits, [batch, classes], of the images, with running BatchNorm statistics. They are valid until the
// next step.
func (l *learner) predict() []float32 {
	l.net.Forward(l.images, nn.RunningStats)
	return l.net.Z
}
