package cuda

import (
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// learner is ssl.Learner on a GPU. The weights of all sub-nets stay there; a step is one CUDA graph, which is captured
// from the operations of the second step, since in the first one cuDNN chooses its algorithms. Which sub-net a step
// trains and how fast is read by the kernels from a struct step. While a step runs, the views of the next one go to
// other memory.
type learner struct {
	d   *device
	cfg ssl.Config

	pinned  unsafe.Pointer // host memory that the device copies from and to: views, steps, measures
	views   [2][]float32
	next    int      // of views
	steps   *[2]step // the student's and the teacher's
	measure []float32

	deviceViews Buffer // float32
	images      Buffer // the same as activations
	deviceSteps [2]Buffer
	found       Buffer // of measures

	student         *nn.Graph[Buffer]
	own             *network
	target, teacher *encoder // nil until there are any
	dz, dp          Buffer   // gradients of the projection and the prediction; none where not needed
	givesZ, givesP  bool     // which of them the terms of the loss set
	terms           []func() // queue a term
	distill         func()   // likewise, SiamKD
	watch           *collapse
	optimizer       *optimizer
	begun, done     event // of the step that runs

	part           *partition
	chunks         Buffer
	nets, teachers *store
	warm           bool // algorithms are chosen
	exec           graphExec
}

// encoder is a network for forward passes only, with weights of its own.
type encoder struct {
	*nn.Graph[Buffer]
	net *network
}

// The figures that a step leaves in found; those of the loss's terms follow.
const (
	foundDistill = iota
	foundStd
	foundTerms
)

func newLearner(d *device, c ssl.Config) (*learner, error) {
	l := &learner{d: d, cfg: c}
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	pixels, measures := rows*c.Size*c.Size*3, foundTerms+len(c.Loss.Terms)
	l.own = newNetwork(d, newFlat(nn.NewLayout(c.Backbone, c.Heads)), true)
	l.student = nn.NewGraph(c.Backbone, c.Heads, c.Size, rows, 2, true, l.own)
	l.deviceViews, l.images = d.floats(pixels), d.acts(pixels, "views")
	l.found = d.floats(measures)
	for i := range l.deviceSteps {
		l.deviceSteps[i] = d.bytes(int(unsafe.Sizeof(step{})))
	}
	if c.Heads.PredictorHidden > 0 {
		l.dp = d.acts(rows*dim, "gradients")
	}
	if err := l.newLoss(rows, dim); err != nil {
		return nil, err
	}
	l.watch = newCollapse(d, d, rows, dim)
	for _, e := range []*event{&l.begun, &l.done} {
		d.try(d.cuEventCreate(e, 0), "cuEventCreate")
	}
	if d.err != nil {
		return nil, l.outOfMemory(d.err)
	}
	return l, l.pin(pixels, measures)
}

// pin allocates the host memory.
func (l *learner) pin(pixels, measures int) (err error) {
	steps := 2 * int(unsafe.Sizeof(step{}))
	if l.pinned, err = l.d.pin(steps + 4*(2*pixels+measures)); err != nil {
		return err
	}
	l.steps = (*[2]step)(l.pinned)
	*l.steps = [2]step{}
	floats := unsafe.Slice((*float32)(unsafe.Add(l.pinned, steps)), 2*pixels+measures)
	l.views = [2][]float32{floats[:pixels:pixels], floats[pixels : 2*pixels : 2*pixels]}
	l.measure = floats[2*pixels:]
	return nil
}

// newLoss makes what queues the terms of the loss.
func (l *learner) newLoss(rows, dim int) error {
	c := l.cfg
	if c.Loss.Target != nil {
		l.target = l.newEncoder()
	}
	for i, t := range c.Loss.Terms {
		out := l.out(foundTerms + i)
		switch t := t.(type) {
		case ssl.NegativeCosine:
			l.terms = append(l.terms, l.newCosine(t.Target, 1, out))
			l.givesP = true
		case ssl.NTXent:
			l.dz = l.d.acts(rows*dim, "gradients")
			ntxent := newNTXent(l.d, l.d, l.d, rows, dim, t.Temperature)
			l.terms = append(l.terms, func() { ntxent.Loss(l.student.Z, l.dz, 1, out) })
			l.givesZ = true
		default:
			return ssl.Unsupported(ssl.CUDA, t)
		}
	}
	l.distill = l.newCosine(ssl.Teacher, float32(c.Distill), l.out(foundDistill))
	return nil
}

// newCosine makes what queues the negative cosine similarity to an encoder; it adds to the gradients of terms before.
func (l *learner) newCosine(to ssl.Encoder, weight float32, out Buffer) func() {
	cosine, accumulate := newNegCosine(l.d, l.d, 2*l.cfg.Batch, l.cfg.Heads.ProjectorDim), l.givesP
	return func() { cosine.Loss(l.student.P, l.projections(to), l.dp, weight, accumulate, out) }
}

// newEncoder makes the network of a target or a teacher.
func (l *learner) newEncoder() *encoder {
	c, net := l.cfg, newNetwork(l.d, l.own.flat, false)
	return &encoder{nn.NewGraph(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, false, net), net}
}

// projections are what an encoder makes of the views.
func (l *learner) projections(e ssl.Encoder) Buffer {
	switch e {
	case ssl.Target:
		return l.target.Z
	case ssl.Teacher:
		return l.teacher.Z
	}
	return l.student.Z
}

// outOfMemory says which batch would fit, where memory was the trouble: what grows with the batch is almost all values
// between operations.
func (l *learner) outOfMemory(err error) error {
	if !errors.Is(err, ssl.ErrOutOfMemory) || l.own.values == 0 {
		return err
	}
	each := uint64(l.own.values / l.cfg.Batch)
	fits := l.d.memory.available() / (each + each/8)
	return fmt.Errorf("%w; an image of a batch takes %s: a batch of about %d would fit instead of %d",
		err, size(each), min(fits, uint64(l.cfg.Batch-1)), l.cfg.Batch)
}

// Views implements ssl.Learner.
func (l *learner) Views() []float32 { return l.views[l.next] }

// Load implements ssl.Learner.
func (l *learner) Load(nets, teachers *sdrnet.Net) error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	if l.part == nil {
		l.part = newPartition(nets)
		n := len(l.part.chunks)
		l.chunks = l.d.bytes(n * int(unsafe.Sizeof(chunk{})))
		l.d.upload(l.chunks, unsafe.Pointer(&l.part.chunks[0]), l.chunks.Len)
		l.optimizer = newOptimizer(l.d, l.d, l.cfg.Optimizer, l.chunks, l.part.chunks, l.part.tensors)
		if err := l.d.wait(); err != nil {
			return err
		}
	}
	if l.teachers != nil != (teachers != nil) {
		l.forget() // the step becomes another
	}
	for _, s := range []*store{l.nets, l.teachers} {
		if s != nil {
			s.free()
		}
	}
	l.nets, l.teachers = nil, nil
	if l.nets, err = newStore(l.d, nets, l.part, true); err != nil {
		return l.outOfMemory(err)
	}
	if teachers == nil {
		return nil
	}
	if l.teachers, err = newStore(l.d, teachers, l.part, false); err != nil {
		return l.outOfMemory(err)
	}
	if l.teacher == nil {
		l.teacher = l.newEncoder()
	}
	return l.outOfMemory(l.d.err)
}

