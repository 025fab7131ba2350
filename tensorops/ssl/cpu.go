package ssl

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// cpu is the Learner on the CPU. A step allocates nothing.
type cpu struct {
	cfg   Config
	pool  *kernels.Pool
	net   *nn.Net
	views []float32

	dz, dp []float32  // gradients of the projection and the prediction, [2·Batch, ProjectorDim]; nil where not needed
	ntxent *nn.NTXent // nil for SimSiam
	cosine *nn.NegCosine
	watch  *nn.Collapse

	nets, teachers *sdrnet.Net
	teacher        *nn.Net // nil until there are teachers

	code  string // of the running step
	lr    float32
	n     int
	found Measure
	step  func(params, state []float32)
}

func newCPU(c Config, pool *kernels.Pool) *cpu {
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	l := &cpu{
		cfg: c, pool: pool,
		net:    nn.New(c.Backbone, c.Heads, c.Size, rows, 2, pool, nn.Train|c.precision()),
		views:  make([]float32, rows*c.Size*c.Size*3),
		cosine: nn.NewNegCosine(rows, dim, pool),
		watch:  nn.NewCollapse(dim),
	}
	if c.Heads.PredictorHidden > 0 {
		l.dp = make([]float32, rows*dim)
	}
	if c.Temperature > 0 {
		l.dz = make([]float32, rows*dim)
		l.ntxent = nn.NewNTXent(rows, dim, c.Temperature, pool)
	}
	l.step = l.learn
	return l
}

// precision is what the configuration adds to a net's mode.
func (c Config) precision() nn.Mode {
	if c.BF16 {
		return nn.BF16
	}
	return 0
}

func (l *cpu) Views() []float32 { return l.views }

func (l *cpu) Hold(nets, teachers *sdrnet.Net) error {
	l.nets, l.teachers = nets, teachers
	if teachers != nil && l.teacher == nil {
		c := l.cfg
		l.teacher = nn.New(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, l.pool, nn.Inference|c.precision())
	}
	return nil
}

func (l *cpu) Step(code string, lr float32, n int) (Measure, error) {
	l.code, l.lr, l.n = code, lr, n
	l.nets.Update(code, l.step)
	return l.found, nil
}

// learn takes the step on the sub-net's weights, in place.
func (l *cpu) learn(params, state []float32) {
	var m Measure
	l.net.Params = params
	l.net.Forward(l.views, nn.BatchStats)
	clear(l.dp)
	clear(l.dz)
	if l.ntxent == nil {
		m.SSL = l.cosine.Loss(l.net.P, l.net.Z, l.dp, 1) // stop-gradient: Z gets none
	} else {
		m.SSL = l.ntxent.Loss(l.net.Z, l.dz, 1)
	}
	if l.teachers != nil {
		l.teachers.Gather(Parent(l.code), l.teacher.Params)
		l.teacher.Forward(l.views, nn.BatchStats)
		m.Distill = l.cosine.Loss(l.net.P, l.teacher.Z, l.dp, float32(l.cfg.Distill))
	}
	m.Loss = m.SSL + l.cfg.Distill*m.Distill
	m.Std = l.watch.Std(l.net.Z)
	l.net.Backward(l.dz, l.dp)
	l.cfg.Optimizer.Update(params, l.net.Grads, state, l.lr, l.n)
	l.found = m
}

// Parent is the code of the net that a code's sub-net split off from; the root is its own.
func Parent(code string) string { return code[:max(len(code)-1, 0)] }

func (l *cpu) Sync() error { return nil }

func (l *cpu) Close() error { return nil }
