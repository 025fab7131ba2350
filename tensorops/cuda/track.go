package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// track is where a learner's steps run one after the other: a device, networks with their activations, and what the losses
// need. A step is one CUDA graph, captured in the second one, because algorithms are chosen in the first, or two where it has to
// wait for other tracks in between. Which sub-net is trained, and how, is in a struct step that the kernels read.
type track struct {
	l   *learner
	d   *device
	cfg ssl.Config

	views    *viewMaker // nil unless the GPU makes the views
	input    Buffer     // bytes
	images   Buffer     // the views as activations
	nets     [2]Buffer  // structs step of the student and the teacher
	measures Buffer     // float32, indexed by the constants below

	student         *nn.Graph[Buffer]
	net             *network
	target, teacher *encoder // nil until used
	dz, dp          Buffer   // gradients of z and p; zero if unused
	usesZ, usesP    bool     // which of them the loss terms write
	terms           []func() // each queues one loss term
	distill         func()   // the same for SiamKD
	collapse        *collapse
	optimizer       *optimizer

	warm  bool         // whether it has taken a step
	execs [2]graphExec // of the two halves of a step, or the first of both
}

// encoder is a forward-only network with weights of its own.
type encoder struct {
	*nn.Graph[Buffer]
	net *network
}

// Indices of the figures in track.measures; those of the loss terms come last.
const (
	distillMeasure = iota
	stdMeasure
	termMeasures
)

// newTrack returns a track of a learner on a device.
func newTrack(l *learner, d *device, f *flat) (*track, error) {
	c := l.cfg
	t := &track{l: l, d: d, cfg: c}
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	pixels, measures := rows*c.Size*c.Size*3, termMeasures+len(c.Loss.Terms)
	t.net = newNetwork(d, f, true)
	t.student = nn.NewGraph(c.Backbone, c.Heads, c.Size, rows, 2, true, t.net)
	t.images = d.acts(pixels, "views")
	if c.Views != nil {
		t.views = newViewMaker(d, d, *c.Views, c.Batch, c.Size)
		t.input = t.views.sources
	} else {
		t.input = d.bytes(4 * pixels)
	}
	t.measures = d.floats(measures)
	for i := range t.nets {
		t.nets[i] = d.bytes(int(unsafe.Sizeof(step{})))
	}
	if c.Heads.PredictorHidden > 0 {
		t.dp = d.acts(rows*dim, "gradients")
	}
	if err := t.newLoss(rows, dim); err != nil {
		return nil, err
	}
	t.collapse = newCollapse(d, d, rows, dim)
	if l.part != nil {
		t.load()
	}
	if d.err != nil {
		return nil, t.outOfMemory(d.err)
	}
	return t, nil
}

// newLoss creates the loss terms.
func (t *track) newLoss(rows, dim int) error {
	c := t.cfg
	if c.Loss.Target != nil {
		t.target = t.newEncoder()
	}
	for i, term := range c.Loss.Terms {
		out := t.out(termMeasures + i)
		switch term := term.(type) {
		case ssl.NegativeCosine:
			t.terms = append(t.terms, t.newCosine(term.Target, 1, out))
			t.usesP = true
		case ssl.NTXent:
			ntxent, accumulate := newNTXent(t.d, t.d, t.d, rows, dim, term.Temperature), t.usesZ
			t.terms = append(t.terms, func() { ntxent.Loss(t.student.Z, t.dz, 1, accumulate, out) })
			t.usesZ = true
		case ssl.InfoNCE:
			infonce, accumulate := newInfoNCE(t.d, t.d, t.d, rows, dim, term.Queue, term.Temperature), t.usesZ
			t.terms = append(t.terms, func() {
				infonce.Loss(t.student.Z, t.target.Z, t.nets[0], t.dz, 1, accumulate, out)
			})
			t.usesZ = true
		case ssl.SwappedPrediction:
			t.terms = append(t.terms, t.newSwapped(term, out))
			t.usesZ = true
		default:
			return ssl.Unsupported(ssl.CUDA, term)
		}
	}
	if t.usesZ {
		t.dz = t.d.acts(rows*dim, "gradients")
	}
	t.distill = t.newCosine(ssl.Teacher, float32(c.Distill), t.out(distillMeasure))
	return nil
}

// newSwapped returns a function that queues the swapped prediction of assignments to prototypes. It normalizes them in
// the weights that were gathered for the step.
func (t *track) newSwapped(of ssl.SwappedPrediction, out Buffer) func() {
	swapped, accumulate := newSwapped(t.d, t.d, t.d, 2*t.cfg.Batch, t.cfg.Heads.ProjectorDim, t.cfg.Heads.Prototypes,
		of.Temperature, of.Epsilon, of.Iterations), t.usesZ
	n, at, size := t.net, t.student.Layout.Prototypes, t.d.actSize()
	params, weights := n.flat.span(n.params, at, 4), n.flat.span(n.weights, at, size)
	dweights := n.flat.span(n.dweights, at, size)
	return func() { swapped.Loss(t.student.Z, params, weights, t.dz, dweights, 1, accumulate, out) }
}

// newCosine returns a function that queues the negative cosine similarity to an encoder. It adds to the gradients of
// preceding terms.
func (t *track) newCosine(to ssl.Encoder, weight float32, out Buffer) func() {
	cosine, accumulate := newNegCosine(t.d, t.d, 2*t.cfg.Batch, t.cfg.Heads.ProjectorDim), t.usesP
	return func() { cosine.Loss(t.student.P, t.projections(to), t.dp, weight, accumulate, out) }
}