// forget drops the graph of the step.
func (l *learner) forget() {
	if l.exec != 0 {
		l.d.try(l.d.cuGraphExecDestroy(l.exec), "cuGraphExecDestroy")
	}
	l.exec, l.warm = 0, false
}

// Submit implements ssl.Learner.
func (l *learner) Submit(s ssl.Step) error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	d, student := l.d, &l.steps[0]
	l.nets.point(student, s.Code)
	l.optimizer.fill(student, s.LR, s.Number)
	if l.target != nil {
		student.Momentum = float32(l.cfg.Loss.Target.Momentum(s.Number, s.Of))
	}
	if l.teachers != nil {
		l.teachers.point(&l.steps[1], ssl.Parent(s.Code))
	}
	d.try(d.cuEventRecord(l.begun, d.stream), "cuEventRecord")
	views := l.Views()
	d.upload(l.deviceViews, unsafe.Pointer(&views[0]), 4*len(views))
	l.next = 1 - l.next
	if l.warm {
		l.launch()
	} else {
		l.warmUp()
	}
	d.try(d.cuEventRecord(l.done, d.stream), "cuEventRecord")
	return d.err
}

// Wait implements ssl.Learner.
func (l *learner) Wait() (m ssl.Measure, err error) {
	leave, err := l.d.enter()
	if err != nil {
		return m, err
	}
	defer leave()
	if err := l.d.wait(); err != nil {
		return m, err
	}
	var ms float32
	if err := l.d.check(l.d.cuEventElapsedTime(&ms, l.begun, l.done), "cuEventElapsedTime"); err != nil {
		return m, err
	}
	m.Busy = time.Duration(float64(ms) * float64(time.Millisecond))
	for _, v := range l.measure[foundTerms:] {
		m.SSL += float64(v)
	}
	m.Loss, m.Std = m.SSL, float64(l.measure[foundStd])
	if l.teachers != nil {
		m.Distill = float64(l.measure[foundDistill])
		m.Loss += l.cfg.Distill * m.Distill
	}
	return m, nil
}

