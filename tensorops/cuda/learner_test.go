package cuda

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// trial is a training of a few steps on a device.
type trial struct {
	name     string
	backbone nn.Backbone
	heads    nn.Heads
	size     int
	batch    int
	cfg      ssl.Config // only loss, optimizer and its rates are set
	lr       float32
	phases   [][]string // sub-nets that the steps of each phase train; each phase splits one more level
	views    *viewCase  // what the views show; nil for noise
}

var (
	simSiam        = nn.Heads{ProjectorHidden: 24, ProjectorDim: 16, ProjectorLayers: 3, ProjectorBN: true, PredictorHidden: 8}
	simCLR         = nn.Heads{ProjectorHidden: 24, ProjectorDim: 16, ProjectorLayers: 2}
	byolHeads      = ssl.Lookup("byol").Heads(ssl.Sizes{Hidden: 24, Dim: 16, Predictor: 8}, nil)
	simCLRPredicts = nn.Heads{ProjectorHidden: 24, ProjectorDim: 16, ProjectorLayers: 2, PredictorHidden: 8}
	swavHeads      = ssl.Lookup("swav").Heads(ssl.Sizes{Hidden: 24, Dim: 16}, ssl.Values{"prototypes": 30})
)

// Losses of the methods.
var (
	simSiamLoss = ssl.Lookup("simsiam").Loss(nil)
	ntxentLoss  = ssl.Lookup("ntxent").Loss(ssl.Values{"temperature": 0.2})
	byolLoss    = ssl.Lookup("byol").Loss(ssl.Values{"momentum": 0.8})
	mocoLoss    = ssl.Lookup("moco").Loss(ssl.Values{"momentum": 0.8, "temperature": 0.2, "queue": 50})
	swavLoss    = ssl.Lookup("swav").Loss(ssl.Values{"temperature": 0.1, "epsilon": 0.05})
)

// trials together cover every operation of the package.
func trials() []trial {
	small, large := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 8}, nn.Backbone{Arch: "resnet50", Stem: "imagenet", Width: 4}
	lars := optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 1e-4}, 0.01, larsTensors(small, simSiam))
	return []trial{
		{"simsiam", small, simSiam, 12, 16, ssl.Config{Loss: simSiamLoss, Distill: 0.5, Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}}, 0.001, phases, nil},
		{"ntxent", small, simCLRPredicts, 12, 16, ssl.Config{Loss: ntxentLoss, Distill: 0.3, Optimizer: optim.AdamW{Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-4, WeightDecay: 0.01}, GroupLR: 3, Defers: true}, 2e-4, phases, nil},
		{"lars", small, simSiam, 12, 16, ssl.Config{Loss: simSiamLoss, Distill: 0.5, Optimizer: lars, GroupLR: 3, Defers: true}, 0.01, phases, nil},
		{"byol", small, byolHeads, 12, 16, ssl.Config{Loss: byolLoss, Distill: 0.5, Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}, Defers: true}, 0.001, phases, nil},
		{"moco", small, simCLRPredicts, 12, 16, ssl.Config{Loss: mocoLoss, Distill: 0.5, Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}}, 0.001, phases, nil},
		{"swav", small, swavHeads, 12, 16, ssl.Config{Loss: swavLoss, Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4}}, 1e-4, phases, nil},
		{"mobilenet_v2", nn.Backbone{Arch: "mobilenet_v2", Stem: "small", Width: 8}, simCLR, 12, 8, ssl.Config{Loss: ntxentLoss, Optimizer: optim.SGD{Momentum: 0.9}}, 1e-8, [][]string{{""}, {"1"}, {"0.1"}}, nil},
		{"resnet50", large, simCLR, 40, 8, ssl.Config{Loss: ntxentLoss, Optimizer: optim.SGD{Momentum: 0.9, Nesterov: true}}, 1e-6, phases, nil},
	}
}

func larsTensors(b nn.Backbone, h nn.Heads) []optim.Tensor {
	var out []optim.Tensor
	for _, p := range nn.NewLayout(b, h).Params {
		out = append(out, optim.Tensor{Size: p.Size, Adapt: p.Kind == nn.ConvWeight || p.Kind == nn.LinearWeight})
	}
	return out
}