// newEncoder creates the network of a target or teacher.
func (t *track) newEncoder() *encoder {
	c, net := t.cfg, newNetwork(t.d, t.net.flat, false)
	return &encoder{nn.NewGraph(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, false, net), net}
}

// projections returns an encoder's projections of the views.
func (t *track) projections(e ssl.Encoder) Buffer {
	switch e {
	case ssl.Target:
		return t.target.Z
	case ssl.Teacher:
		return t.teacher.Z
	}
	return t.student.Z
}

// outOfMemory adds to an out-of-memory error the largest batch that would fit; activations dominate.
func (t *track) outOfMemory(err error) error {
	if !errors.Is(err, ssl.ErrOutOfMemory) || t.net.values == 0 {
		return err
	}
	each := uint64(t.net.values / t.cfg.Batch)
	fits := t.d.memory.available() / (each + each/8)
	return fmt.Errorf("%w; activations take %s per image: a batch of about %d would fit instead of %d",
		err, size(each), min(fits, uint64(t.cfg.Batch-1)), t.cfg.Batch)
}

// load makes what depends on the nets that the learner has loaded.
func (t *track) load() {
	if t.optimizer == nil {
		t.optimizer = newOptimizer(t.d, t.d, t.cfg.Optimizer, t.l.chunks, t.l.part.chunks, t.l.part.tensors)
	}
	if t.l.teachers != nil && t.teacher == nil {
		t.teacher = t.newEncoder()
	}
}

// await has what is queued from now on wait for an event, unless it is zero.
func (t *track) await(e event) {
	if t.d.err == nil && e != 0 {
		t.d.try(t.d.cuStreamWaitEvent(t.d.stream, e, 0), "cuStreamWaitEvent")
	}
}

// run queues a step that was prepared. The track's first step runs operation by operation, the learner's with a large
// workspace, so that algorithms are chosen; then the workspace shrinks to what they use. The update comes after an event, unless
// it is zero.
func (t *track) run(e *entry, after event) {
	d := t.d
	d.upload(t.input, unsafe.Pointer(&e.input[0]), t.input.Len)
	d.upload(t.nets[0], unsafe.Pointer(&e.nets[0]), t.nets[0].Len)
	if t.l.teachers != nil {
		d.upload(t.nets[1], unsafe.Pointer(&e.nets[1]), t.nets[1].Len)
	}
	switch {
	case !t.warm:
		first := t == t.l.tracks[0]
		if first {
			d.growWorkspace()
		}
		t.compute()
		t.await(after)
		t.update()
		if first && d.wait() == nil {
			d.fitWorkspace()
		}
		t.warm = true
	case t.l.serial():
		t.launch(&t.execs[0], func() {
			t.compute()
			t.update()
		})
	default:
		t.launch(&t.execs[0], t.compute)
		t.await(after)
		t.launch(&t.execs[1], t.update)
	}
	d.download(unsafe.Pointer(&e.measures[0]), t.measures, 4*t.measures.Len)
}

// launch runs a part of the step as a graph.
func (t *track) launch(exec *graphExec, queue func()) {
	if *exec == 0 {
		*exec = t.d.capture("a step", queue)
	}
	t.d.replay(*exec, "a step")
}

// dropGraphs destroys the graphs of the step.
func (t *track) dropGraphs() {
	for i, exec := range t.execs {
		t.d.drop(exec)
		t.execs[i] = 0
	}
	t.warm = false
}

// compute queues the operations that change nothing but the track, from the input in device memory to the gradients, except
// that a sub-net remembers keys if there is a target network, and thus only one track.
func (t *track) compute() {
	d, l := t.d, t.l
	if t.views != nil {
		t.views.run(t.images)
	} else {
		convert(d, Buffer{t.input.Addr, t.images.Len}, t.images)
	}
	t.gather(0, weightVector, t.net)
	t.student.Forward(t.images)
	if t.target != nil {
		t.gather(0, t.cfg.Optimizer.Vectors(), t.target.net)
		t.target.Forward(t.images)
	}
	for _, term := range t.terms {
		term()
	}
	if l.teachers != nil {
		t.gather(1, weightVector, t.teacher.net)
		t.teacher.Forward(t.images)
		t.distill()
	}
	t.collapse.Std(t.student.Z, t.out(stdMeasure))
	given := func(b *Buffer, used bool) *Buffer {
		if !used {
			return nil
		}
		return b
	}
	t.student.Backward(given(&t.dz, t.usesZ), given(&t.dp, t.usesP || l.teachers != nil))
}

// update queues the operations that change weights and state.
func (t *track) update() {
	d, l := t.d, t.l
	if t.cfg.Defers {
		average(d, l.chunks, len(l.part.chunks), t.nets[0], t.net.grads, t.net.dweights, l.sums)
	}
	t.optimizer.update(t.net.params, t.net.grads, t.net.dweights, t.nets[0])
	if t.target != nil {
		follow(d, l.chunks, len(l.part.chunks), t.nets[0], t.cfg.Optimizer.Vectors(), t.nets[0])
	}
	if l.teachers != nil && t.cfg.Teacher != nil {
		follow(d, l.chunks, len(l.part.chunks), t.nets[1], weightVector, t.nets[0])
	}
}

// gather copies to a network the weights that a step names, or a state vector.
func (t *track) gather(which, vector int, n *network) {
	gather(t.d, t.l.chunks, len(t.l.part.chunks), t.nets[which], vector, n.params, n.weights)
}

// out returns the place of a figure in measures.
func (t *track) out(figure int) Buffer { return t.measures.slice(figure, figure+1, 4) }

// close waits for what is queued, and frees what is not the device's.
func (t *track) close() {
	_ = t.d.cuStreamSynchronize(t.d.stream) // an error is known
	t.dropGraphs()
}
