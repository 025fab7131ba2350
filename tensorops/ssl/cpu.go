package ssl

import (
	"slices"
	"time"

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

	dz, dp   []float32        // gradients of z and p, [2·Batch, ProjectorDim]; nil where the loss does not use them
	terms    []func() float64 // each adds the gradient of one loss term and returns its value
	distill  func() float64   // the same for SiamKD
	collapse *nn.Collapse

	nets, teachers  *sdrnet.Net
	target, teacher *nn.Net // forward only; nil if unused

	ahead    struct{ params, state []float32 } // copies, of whose update groups are taken; nil if unused
	sums     []float32                         // of the gradients of steps that deferred; nil if unused
	deferred int                               // number of these steps

	step     Step                                  // the current one
	memory   []float32                             // of its sub-net
	measures []Measure                             // of the steps that were not waited for
	update   func(params, state, memory []float32) // learn, bound once so that a step does not allocate
	teach    func(params, state, memory []float32) // updates the teacher after a step of the root
}

func newCPU(c Config, pool *kernels.Pool) (*cpu, error) {
	rows, dim := 2*c.Batch, c.Heads.ProjectorDim
	l := &cpu{
		cfg: c, pool: pool,
		net:      nn.New(c.Backbone, c.Heads, c.Size, rows, 2, pool, nn.Train|c.precision()),
		views:    make([]float32, rows*c.Size*c.Size*3),
		collapse: nn.NewCollapse(dim), measures: make([]Measure, 0, max(1, c.Ahead)),
	}
	if c.Heads.PredictorHidden > 0 {
		l.dp = make([]float32, rows*dim)
	}
	if c.Loss.Target != nil {
		l.target = l.encoder()
	}
	n := l.net.Layout.NumParams
	if base, groups := c.Rates(Step{LR: 1}); groups != base || c.Defers {
		l.ahead.params, l.ahead.state = make([]float32, n), make([]float32, c.Optimizer.Vectors()*n)
	}
	if c.Defers {
		l.sums = make([]float32, n)
	}
	for _, t := range c.Loss.Terms {
		term, err := l.term(t, 1)
		if err != nil {
			return nil, err
		}
		l.terms = append(l.terms, term)
	}
	var err error
	l.distill, err = l.term(NegativeCosine{Teacher}, float32(c.Distill))
	l.update = l.learn
	l.teach = func(params, _, _ []float32) { follow(params, l.net.Params, c.TeacherMomentum(l.step)) }
	return l, err
}

// precision returns the mode flag of the configured precision.
func (c Config) precision() nn.Mode {
	if c.Precision == BF16 {
		return nn.BF16
	}
	return 0
}

// encoder returns a forward-only net for the target network or a teacher.
func (l *cpu) encoder() *nn.Net {
	c := l.cfg
	return nn.New(c.Backbone, c.Heads, c.Size, 2*c.Batch, 2, l.pool, nn.Inference|c.precision())
}

// term returns a function that computes a loss term and adds weight times its gradient.
func (l *cpu) term(t Term, weight float32) (func() float64, error) {
	rows, dim := 2*l.cfg.Batch, l.cfg.Heads.ProjectorDim
	switch t := t.(type) {
	case NegativeCosine:
		cosine := nn.NewNegCosine(rows, dim, l.pool)
		return func() float64 { return cosine.Loss(l.net.P, l.projections(t.Target), l.dp, weight) }, nil
	case NTXent:
		l.dz = make([]float32, rows*dim)
		ntxent := nn.NewNTXent(rows, dim, t.Temperature, l.pool)
		return func() float64 { return ntxent.Loss(l.net.Z, l.dz, weight) }, nil
	case InfoNCE:
		l.dz = make([]float32, rows*dim)
		infonce := nn.NewInfoNCE(rows, dim, t.Queue, t.Temperature, l.pool)
		return func() float64 { return infonce.Loss(l.net.Z, l.target.Z, l.memory, l.dz, weight) }, nil
	case SwappedPrediction:
		l.dz = make([]float32, rows*dim)
		at := l.net.Layout.Prototypes
		swapped := nn.NewSwapped(rows, dim, l.cfg.Heads.Prototypes, t.Temperature, t.Epsilon, t.Iterations, l.pool)
		return func() float64 {
			return swapped.Loss(l.net.Z, at.Of(l.net.Params), l.dz, at.Of(l.net.Grads), weight)
		}, nil
	}
	return nil, Unsupported(CPU, t)
}

// projections returns an encoder's projections of the current views.
func (l *cpu) projections(e Encoder) []float32 {
	switch e {
	case Target:
		return l.target.Z
	case Teacher:
		return l.teacher.Z
	}
	return l.net.Z
}

