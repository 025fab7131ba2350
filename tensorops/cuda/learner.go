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

// learner is ssl.Learner on a GPU. The weights of all sub-nets stay on the GPU. A step is one CUDA graph, captured in
// the second step, because algorithms are chosen in the first. Which sub-net is trained, and how, is in a struct
// step that the kernels read. While a step runs, the next views, or what they are made from, are written to a second buffer.
type learner struct {
	d   *device
	cfg ssl.Config

	pinned  unsafe.Pointer // host memory for copies from and to the device: steps, inputs, measures
	inputs  [2][]byte      // of a step: its views as float32, or the sources of views
	next    int            // index of the input of the next step
	steps   *[2]step       // for the student and the teacher
	measure []float32

	views       *viewMaker // nil unless the GPU makes the views
	deviceInput Buffer     // bytes
	images      Buffer     // the views as activations
	deviceSteps [2]Buffer
	measures    Buffer // float32, indexed by the constants below

	student         *nn.Graph[Buffer]
	net             *network
	target, teacher *encoder // nil until used
	dz, dp          Buffer   // gradients of z and p; zero if unused
	usesZ, usesP    bool     // which of them the loss terms write
	terms           []func() // each queues one loss term
	distill         func()   // the same for SiamKD
	collapse        *collapse
	optimizer       *optimizer
	sums            Buffer // of the gradients of steps that deferred; zero if unused
	begun, done     event  // of the current step

	part           *partition
	chunks         Buffer
	nets, teachers *store
	warm           bool // whether algorithms have been chosen
	exec           graphExec
}

// encoder is a forward-only network with weights of its own.
type encoder struct {
	*nn.Graph[Buffer]
	net *network
}

// Indices of the figures in learner.measures; those of the loss terms come last.
const (
	distillMeasure = iota
	stdMeasure
	termMeasures
)

func newLearner(d *device, c ssl.Config) (*learner, error) {
	l := &learner{d: d, cfg: c}
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	pixels, measures := rows*c.Size*c.Size*3, termMeasures+len(c.Loss.Terms)
	l.net = newNetwork(d, newFlat(nn.NewLayout(c.Backbone, c.Heads)), true)
	l.student = nn.NewGraph(c.Backbone, c.Heads, c.Size, rows, 2, true, l.net)
	l.images = d.acts(pixels, "views")
	if c.Views != nil {
		l.views = newViewMaker(d, d, *c.Views, c.Batch, c.Size)
		l.deviceInput = l.views.sources
	} else {
		l.deviceInput = d.bytes(4 * pixels)
	}
	l.measures = d.floats(measures)
	for i := range l.deviceSteps {
		l.deviceSteps[i] = d.bytes(int(unsafe.Sizeof(step{})))
	}
	if c.Heads.PredictorHidden > 0 {
		l.dp = d.acts(rows*dim, "gradients")
	}
	if c.Defers {
		l.sums = d.floats(len(l.net.flat.order))
	}
	if err := l.newLoss(rows, dim); err != nil {
		return nil, err
	}
	l.collapse = newCollapse(d, d, rows, dim)
	for _, e := range []*event{&l.begun, &l.done} {
		d.try(d.cuEventCreate(e, 0), "cuEventCreate")
	}
	if d.err != nil {
		return nil, l.outOfMemory(d.err)
	}
	return l, l.pin(measures)
}

// pin allocates the host memory.
func (l *learner) pin(measures int) (err error) {
	steps, input := 2*int(unsafe.Sizeof(step{})), l.deviceInput.Len
	room := ceil(input, lanes) * lanes // keeps floats aligned
	if l.pinned, err = l.d.pin(steps + 2*room + 4*measures); err != nil {
		return err
	}
	l.steps = (*[2]step)(l.pinned)
	*l.steps = [2]step{}
	for i := range l.inputs {
		l.inputs[i] = unsafe.Slice((*byte)(unsafe.Add(l.pinned, steps+i*room)), input)
	}
	l.measure = unsafe.Slice((*float32)(unsafe.Add(l.pinned, steps+2*room)), measures)
	return nil
}