// phases cover the root, its sub-nets and theirs.
var phases = [][]string{{"", "", ""}, {"0", "1", "", "1"}, {"1.0", "0.1", "", "0.1", "1.0"}}

// run trains through the phases and returns the measures of all steps and the final weights.
func (c trial) run(t testing.TB, open func(ssl.Config) (ssl.Learner, error)) (found []ssl.Measure, nets *sdrnet.Net) {
	cfg := c.cfg
	cfg.Backbone, cfg.Heads, cfg.Size, cfg.Batch = c.backbone, c.heads, c.size, c.batch
	layout := nn.NewLayout(c.backbone, c.heads)
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(1, rng.Weights))
	nets, err := sdrnet.New(layout, sdrnet.Config{
		Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}, Shared: .5, IndividualHeads: true,
	}, params, cfg.State(params), cfg.Memory(rng.New(1, rng.Queue)))
	require.NoError(t, err)
	l, err := open(cfg)
	require.NoError(t, err)
	require.NoError(t, l.Load(nets, nil))
	n := 0
	var teachers *sdrnet.Net
	for phase, subnets := range c.phases {
		if phase > 0 {
			require.NoError(t, l.Sync())
			if cfg.Distill > 0 && (teachers == nil || cfg.Teacher == nil) {
				teachers = nets.Clone()
			}
			nets.Split()
			require.NoError(t, l.Load(nets, teachers))
		}
		for i, code := range subnets {
			c.show(l, n)
			n++
			deferred := cfg.Defers && phase > 0 && i != 2 && i+1 < len(subnets) // in phase 2, averages of 3 and 2 steps
			require.NoError(t, l.Submit(ssl.Step{Code: code, LR: c.lr, Defer: deferred, Number: n, Of: 12}))
			for ahead := cfg.Ahead; len(found) < n && (n-len(found) >= ahead || i+1 == len(subnets)); {
				m, err := l.Wait()
				require.NoError(t, err)
				found = append(found, m)
			}
		}
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.Close())
	return found, nets
}

// show gives a learner the views of a step, or what it makes them from.
func (c trial) show(l ssl.Learner, step int) {
	if sources, ok := l.Sources(); ok {
		c.views.draw(uint64(step), sources)
		return
	}
	if c.views != nil {
		copy(l.Views(), c.views.onCPU(uint64(step)))
		return
	}
	random := rng.New(uint64(step), rng.View)
	for j := range l.Views() {
		l.Views()[j] = float32(random.NormFloat64())
	}
}

// onCPU runs the trial on the CPU.
func (c trial) onCPU(t testing.TB, bf16 bool) ([]ssl.Measure, *sdrnet.Net) {
	pool := kernels.NewPool(2)
	defer pool.Close()
	return c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
		cfg.Precision = precisionOf(bf16)
		return ssl.Open(ssl.Device{}, cfg, pool)
	})
}

// agree compares a trial with the CPU's: the measures of each step with an absolute tolerance, and the final weights
// with a tolerance relative to how far they have moved.
func (c trial) agree(t testing.TB, want, got []ssl.Measure, wantNets, gotNets *sdrnet.Net, measure, weights float64) {
	require.Len(t, got, len(want))
	for i, w := range want {
		for what, pair := range map[string][2]float64{
			"loss": {w.Loss, got[i].Loss}, "ssl": {w.SSL, got[i].SSL}, "distill": {w.Distill, got[i].Distill}, "std": {w.Std, got[i].Std},
		} {
			require.InDelta(t, pair[0], pair[1], measure, "step %d: %s", i, what)
		}
	}
	layout := gotNets.Layout()
	begin := make([]float32, layout.NumParams)
	layout.Init(begin, rng.New(1, rng.Weights))
	for _, code := range []string{"", "0", "1", "1.0", "0.1", "1.1"} {
		a, b := make([]float32, layout.NumParams), make([]float32, layout.NumParams)
		wantNets.Gather(code, a)
		gotNets.Gather(code, b)
		var way, off float64
		for i := range a {
			way += math.Pow(float64(a[i]-begin[i]), 2)
			off += math.Pow(float64(a[i]-b[i]), 2)
		}
		require.Less(t, math.Sqrt(off/way), weights, "sub-net %q", code)
	}
	for i, v := range wantNets.State() {
		require.Equal(t, v.Name, gotNets.State()[i].Name)
		var size, off float64
		for j, w := range v.Values {
			size += math.Pow(float64(w), 2)
			off += math.Pow(float64(w-gotNets.State()[i].Values[j]), 2)
		}
		require.LessOrEqual(t, math.Sqrt(off), 10*weights*math.Sqrt(size)+1e-12, v.Name)
	}
}

