package ssl_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/rng"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

var (
	backbone = nn.Backbone{Arch: "resnet18", Stem: "small", Width: 4}
	heads    = nn.Heads{ProjectorHidden: 12, ProjectorDim: 8, ProjectorLayers: 2, ProjectorBN: true, PredictorHidden: 6}
)

// TestStep compares a step of a sub-net that its parent teaches with the same step computed by hand.
func TestStep(t *testing.T) {
	const size, batch, lambda, temperature, lr = 8, 3, 0.25, 0.5, 0.1
	pool := kernels.NewPool(1)
	defer pool.Close()
	sgd := optim.SGD{Momentum: 0.9}
	for _, method := range []string{"simsiam", "ntxent"} {
		layout := nn.NewLayout(backbone, heads)
		params := make([]float32, layout.NumParams)
		layout.Init(params, rng.New(1, rng.Weights))
		nets, err := sdrnet.New(layout, sdrnet.Config{Stages: [][]int{{4}}, Branching: []int{2}, Shared: .5}, params, make([]float32, len(params)), nil)
		require.NoError(t, err)
		teachers := nets.Clone()
		nets.Split()
		cfg := ssl.Config{
			Backbone: backbone, Heads: heads, Size: size, Batch: batch, Distill: lambda, Optimizer: sgd,
			Loss: ssl.Lookup(method).Loss(ssl.Values{"temperature": temperature}),
		}
		l, err := ssl.Open(ssl.Device{}, cfg, pool)
		require.NoError(t, err)
		require.NoError(t, l.Load(nets, teachers))
		require.Len(t, l.Views(), 2*batch*size*size*3)
		random := rng.New(2, rng.View)
		for i := range l.Views() {
			l.Views()[i] = float32(random.NormFloat64())
		}
		require.NoError(t, l.Submit(ssl.Step{Code: "1", LR: lr, Number: 1, Of: 1}))
		got, err := l.Wait()
		require.NoError(t, err)
		require.NoError(t, l.Sync())
		require.NoError(t, l.Close())

		net := nn.New(backbone, heads, size, 2*batch, 2, pool, nn.Train)
		copy(net.Params, params)
		net.Forward(l.Views(), nn.BatchStats)
		dz, dp := make([]float32, len(net.Z)), make([]float32, len(net.P))
		cosine := nn.NewNegCosine(2*batch, heads.ProjectorDim, pool)
		want := ssl.Measure{Std: nn.NewCollapse(heads.ProjectorDim).Std(net.Z)}
		want.Distill = cosine.Loss(net.P, net.Z, dp, lambda) // student and parent are still equal
		if method == "simsiam" {
			want.SSL = cosine.Loss(net.P, net.Z, dp, 1)
			dz = nil
		} else {
			want.SSL = nn.NewNTXent(2*batch, heads.ProjectorDim, temperature, pool).Loss(net.Z, dz, 1)
		}
		want.Loss = want.SSL + lambda*want.Distill
		net.Backward(dz, dp)
		sgd.Step(net.Params, net.Grads, make([]float32, len(params)), lr)
		require.InDelta(t, want.Loss, got.Loss, 1e-6)
		require.InDelta(t, want.Distill, got.Distill, 1e-6)
		require.InDelta(t, want.Std, got.Std, 1e-6)
		trained := make([]float32, len(params))
		nets.Gather("1", trained)
		require.InDeltaSlice(t, net.Params, trained, 1e-5)
	}
}