func (l *cpu) Views() []float32 { return l.views }

// Sources returns none: the caller makes views with all cores.
func (l *cpu) Sources() (s Sources, ok bool) { return s, false }

func (l *cpu) Load(nets, teachers *sdrnet.Net) error {
	l.nets, l.teachers = nets, teachers
	if teachers != nil && l.teacher == nil {
		l.teacher = l.encoder()
	}
	return nil
}

// Submit computes the whole step: preparing the next views at the same time would compete for the same cores.
func (l *cpu) Submit(s Step) error {
	start := time.Now()
	l.step = s
	l.nets.Update(s.Code, l.update)
	l.measures[len(l.measures)-1].Busy = time.Since(start)
	return nil
}

func (l *cpu) Wait() (m Measure, err error) {
	m = l.measures[0]
	l.measures = slices.Delete(l.measures, 0, 1)
	return m, nil
}

// learn runs the step on the sub-net's weights, in place.
func (l *cpu) learn(params, state, memory []float32) {
	l.memory = memory
	optimizer, target := state, []float32(nil)
	if l.target != nil {
		optimizer, target = state[:len(state)-len(params)], state[len(state)-len(params):]
		l.target.Params = target
		l.target.Forward(l.views, nn.BatchStats)
	}
	var m Measure
	l.net.Params = params
	l.net.Forward(l.views, nn.BatchStats)
	clear(l.dp)
	clear(l.dz)
	for _, term := range l.terms {
		m.SSL += term()
	}
	if l.teachers != nil {
		l.teachers.Gather(l.cfg.TeacherOf(l.step.Code), l.teacher.Params)
		l.teacher.Forward(l.views, nn.BatchStats)
		m.Distill = l.distill()
	}
	m.Loss = m.SSL + l.cfg.Distill*m.Distill
	m.Std = l.collapse.Std(l.net.Z)
	l.net.Backward(l.dz, l.dp)
	l.descend(params, optimizer)
	if l.target != nil {
		follow(target, params, float32(l.cfg.Loss.Target.Momentum(l.step.Number, l.step.Of)))
	}
	if l.teachers != nil && l.cfg.Teacher != nil && l.step.Code == "" {
		l.teachers.Update("", l.teach)
	}
	l.measures = append(l.measures, m)
}

// descend updates the weights. What is not updated, or not at the same rate as the rest, takes a copy: the individual
// weights are taken from an update of the copy.
func (l *cpu) descend(params, state []float32) {
	base, groups := l.cfg.Rates(l.step)
	if l.step.Code == "" {
		groups = base
	}
	grads, levels := l.average(), sdrnet.Level(l.step.Code)
	apart := l.step.Defer || groups != base
	if apart {
		copy(l.ahead.params, params)
		copy(l.ahead.state, state)
		l.cfg.Optimizer.Update(l.ahead.params, grads, l.ahead.state, groups, l.step.Number)
	}
	if l.step.Defer {
		levels = l.nets.Level()
	} else {
		l.cfg.Optimizer.Update(params, grads, state, base, l.step.Number)
	}
	if apart {
		l.takeIndividual(levels, params, l.ahead.params)
		l.takeIndividual(levels, state, l.ahead.state)
	}
}

// average returns the gradient of the step, in which that of shared weights is averaged with those of the steps before
// that deferred.
func (l *cpu) average() []float32 {
	g := l.net.Grads
	if l.deferred == 0 {
		if l.step.Defer {
			copy(l.sums, g)
			l.deferred = 1
		}
		return g
	}
	l.deferred++
	for i, v := range g {
		l.sums[i] += v
	}
	if l.step.Defer {
		return g
	}
	for i := range l.sums {
		l.sums[i] /= float32(l.deferred)
	}
	l.deferred = 0
	l.takeIndividual(l.nets.Level(), l.sums, g)
	return l.sums
}

// takeIndividual copies the elements that are individual at the first levels. Both sides are concatenated flat vectors.
func (l *cpu) takeIndividual(levels int, to, from []float32) {
	for n := l.net.Layout.NumParams; len(to) > 0; to, from = to[n:], from[n:] {
		for level := range levels {
			for _, s := range l.nets.Individual(level) {
				copy(s.Of(to), s.Of(from))
			}
		}
	}
}

// follow updates the weights of the target network or teacher by EMA.
func follow(target, student []float32, momentum float32) {
	for i, w := range student {
		target[i] = momentum*target[i] + (1-momentum)*w
	}
}

func (l *cpu) Sync() error { return nil }

func (l *cpu) Close() error { return nil }