// preferred has cuDNN compute all convolutions by the algorithm that fake.perf lists first.
func preferred() *kernels.Tuning {
	var names []string
	for _, mathType := range []int32{dnnFMAMath, dnnTensorOpMath} { // in float32, in bfloat16
		names = append(names, algorithm{id: 2, mathType: mathType, workspace: 1000}.String())
	}
	return kernels.Prefer(names...)
}

// TestLearnerOnFake compares trainings on the simulated GPU with the CPU's. The kernels are a GPU's, compiled for the
// CPU; convolutions and products are computed according to the descriptors for cuDNN and cublasLt.
func TestLearnerOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, c := range trials() {
		t.Run(c.name, func(t *testing.T) { c.onFake(t, ssl.Device{Tuning: preferred()}, "algorithm 2", "algorithm 1") })
	}
}

// TestPlansOnFake trains with plans of cuDNN's graph interface.
func TestPlansOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	name := "cuDNN engine 1 2=5 13=1"
	trials()[0].onFake(t, ssl.Device{Tuning: kernels.Prefer(name)}, name, "algorithm 2")
}

// TestDeterministicOnFake trains a small batch with the kernels of conv.cu and with cuDNN's deterministic algorithm,
// which the net with more channels needs.
func TestDeterministicOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := trials()[0]
	c.batch, c.lr, c.phases = 4, 1e-4, [][]string{{"", ""}, {"1"}, {"0.1"}}
	c.onFake(t, ssl.Device{Deterministic: true}, "conv_data_64x8", "algorithm 1")
	c.backbone.Width = 16
	c.onFake(t, ssl.Device{Deterministic: true}, "algorithm 1", "algorithm 2")
}

// onFake compares the trial on the simulated GPU with the CPU's.
func (c trial) onFake(t *testing.T, d ssl.Device, used, unused string) {
	want, wantNets := c.onCPU(t, false)
	f := newFake(t, ssl.FP32)
	got, gotNets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) { return (&gpus{f.load}).Open(d, cfg) })
	c.agree(t, want, got, wantNets, gotNets, 1e-2, 0.3)
	f.closed()
	require.Positive(t, f.calls["cuGraphLaunch"])
	require.Positive(t, f.calls[used])
	require.Zero(t, f.calls[unused])
}

// TestViewsOnFake compares a training whose views the simulated GPU makes with the CPU's and, bit by bit, with one on the
// simulated GPU whose views the CPU makes.
func TestViewsOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := watching()
	want, wantNets := c.onCPU(t, false)
	train := func(views *ssl.Views, run string) ([]ssl.Measure, *sdrnet.Net) {
		f := newFake(t, ssl.FP32)
		found, nets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
			cfg.Views = views
			return (&gpus{f.load}).Open(ssl.Device{Tuning: preferred()}, cfg)
		})
		f.closed()
		steps := 0
		for _, subnets := range c.phases {
			steps += len(subnets)
		}
		require.Equal(t, steps, f.calls[run])
		require.Positive(t, f.calls["cuGraphLaunch"])
		return found, nets
	}
	got, gotNets := train(c.views.views(), "views")
	c.agree(t, want, got, wantNets, gotNets, 1e-2, 0.3)
	again, againNets := train(nil, "convert")
	requireSame(t, again, got, againNets, gotNets)
}