// TestGroupLR compares a step with GroupLR with steps at either rate: a sub-net's individual weights move as at the
// higher rate, and all others, among them the root's own, as at the lower one.
func TestGroupLR(t *testing.T) {
	const size, batch, factor = 8, 3, 3
	pool := kernels.NewPool(1)
	defer pool.Close()
	layout := nn.NewLayout(backbone, heads)
	var tensors []optim.Tensor
	for _, p := range layout.Params {
		tensors = append(tensors, optim.Tensor{Size: p.Size, Adapt: p.Kind == nn.ConvWeight})
	}
	for name, o := range map[string]optim.Optimizer{
		"sgd":   optim.SGD{Momentum: 0.9, WeightDecay: 0.01, Nesterov: true},
		"lars":  optim.NewLARS(optim.SGD{Momentum: 0.9, WeightDecay: 0.01}, 0.01, tensors),
		"adamw": optim.AdamW{Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-4, WeightDecay: 0.1},
	} {
		// step returns the state after a step of a sub-net in which one of two levels has split.
		step := func(code string, lr float32, groupLR float64) []sdrnet.Vector {
			params, state := make([]float32, layout.NumParams), make([]float32, o.Vectors()*layout.NumParams)
			layout.Init(params, rng.New(1, rng.Weights))
			for i := range state {
				state[i] = 1e-3 * float32(i%7)
			}
			nets, err := sdrnet.New(layout, sdrnet.Config{
				Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}, Shared: .5, IndividualHeads: true,
			}, params, state, nil)
			require.NoError(t, err)
			nets.Split()
			l, err := ssl.Open(ssl.Device{}, ssl.Config{
				Backbone: backbone, Heads: heads, Size: size, Batch: batch, Optimizer: o, GroupLR: groupLR,
				Loss: ssl.Lookup("simsiam").Loss(nil),
			}, pool)
			require.NoError(t, err)
			require.NoError(t, l.Load(nets, nil))
			random := rng.New(2, rng.View)
			for i := range l.Views() {
				l.Views()[i] = float32(random.NormFloat64())
			}
			require.NoError(t, l.Submit(ssl.Step{Code: code, LR: lr, Number: 2, Of: 9}))
			_, err = l.Wait()
			require.NoError(t, err)
			require.NoError(t, l.Close())
			return nets.State()
		}
		slow := step("1", 0.01, 0)
		fast := step("1", factor*float32(0.01), 1)
		got := step("1", 0.01, factor)
		for i, v := range got {
			want := slow[i]
			if v.Level == 0 {
				want = fast[i]
				require.Equal(t, v.Kind == sdrnet.Weights && v.Choice == 1, !slices.Equal(slow[i].Values, fast[i].Values), v.Name)
			}
			require.Equal(t, want, v, "%s: %s", name, v.Name)
		}
		slow = step("", 0.01, 0)
		got = step("", 0.01, factor)
		require.Equal(t, slow, got, name)
	}
}

// TestDefer compares steps that defer with updates computed by hand, in which each owner of weights has a full copy of
// which only its own elements count: a sub-net's move in each of its steps, and the shared ones once, by the average of
// the gradients.
func TestDefer(t *testing.T) {
	const size, batch, lr = 8, 3, 0.05
	pool := kernels.NewPool(1)
	defer pool.Close()
	layout := nn.NewLayout(backbone, heads)
	for name, o := range map[string]optim.Optimizer{
		"sgd":   optim.SGD{Momentum: 0.9, WeightDecay: 0.01},
		"adamw": optim.AdamW{Beta1: 0.9, Beta2: 0.99, Epsilon: 1e-2, WeightDecay: 0.1},
	} {
		params := make([]float32, layout.NumParams)
		layout.Init(params, rng.New(1, rng.Weights))
		nets, err := sdrnet.New(layout, sdrnet.Config{
			Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}, Shared: .5, IndividualHeads: true,
		}, params, make([]float32, o.Vectors()*len(params)), nil)
		require.NoError(t, err)
		nets.Split() // the second level stays shared
		l, err := ssl.Open(ssl.Device{}, ssl.Config{
			Backbone: backbone, Heads: heads, Size: size, Batch: batch, Optimizer: o, Defers: true, GroupLR: 2,
			Loss: ssl.Lookup("simsiam").Loss(nil),
		}, pool)
		require.NoError(t, err)
		require.NoError(t, l.Load(nets, nil))

		type copies struct{ params, state []float32 }
		owners := map[string]*copies{}
		for _, owner := range []string{"shared", "", "0", "1"} {
			owners[owner] = &copies{slices.Clone(params), make([]float32, o.Vectors()*len(params))}
		}
		net := func(code string) []float32 {
			p := slices.Clone(owners["shared"].params)
			for _, s := range nets.Individual(0) {
				copy(s.Of(p), s.Of(owners[code].params))
			}
			return p
		}
		sum, kept := make([]float32, len(params)), 0
		for n, code := range []string{"1", "0", "", "1", "", "0", "1"} {
			random := rng.New(uint64(n), rng.View)
			for i := range l.Views() {
				l.Views()[i] = float32(random.NormFloat64())
			}
			graph := nn.New(backbone, heads, size, 2*batch, 2, pool, nn.Train)
			copy(graph.Params, net(code))
			graph.Forward(l.Views(), nn.BatchStats)
			dp := make([]float32, len(graph.P))
			nn.NewNegCosine(2*batch, heads.ProjectorDim, pool).Loss(graph.P, graph.Z, dp, 1)
			graph.Backward(nil, dp)
			before := net(code)
			update := func(owner string, g []float32, lr float32) {
				c := owners[owner]
				c.params = slices.Clone(before)
				o.Update(c.params, g, c.state, lr, n+1)
			}
			rate := float32(lr)
			if code != "" {
				rate *= 2
			}
			update(code, graph.Grads, rate)
			for i, g := range graph.Grads {
				sum[i] += g
			}
			kept++
			deferred := n != 3 && n != 4 && n != 6 // averages of 4, 1 and 2 steps
			if !deferred {
				for i := range sum {
					sum[i] /= float32(kept)
				}
				update("shared", sum, lr)
				clear(sum)
				kept = 0
			}
			require.NoError(t, l.Submit(ssl.Step{Code: code, LR: lr, Defer: deferred, Number: n + 1, Of: 7}))
			_, err := l.Wait()
			require.NoError(t, err)
			for _, code := range []string{"", "0", "1"} {
				got := make([]float32, len(params))
				nets.Gather(code, got)
				require.InDeltaSlice(t, net(code), got, 1e-6, "%s, step %d: %q", name, n, code)
			}
		}
		require.NoError(t, l.Close())
	}
}

