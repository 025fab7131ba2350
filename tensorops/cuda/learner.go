package cuda

import (
	"errors"
	"fmt"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// learner is ssl.Learner on a GPU. The weights of all sub-nets stay there; a step is one CUDA graph, which is captured
// from the operations of the second step, since in the first one cuDNN chooses its algorithms. Which sub-net a step
// trains and how fast is read by the kernels from a struct step.
type learner struct {
	d   *device
	cfg ssl.Config

	pinned  unsafe.Pointer // host memory that the graph copies from and to: views, steps, measure
	views   []float32
	steps   *[2]step // the student's and the teacher's
	measure *[measures]float32

	deviceViews Buffer // float32
	images      Buffer // the same as activations
	deviceSteps [2]Buffer
	found       Buffer // of measures

	student, teacher *nn.Graph[Buffer]
	own, parents     *network
	dz, dp           Buffer // gradients of the projection and the prediction; none where not needed

	ntxent    *ntxent // nil for SimSiam
	cosine    *negCosine
	watch     *collapse
	optimizer *optimizer

	part           *partition
	chunks         Buffer
	nets, teachers *store
	warm           bool // algorithms are chosen
	exec           graphExec
}

// The figures that a step leaves in found.
const (
	foundSSL = iota
	foundDistill
	foundStd
	measures
)

func newLearner(d *device, c ssl.Config) (*learner, error) {
	l := &learner{d: d, cfg: c}
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	pixels := rows * c.Size * c.Size * 3
	layout := nn.NewLayout(c.Backbone, c.Heads)
	f := newFlat(layout)
	l.own = newNetwork(d, f, true)
	l.student = nn.NewGraph(c.Backbone, c.Heads, c.Size, rows, 2, true, l.own)
	l.deviceViews, l.images = d.floats(pixels), d.acts(pixels, "views")
	l.found = d.floats(measures)
	for i := range l.deviceSteps {
		l.deviceSteps[i] = d.bytes(int(unsafe.Sizeof(step{})))
	}
	if c.Heads.PredictorHidden > 0 {
		l.dp = d.acts(rows*dim, "gradients")
	}
	if c.Temperature > 0 {
		l.dz = d.acts(rows*dim, "gradients")
		l.ntxent = newNTXent(d, d, d, rows, dim, c.Temperature)
	}
	l.cosine, l.watch = newNegCosine(d, d, rows, dim), newCollapse(d, d, rows, dim)
	if d.err != nil {
		return nil, l.outOfMemory(d.err)
	}
	var err error
	size := 4*pixels + 2*int(unsafe.Sizeof(step{})) + 4*measures
	if l.pinned, err = d.pin(size); err != nil {
		return nil, err
	}
	l.views = unsafe.Slice((*float32)(l.pinned), pixels)
	l.steps = (*[2]step)(unsafe.Add(l.pinned, 4*pixels))
	l.measure = (*[measures]float32)(unsafe.Add(l.pinned, size-4*measures))
	*l.steps = [2]step{}
	return l, nil
}

// outOfMemory says which batch would fit, where memory was the trouble: what grows with the batch is almost all values
// between operations.
func (l *learner) outOfMemory(err error) error {
	if !errors.Is(err, ErrOutOfMemory) || l.own.values == 0 {
		return err
	}
	each := uint64(l.own.values / l.cfg.Batch)
	fits := l.d.memory.available() / (each + each/8)
	return fmt.Errorf("%w; an image of a batch takes %s: a batch of about %d would fit instead of %d (train.batch)",
		err, size(each), min(fits, uint64(l.cfg.Batch-1)), l.cfg.Batch)
}

// Views implements ssl.Learner.
func (l *learner) Views() []float32 { return l.views }

// Hold implements ssl.Learner.
func (l *learner) Hold(nets, teachers *sdrnet.Net) error {
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
	if l.teacher != nil {
		return nil
	}
	c := l.cfg
	l.parents = newNetwork(l.d, l.part.flat, false)
	l.teacher = nn.NewGraph(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, false, l.parents)
	return l.outOfMemory(l.d.err)
}

// forget drops the graph of the step.
func (l *learner) forget() {
	if l.exec != 0 {
		l.d.try(l.d.cuGraphExecDestroy(l.exec), "cuGraphExecDestroy")
	}
	l.exec, l.warm = 0, false
}

// Step implements ssl.Learner.
func (l *learner) Step(code string, lr float32, n int) (m ssl.Measure, err error) {
	leave, err := l.d.enter()
	if err != nil {
		return m, err
	}
	defer leave()
	l.nets.point(&l.steps[0], code)
	l.optimizer.fill(&l.steps[0], lr, n)
	if l.teachers != nil {
		l.teachers.point(&l.steps[1], ssl.Parent(code))
	}
	if l.warm {
		l.launch()
	} else {
		l.warmUp()
	}
	if err := l.d.wait(); err != nil {
		return m, err
	}
	found := l.measure
	m.SSL, m.Std = float64(found[foundSSL]), float64(found[foundStd])
	m.Loss = m.SSL
	if l.teachers != nil {
		m.Distill = float64(found[foundDistill])
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

// queue queues the operations of a step.
func (l *learner) queue() {
	d := l.d
	d.upload(l.deviceViews, unsafe.Pointer(&l.views[0]), 4*len(l.views))
	convert(d, l.deviceViews, l.images)
	l.gather(0, l.own)
	l.student.Forward(l.images)
	if l.ntxent == nil {
		l.cosine.Loss(l.student.P, l.student.Z, l.dp, 1, false, l.out(foundSSL)) // stop-gradient: Z gets none
	} else {
		l.ntxent.Loss(l.student.Z, l.dz, 1, l.out(foundSSL))
	}
	if l.teachers != nil {
		l.gather(1, l.parents)
		l.teacher.Forward(l.images)
		l.cosine.Loss(l.student.P, l.teacher.Z, l.dp, float32(l.cfg.Distill), l.ntxent == nil, l.out(foundDistill))
	}
	l.watch.Std(l.student.Z, l.out(foundStd))
	given := func(b *Buffer, used bool) *Buffer {
		if !used {
			return nil
		}
		return b
	}
	l.student.Backward(given(&l.dz, l.ntxent != nil), given(&l.dp, l.ntxent == nil || l.teachers != nil))
	l.optimizer.update(l.own.params, l.own.grads, l.own.dweights, l.deviceSteps[0])
	d.download(unsafe.Pointer(l.measure), l.found, 4*measures)
}

// gather makes the weights that a step names those of a network.
func (l *learner) gather(which int, n *network) {
	l.d.upload(l.deviceSteps[which], unsafe.Pointer(&l.steps[which]), l.deviceSteps[which].Len)
	gather(l.d, l.chunks, len(l.part.chunks), l.deviceSteps[which], n.params, n.weights)
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
	if l.pinned != nil {
		l.d.try(l.d.cuMemFreeHost(l.pinned), "cuMemFreeHost")
	}
	return l.d.close()
}