// inPairs are phases whose steps a GPU can compute side by side, up to three of them.
var inPairs = [][]string{{""}, {"0", "1", "", "0", "1"}, {"1.0", "0.1", "", "0.1", "1.1"}}

// TestAheadOnFake submits several steps before it waits for the first: those whose sub-nets allow it run at the same time. The
// measures and the weights are, bit by bit, those of one step after the other, however the streams take turns, and also if there
// is memory for fewer.
func TestAheadOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	taught := trials()[1]
	taught.name, taught.cfg.Teacher = "taught", &ssl.EMA{Base: 0.6, Final: 0.6}
	for _, c := range append(trials(), taught) {
		if c.backbone.Arch != "resnet18" {
			continue // slow
		}
		c.batch, c.phases = 4, inPairs
		train := func(ahead int, free uint64) ([]ssl.Measure, *sdrnet.Net, *fake) {
			f := newFake(t, ssl.FP32)
			f.freeBytes, c.cfg.Ahead = free, ahead
			found, nets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
				return (&gpus{f.load}).Open(ssl.Device{Tuning: preferred()}, cfg)
			})
			f.closed()
			return found, nets, f
		}
		want, wantNets, f := train(0, 1<<30)
		require.Equal(t, 1, f.most)
		require.Zero(t, f.calls["cuStreamWaitEvent"])
		for _, at := range []struct {
			ahead, streams int
			free           uint64
		}{{2, 2, 1 << 30}, {4, 3, 1 << 30}, {4, 3, 18 << 20}} {
			if !c.cfg.Defers || c.cfg.Loss.Target != nil || c.cfg.Teacher != nil { // which move with every step
				at.streams = 1
			}
			got, nets, f := train(at.ahead, at.free)
			require.Equal(t, at.streams, f.most, "%s, %d ahead, %d bytes", c.name, at.ahead, at.free)
			require.Equal(t, at.streams > 1, f.calls["cuStreamWaitEvent"] > 0)
			require.Equal(t, at.streams > 1 && at.free < 1<<30, f.calls["out of memory"] > 0)
			requireSame(t, want, got, wantNets, nets)
		}
	}
}

// TestTrackFor checks that steps run side by side across updates of the shared weights, except those that depend on each other.
func TestTrackFor(t *testing.T) {
	const most = 4
	var l *learner
	reset := func(defers bool) {
		l = &learner{cfg: ssl.Config{Defers: defers}, most: most}
		for range most {
			l.tracks = append(l.tracks, &track{})
		}
	}
	submit := func(code string, deferred bool) int {
		if len(l.ahead) == most { // as the trainer waits
			l.ahead = l.ahead[1:]
		}
		tr, err := l.trackFor(ssl.Step{Code: code, Defer: deferred})
		require.NoError(t, err)
		l.ahead = append(l.ahead, &entry{Step: ssl.Step{Code: code, Defer: deferred}, track: tr})
		return slices.Index(l.tracks, tr)
	}
	reset(true)
	for range 3 {
		on := []int{submit("0", true), submit("1", true), submit("2", true), submit("", false)}
		slices.Sort(on)
		require.Equal(t, []int{0, 1, 2, 3}, on)
	}
	reset(true)
	first := submit("0.1", true)
	require.NotEqual(t, first, submit("1.2", true))
	require.Equal(t, first, submit("2.1", true), "has a group in common")
	reset(false)
	for range 3 {
		require.Equal(t, 0, submit("", false), "each step depends on the last one")
	}
}

// requireSame compares two trainings bit by bit.
func requireSame(t *testing.T, want, got []ssl.Measure, wantNets, gotNets *sdrnet.Net) {
	t.Helper()
	for i, m := range got {
		m.Busy, want[i].Busy = 0, 0
		m.Memory, want[i].Memory = 0, 0
		require.Equal(t, want[i], m)
	}
	for i, v := range gotNets.State() {
		require.Equal(t, wantNets.State()[i].Values, v.Values, v.Name)
	}
}

// watching is a trial whose views show images.
func watching() trial {
	c := trials()[0]
	c.lr = 1e-4 // images are not as different as noise
	c.views = &viewCase{c.size, 16, c.batch, [2][]augment.Operation{loud(), augment.SimSiam(64)}, 4}
	return c
}