// TestEMATeacher checks that the average of the root teaches every sub-net, and moves after the root's steps only.
func TestEMATeacher(t *testing.T) {
	const size, batch, momentum = 8, 3, 0.75
	pool := kernels.NewPool(1)
	defer pool.Close()
	layout := nn.NewLayout(backbone, heads)
	params := make([]float32, layout.NumParams)
	layout.Init(params, rng.New(1, rng.Weights))
	nets, err := sdrnet.New(layout, sdrnet.Config{Stages: [][]int{{4}, {3}}, Branching: []int{2, 2}}, params, make([]float32, len(params)), nil)
	require.NoError(t, err)
	teachers := nets.Clone()
	nets.Split()
	nets.Split()
	l, err := ssl.Open(ssl.Device{}, ssl.Config{
		Backbone: backbone, Heads: heads, Size: size, Batch: batch, Distill: 0.5, Optimizer: optim.SGD{Momentum: 0.9},
		Loss: ssl.Lookup("simsiam").Loss(nil), Teacher: &ssl.EMA{Base: momentum, Final: momentum},
	}, pool)
	require.NoError(t, err)
	require.NoError(t, l.Load(nets, teachers))
	teacher, root := slices.Clone(params), make([]float32, len(params))
	for n, code := range []string{"", "0.1", "", "1", "0.1"} {
		random := rng.New(uint64(n), rng.View)
		for i := range l.Views() {
			l.Views()[i] = float32(random.NormFloat64())
		}
		student, average := nn.New(backbone, heads, size, 2*batch, 2, pool, nn.Train), nn.New(backbone, heads, size, 2*batch, 2, pool, nn.Train)
		nets.Gather(code, student.Params)
		copy(average.Params, teacher)
		student.Forward(l.Views(), nn.BatchStats)
		average.Forward(l.Views(), nn.BatchStats)
		want := nn.NewNegCosine(2*batch, heads.ProjectorDim, pool).Loss(student.P, average.Z, make([]float32, len(student.P)), 1)
		require.NoError(t, l.Submit(ssl.Step{Code: code, LR: 0.1, Number: n + 1, Of: 5}))
		m, err := l.Wait()
		require.NoError(t, err)
		require.InDelta(t, want, m.Distill, 1e-6)
		if code == "" {
			nets.Gather("", root)
			for i, w := range root {
				teacher[i] = momentum*teacher[i] + (1-momentum)*w
			}
		}
		require.Equal(t, teacher, teachers.State()[0].Values)
	}
	require.NoError(t, l.Close())
}

// unknown is a term that no device supports.
type unknown struct{}

func (unknown) String() string { return "a queue of keys" }

func TestUnsupportedTerm(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	cfg := ssl.Config{Backbone: backbone, Heads: heads, Size: 8, Batch: 2, Optimizer: optim.SGD{}, Loss: ssl.Loss{Terms: []ssl.Term{unknown{}}}}
	_, err := ssl.Open(ssl.Device{}, cfg, pool)
	require.EqualError(t, err, "ssl: device cpu does not support a queue of keys, which the method needs; train on another device")
}