// newLoss creates the loss terms.
func (l *learner) newLoss(rows, dim int) error {
	c := l.cfg
	if c.Loss.Target != nil {
		l.target = l.newEncoder()
	}
	for i, t := range c.Loss.Terms {
		out := l.out(termMeasures + i)
		switch t := t.(type) {
		case ssl.NegativeCosine:
			l.terms = append(l.terms, l.newCosine(t.Target, 1, out))
			l.usesP = true
		case ssl.NTXent:
			ntxent, accumulate := newNTXent(l.d, l.d, l.d, rows, dim, t.Temperature), l.usesZ
			l.terms = append(l.terms, func() { ntxent.Loss(l.student.Z, l.dz, 1, accumulate, out) })
			l.usesZ = true
		case ssl.InfoNCE:
			infonce, accumulate := newInfoNCE(l.d, l.d, l.d, rows, dim, t.Queue, t.Temperature), l.usesZ
			l.terms = append(l.terms, func() {
				infonce.Loss(l.student.Z, l.target.Z, l.deviceSteps[0], l.dz, 1, accumulate, out)
			})
			l.usesZ = true
		case ssl.SwappedPrediction:
			l.terms = append(l.terms, l.newSwapped(t, out))
			l.usesZ = true
		default:
			return ssl.Unsupported(ssl.CUDA, t)
		}
	}
	if l.usesZ {
		l.dz = l.d.acts(rows*dim, "gradients")
	}
	l.distill = l.newCosine(ssl.Teacher, float32(c.Distill), l.out(distillMeasure))
	return nil
}

// newSwapped returns a function that queues the swapped prediction of assignments to prototypes. It normalizes them in
// the weights that were gathered for the step.
func (l *learner) newSwapped(t ssl.SwappedPrediction, out Buffer) func() {
	swapped, accumulate := newSwapped(l.d, l.d, l.d, 2*l.cfg.Batch, l.cfg.Heads.ProjectorDim, l.cfg.Heads.Prototypes,
		t.Temperature, t.Epsilon, t.Iterations), l.usesZ
	n, at, size := l.net, l.student.Layout.Prototypes, l.d.actSize()
	params, weights := n.flat.span(n.params, at, 4), n.flat.span(n.weights, at, size)
	dweights := n.flat.span(n.dweights, at, size)
	return func() { swapped.Loss(l.student.Z, params, weights, l.dz, dweights, 1, accumulate, out) }
}

// newCosine returns a function that queues the negative cosine similarity to an encoder. It adds to the gradients of
// preceding terms.
func (l *learner) newCosine(to ssl.Encoder, weight float32, out Buffer) func() {
	cosine, accumulate := newNegCosine(l.d, l.d, 2*l.cfg.Batch, l.cfg.Heads.ProjectorDim), l.usesP
	return func() { cosine.Loss(l.student.P, l.projections(to), l.dp, weight, accumulate, out) }
}

// newEncoder creates the network of a target or teacher.
func (l *learner) newEncoder() *encoder {
	c, net := l.cfg, newNetwork(l.d, l.net.flat, false)
	return &encoder{nn.NewGraph(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, false, net), net}
}

// projections returns an encoder's projections of the views.
func (l *learner) projections(e ssl.Encoder) Buffer {
	switch e {
	case ssl.Target:
		return l.target.Z
	case ssl.Teacher:
		return l.teacher.Z
	}
	return l.student.Z
}

// outOfMemory adds to an out-of-memory error the largest batch that would fit; activations dominate.
func (l *learner) outOfMemory(err error) error {
	if !errors.Is(err, ssl.ErrOutOfMemory) || l.net.values == 0 {
		return err
	}
	each := uint64(l.net.values / l.cfg.Batch)
	fits := l.d.memory.available() / (each + each/8)
	return fmt.Errorf("%w; activations take %s per image: a batch of about %d would fit instead of %d",
		err, size(each), min(fits, uint64(l.cfg.Batch-1)), l.cfg.Batch)
}

// Views implements ssl.Learner.
func (l *learner) Views() []float32 {
	if l.views != nil {
		return nil
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&l.inputs[l.next][0])), l.images.Len)
}

// Sources implements ssl.Learner.
func (l *learner) Sources() (s ssl.Sources, ok bool) {
	if l.views == nil {
		return s, false
	}
	return l.views.in(l.inputs[l.next]), true
}

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
		l.dropGraph() // the step changes
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