// TestDeferAllOnFake leaves the shared weights as they are, bit by bit, in steps of which none ends the deferral.
func TestDeferAllOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	backbone := nn.Backbone{Arch: "resnet18", Stem: "small", Width: 8}
	layout := nn.NewLayout(backbone, byolHeads)
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(1, rng.Weights))
	cfg := ssl.Config{
		Backbone: backbone, Heads: byolHeads, Size: 12, Batch: 4, Loss: byolLoss, Defers: true,
		Optimizer: optim.SGD{Momentum: 0.9, WeightDecay: 5e-4},
	}
	nets, err := sdrnet.New(layout, sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{2}, Shared: .5}, params, cfg.State(params), nil)
	require.NoError(t, err)
	nets.Split()
	f := newFake(t, ssl.FP32)
	l, err := (&gpus{f.load}).Open(ssl.Device{Tuning: preferred()}, cfg)
	require.NoError(t, err)
	require.NoError(t, l.Load(nets, nil))
	random := rng.New(1, rng.View)
	for step := range 3 {
		for i := range l.Views() {
			l.Views()[i] = float32(random.NormFloat64())
		}
		require.NoError(t, l.Submit(ssl.Step{Code: "0", LR: .01, Defer: true, Number: step + 1, Of: 3}))
		_, err := l.Wait()
		require.NoError(t, err)
	}
	require.NoError(t, l.Sync())
	require.NoError(t, l.Close())
	f.closed()
	got := make([]float32, layout.NumParams)
	nets.Gather("", got)
	require.Equal(t, params, got, "the root")
	nets.Gather("0", got)
	require.NotEqual(t, params, got)
	for _, s := range nets.Individual(0) {
		copy(s.Of(got), s.Of(params))
	}
	require.Equal(t, params, got)
}

// keeper keeps the teachers that a learner was given.
type keeper struct {
	ssl.Learner
	teachers *sdrnet.Net
}

func (k *keeper) Load(nets, teachers *sdrnet.Net) error {
	k.teachers = teachers
	return k.Learner.Load(nets, teachers)
}

// TestTeacherOnFake compares trainings with an average of the root as teacher, which steps of sub-nets do not move.
func TestTeacherOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	pool := kernels.NewPool(2)
	defer pool.Close()
	c := trials()[0]
	c.cfg.Teacher = &ssl.EMA{Base: 0.6, Final: 0.6}
	train := func(d ssl.Driver) ([]ssl.Measure, *sdrnet.Net, []float32) {
		k := &keeper{}
		m, nets := c.run(t, func(cfg ssl.Config) (_ ssl.Learner, err error) {
			if d == nil {
				k.Learner, err = ssl.Open(ssl.Device{}, cfg, pool)
			} else {
				k.Learner, err = d.Open(ssl.Device{Tuning: preferred()}, cfg)
			}
			return k, err
		})
		return m, nets, k.teachers.State()[0].Values
	}
	want, wantNets, wantTeacher := train(nil)
	got, gotNets, gotTeacher := train(&gpus{newFake(t, ssl.FP32).load})
	c.agree(t, want, got, wantNets, gotNets, 1e-2, 0.3)
	c.phases = c.phases[:1]
	_, begin := c.onCPU(t, false)
	var way, off float64
	for i, w := range begin.State()[0].Values {
		way += math.Pow(float64(wantTeacher[i]-w), 2)
		off += math.Pow(float64(wantTeacher[i]-gotTeacher[i]), 2)
	}
	require.Positive(t, way)
	require.Less(t, math.Sqrt(off/way), 0.3)
}