// TestMethods checks what recipes rely on, for every method.
func TestMethods(t *testing.T) {
	require.Equal(t, []string{"byol", "moco", "ntxent", "simsiam", "swav"}, ssl.Methods())
	for _, name := range ssl.Methods() {
		m := ssl.Lookup(name)
		require.NotEmpty(t, m.Summary())
		v := ssl.Values{}
		for _, s := range m.Settings() {
			require.True(t, s.Min <= s.Default && s.Default <= s.Max, s.Name)
			v[s.Name] = s.Default
		}
		require.NoError(t, m.Heads(ssl.Sizes{Hidden: 8, Dim: 4, Predictor: 4}, v).Validate())
		require.NotEmpty(t, m.Loss(v).Terms)
	}
	require.Nil(t, ssl.Lookup("bayol"))
}

// TestMomentum checks the schedule of arXiv 2006.07733, section 3.3.
func TestMomentum(t *testing.T) {
	e := ssl.EMA{Base: 0.9, Final: 1}
	require.InDelta(t, 0.9, e.Momentum(1, 100), 1e-12)
	require.InDelta(t, 0.95, e.Momentum(51, 100), 1e-12)
	require.InDelta(t, 1, e.Momentum(100, 100), 1e-4)
	constant := ssl.EMA{Base: 0.999, Final: 0.999}
	for _, step := range []int{1, 33, 100} {
		require.Equal(t, 0.999, constant.Momentum(step, 100))
	}
}

// driver is a device that cannot be used.
type driver struct{ err error }

func (d driver) Check(ssl.Device) error                           { return d.err }
func (d driver) Examine(ssl.Device) []ssl.Finding                 { return []ssl.Finding{{What: "GPU", Err: d.err}} }
func (d driver) Open(ssl.Device, ssl.Config) (ssl.Learner, error) { return nil, d.err }
func (d driver) OpenVectors(ssl.Device) kernels.Vectors           { return nil }

func (d driver) OpenExtractor(ssl.Device, nn.Backbone, nn.Heads, int, int) (ssl.Extractor, error) {
	return nil, d.err
}

func TestDevices(t *testing.T) {
	pool := kernels.NewPool(1)
	defer pool.Close()
	cfg := ssl.Config{Backbone: backbone, Heads: heads, Size: 8, Batch: 2, Optimizer: optim.SGD{}}
	require.ErrorContains(t, ssl.Check(ssl.Device{Name: ssl.CUDA}), "built without the device cuda")
	require.ErrorContains(t, ssl.Check(ssl.Device{Name: "tpu"}), "want cpu, cuda or auto")
	_, err := ssl.Open(ssl.Device{Name: ssl.Auto}, cfg, pool)
	require.NoError(t, err)
	vectors, err := ssl.OpenVectors(ssl.Device{Name: ssl.Auto})
	require.NoError(t, err)
	require.Nil(t, vectors, "the CPU's threads search")
	_, err = ssl.OpenVectors(ssl.Device{Name: "tpu"})
	require.ErrorContains(t, err, "want cpu, cuda or auto")

	halved := cfg
	halved.Precision = "fp16"
	_, err = ssl.Open(ssl.Device{}, halved, pool)
	require.ErrorContains(t, err, `unknown precision "fp16"`)

	broken := errors.New("no GPU here")
	ssl.RegisterDriver(ssl.CUDA, driver{broken})
	require.ErrorIs(t, ssl.Check(ssl.Device{Name: ssl.CUDA}), broken)
	require.NoError(t, ssl.Check(ssl.Device{Name: ssl.Auto}))
	resolved, why := ssl.Resolve(ssl.Device{Name: ssl.Auto, Memory: 5})
	require.ErrorIs(t, why, broken)
	require.Equal(t, ssl.Device{Name: ssl.CPU, Memory: 5}, resolved)
	_, err = ssl.Open(ssl.Device{Name: ssl.CUDA}, cfg, pool)
	require.ErrorIs(t, err, broken)
	found, err := ssl.Examine(ssl.Device{Name: ssl.CUDA})
	require.NoError(t, err)
	require.Equal(t, []ssl.Finding{{What: "GPU", Err: broken}}, found)
	_, err = ssl.Open(ssl.Device{Name: ssl.Auto}, cfg, pool)
	require.NoError(t, err)
}