// dropGraph destroys the graph of the step.
func (l *learner) dropGraph() {
	l.d.drop(l.exec)
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
	if student.Defer == 0 {
		student.Steps = 0 // the last step left nothing
	}
	student.Steps, student.Defer = student.Steps+1, 0
	if s.Defer {
		student.Defer = 1
	}
	base, groups := l.cfg.Rates(s)
	l.optimizer.fill(student, base, groups, s.Number)
	if l.target != nil {
		student.Momentum = float32(l.cfg.Loss.Target.Momentum(s.Number, s.Of))
	}
	if l.teachers != nil {
		l.teachers.point(&l.steps[1], l.cfg.TeacherOf(s.Code))
		if l.cfg.Teacher != nil {
			l.steps[1].Momentum = l.cfg.TeacherMomentum(s)
		}
	}
	d.try(d.cuEventRecord(l.begun, d.stream), "cuEventRecord")
	d.upload(l.deviceInput, unsafe.Pointer(&l.inputs[l.next][0]), l.deviceInput.Len)
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
	for _, v := range l.measure[termMeasures:] {
		m.SSL += float64(v)
	}
	m.Loss, m.Std = m.SSL, float64(l.measure[stdMeasure])
	if l.teachers != nil {
		m.Distill = float64(l.measure[distillMeasure])
		m.Loss += l.cfg.Distill * m.Distill
	}
	return m, nil
}

// warmUp runs a step operation by operation, with a large workspace, so that algorithms are chosen. It then
// shrinks the workspace to what they use.
func (l *learner) warmUp() {
	d := l.d
	d.growWorkspace()
	l.queue()
	if d.wait() == nil {
		d.fitWorkspace()
	}
	l.warm = true
}

// launch runs a step as a graph.
func (l *learner) launch() {
	if l.exec == 0 {
		l.exec = l.d.capture("a step", l.queue)
	}
	l.d.replay(l.exec, "a step")
}

// queue queues the operations of a step on the input in device memory.
func (l *learner) queue() {
	d := l.d
	if l.views != nil {
		l.views.run(l.images)
	} else {
		convert(d, Buffer{l.deviceInput.Addr, l.images.Len}, l.images)
	}
	l.upload(0)
	l.gather(0, weightVector, l.net)
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
	l.collapse.Std(l.student.Z, l.out(stdMeasure))
	given := func(b *Buffer, used bool) *Buffer {
		if !used {
			return nil
		}
		return b
	}
	l.student.Backward(given(&l.dz, l.usesZ), given(&l.dp, l.usesP || l.teachers != nil))
	if l.cfg.Defers {
		average(d, l.chunks, len(l.part.chunks), l.deviceSteps[0], l.net.grads, l.net.dweights, l.sums)
	}
	l.optimizer.update(l.net.params, l.net.grads, l.net.dweights, l.deviceSteps[0])
	if l.target != nil {
		follow(d, l.chunks, len(l.part.chunks), l.deviceSteps[0], l.cfg.Optimizer.Vectors(), l.deviceSteps[0])
	}
	if l.teachers != nil && l.cfg.Teacher != nil {
		follow(d, l.chunks, len(l.part.chunks), l.deviceSteps[1], weightVector, l.deviceSteps[0])
	}
	d.download(unsafe.Pointer(&l.measure[0]), l.measures, 4*l.measures.Len)
}

// upload copies the student's or the teacher's struct step to the device.
func (l *learner) upload(which int) {
	l.d.upload(l.deviceSteps[which], unsafe.Pointer(&l.steps[which]), l.deviceSteps[which].Len)
}

// gather copies to a network the weights that a step names, or a state vector.
func (l *learner) gather(which, vector int, n *network) {
	gather(l.d, l.chunks, len(l.part.chunks), l.deviceSteps[which], vector, n.params, n.weights)
}

// out returns the place of a figure in measures.
func (l *learner) out(figure int) Buffer { return l.measures.slice(figure, figure+1, 4) }

// Sync implements ssl.Learner.
func (l *learner) Sync() error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	if l.teachers != nil && l.cfg.Teacher != nil {
		if err := l.teachers.sync(); err != nil {
			return err
		}
	}
	return l.nets.sync()
}

// Close implements ssl.Learner.
func (l *learner) Close() error {
	leave, err := l.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	l.dropGraph()
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