// warmUp does a step operation by operation, with much workspace, for which cuDNN chooses its algorithms. What they do
// not want of it is given back.
func (l *learner) warmUp() {
	d := l.d
	d.free(d.workspace)
	d.workspace = d.bytes(int(min(workspaceLimit, d.memory.available()/4)))
	l.queue()
	if d.wait() == nil {
		d.free(d.workspace)
		d.workspace = d.bytes(d.needed)
	}
	l.warm = true
}

// launch does a step by its graph.
func (l *learner) launch() {
	if l.exec == 0 {
		l.capture()
	}
	if l.d.err == nil {
		l.d.try(l.d.cuGraphLaunch(l.exec, l.d.stream), "cuGraphLaunch of a step")
	}
}

// queue queues the operations of a step on the views that are on the device.
func (l *learner) queue() {
	d := l.d
	convert(d, l.deviceViews, l.images)
	l.upload(0)
	l.gather(0, weightVector, l.own)
	l.student.Forward(l.images)
	if l.target != nil {
		l.gather(0, l.cfg.Optimizer.Vectors(), l.target.net)
		l.target.Forward(l.images)
	}
	for _, term := range l.terms {
		term()
	}
	if l.teachers != nil {
		l.upload(1)
		l.gather(1, weightVector, l.teacher.net)
		l.teacher.Forward(l.images)
		l.distill()
	}
	l.watch.Std(l.student.Z, l.out(foundStd))
	given := func(b *Buffer, used bool) *Buffer {
		if !used {
			return nil
		}
		return b
	}
	l.student.Backward(given(&l.dz, l.givesZ), given(&l.dp, l.givesP || l.teachers != nil))
	l.optimizer.update(l.own.params, l.own.grads, l.own.dweights, l.deviceSteps[0])
	if l.target != nil {
		follow(d, l.chunks, len(l.part.chunks), l.deviceSteps[0], l.cfg.Optimizer.Vectors())
	}
	d.download(unsafe.Pointer(&l.measure[0]), l.found, 4*l.found.Len)
}

// upload copies what a step says of its student or its teacher.
func (l *learner) upload(which int) {
	l.d.upload(l.deviceSteps[which], unsafe.Pointer(&l.steps[which]), l.deviceSteps[which].Len)
}

// gather makes the weights that a step names, or a vector beside them, the weights of a network.
func (l *learner) gather(which, vector int, n *network) {
	gather(l.d, l.chunks, len(l.part.chunks), l.deviceSteps[which], vector, n.params, n.weights)
}

// out is where a figure goes.
func (l *learner) out(figure int) Buffer { return l.found.slice(figure, figure+1, 4) }

// capture makes the graph of a step.
func (l *learner) capture() {
	d := l.d
	d.try(d.cuStreamBeginCapture(d.stream, captureThreadLocal), "cuStreamBeginCapture of a step")
	l.queue()
	var g graph
	d.try(d.cuStreamEndCapture(d.stream, &g), "cuStreamEndCapture of a step")
	if d.err == nil {
		d.try(d.cuGraphInstantiate(&l.exec, g, 0), "cuGraphInstantiate of a step")
		d.try(d.cuGraphDestroy(g), "cuGraphDestroy")
	}
}

// Sync implements ssl.Learner.
func (l *learner) Sync() error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	return l.nets.sync()
}

// Close implements ssl.Learner.
func (l *learner) Close() error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	l.forget()
	for _, e := range []event{l.begun, l.done} {
		if e != 0 {
			l.d.try(l.d.cuEventDestroy(e), "cuEventDestroy")
		}
	}
	if l.pinned != nil {
		l.d.try(l.d.cuMemFreeHost(l.pinned), "cuMemFreeHost")
	}
	return l.d.close()
}