// TestGradientOnFake compares each parameter's gradient with the CPU's after one step. The error is below 0.001 unless
// a value close to 0 falls on the other side of a ReLU, which changes a gradient by about the tolerance. Of a shift that the
// next BatchNorm takes away, the gradient is rounding errors, small next to the whole gradient.
func TestGradientOnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, c := range trials() {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Optimizer = optim.SGD{} // whose velocity is the gradient
			c.phases = [][]string{{""}}
			_, want := c.onCPU(t, false)
			_, got := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
				return (&gpus{newFake(t, ssl.FP32).load}).Open(ssl.Device{Tuning: preferred()}, cfg)
			})
			whole := 0.
			for _, w := range want.State()[1].Values {
				whole += float64(w * w)
			}
			for _, p := range want.Layout().Params {
				var size, off float64
				for i := p.Offset; i < p.Offset+p.Size; i++ {
					w, g := want.State()[1].Values[i], got.State()[1].Values[i]
					size, off = size+float64(w*w), off+float64((w-g)*(w-g))
				}
				require.LessOrEqual(t, math.Sqrt(off), 1e-2*math.Sqrt(size)+1e-5*math.Sqrt(whole), p.Name)
			}
		})
	}
}

// TestBF16OnFake does the same as TestLearnerOnFake in bfloat16, with a tolerance for a few roundings.
func TestBF16OnFake(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	for _, c := range trials() {
		if !slices.Contains([]string{"simsiam", "ntxent", "moco", "swav"}, c.name) {
			continue // one trial per term
		}
		t.Run(c.name, func(t *testing.T) {
			want, wantNets := c.onCPU(t, false)
			f := newFake(t, ssl.BF16)
			got, gotNets := c.run(t, func(cfg ssl.Config) (ssl.Learner, error) {
				cfg.Precision = ssl.BF16
				return (&gpus{f.load}).Open(ssl.Device{Tuning: preferred()}, cfg)
			})
			c.agree(t, want, got, wantNets, gotNets, 0.1, 2)
		})
	}
}

// load is gpus.load.
func (f *fake) load(string) (*api, error) { return f.api(), nil }

// TestOutOfMemory exceeds the memory limit: the error says which batch would fit, and that batch does fit.
func TestOutOfMemory(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	c := trials()[0]
	cfg := c.cfg
	cfg.Backbone, cfg.Heads, cfg.Size, cfg.Batch = c.backbone, c.heads, c.size, 512
	f := newFake(t, ssl.FP32)
	_, err := (&gpus{f.load}).Open(ssl.Device{Memory: 24 << 20}, cfg)
	require.ErrorIs(t, err, ssl.ErrOutOfMemory)
	require.Empty(t, f.blocks)
	var each string
	var fits, asked int
	text := err.Error()
	_, scanErr := fmt.Sscanf(text[strings.LastIndex(text, "; activations take"):], "; activations take %s KiB per image: a batch of about %d would fit instead of %d", &each, &fits, &asked)
	require.NoError(t, scanErr, text)
	require.Equal(t, 512, asked)
	require.Greater(t, fits, 16, text)
	cfg.Batch = fits
	l, err := (&gpus{f.load}).Open(ssl.Device{Memory: 24 << 20}, cfg)
	require.NoError(t, err)
	require.NoError(t, l.Close())
}

// TestExamine checks that Examine finds nothing wrong with the fake.
func TestExamine(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	loads, examined := 0, 0
	for _, found := range (&gpus{func(string) (*api, error) {
		loads++
		return newFake(t, []ssl.Precision{ssl.FP32, ssl.TF32, ssl.BF16}[(loads-1)/2]).api(), nil // for operations and for steps, in float32, TF32 and then bfloat16
	}}).Examine(ssl.Device{Tuning: preferred()}) {
		if strings.Contains(found.What, " in ") {
			require.NoError(t, found.Err, found.What)
			examined++
		}
	}
	require.Equal(t, 13, examined)
}

// TestOldGPU refuses a GPU that lacks the kernels' instructions before anything is compiled.
func TestOldGPU(t *testing.T) {
	f := newFake(t, ssl.FP32)
	f.major = 7
	require.ErrorContains(t, (&gpus{f.load}).Check(ssl.Device{}), "compute capability 7.0, but 8.0 or newer")
	_, err := (&gpus{f.load}).OpenExtractor(ssl.Device{}, trials()[0].backbone, nn.Heads{}, 8, 2)
	require.ErrorContains(t, err, "--device cpu")
	require.Empty(t, f.blocks)
}
