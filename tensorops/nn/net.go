package nn

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
)

// Mode says what a Net is for: Train or Inference, optionally combined with BF16.
type Mode int

const (
	Inference Mode = 0      // forward passes only, with less memory
	Train     Mode = 1 << 0 // forward and backward passes
	BF16      Mode = 1 << 1 // products may round their operands to bfloat16, see kernels.BF16
)

func (m Mode) trains() bool { return m&Train != 0 }

func (m Mode) precision() kernels.Precision {
	if m&BF16 != 0 {
		return kernels.BF16
	}
	return kernels.FP32
}

// Net runs forward and backward passes on batches of one fixed size. New allocates all memory, with the values of a
// step in one arena; the passes allocate nothing. A Net must not be used by two goroutines at once.
//
// Params, Stats and Grads are flat vectors in the order of Layout. Between passes they may be replaced by others of the
// same length, so that one Net can run many sets of weights.
type Net struct {
	Backbone Backbone
	Heads    Heads
	Layout   *Layout
	Params   []float32 // read by Forward and Backward
	Stats    []float32 // BatchNorm's running statistics
	Grads    []float32 // overwritten by Backward; nil in Inference mode

	Features []float32 // [batch, FeatureDim] of the last Forward
	Z        []float32 // [batch, ProjectorDim] the projector's output or [batch, Classes] the classifier's; else the features
	P        []float32 // [batch, ProjectorDim] the predictor's output; Z without a predictor

	Maps []Map // of a network made by NewMaps, which has no other output: the outputs of its last stages

	size      int
	mode      Mode
	pool      *kernels.Pool
	bn        BNMode // of the current pass
	graph     *Graph[[]float32]
	forwarded bool    // whether the last pass was a Forward
	norms     []*norm // all BatchNorms, in the order of Layout.Stats
}

// New returns a network for batches of square images of size pixels. The batch consists of one equal part per view (the
// first views of all images, then the second, ...); BatchNorm computes the statistics of each part separately, as
// separate passes would. Params start as zeros (see Layout.Init), Stats as Layout.InitStats sets them. New panics on
// invalid arguments; check them with Validate of Backbone and Heads.
func New(b Backbone, h Heads, size, batch, views int, p *kernels.Pool, mode Mode) *Net {
	return newNet(b, h, size, batch, views, p, mode, 1)
}

// Part returns a network like n, whose mode is Inference, for batches of the given number of images, which divides that of
// n. What it computes for an image with running statistics is the same as n does, to the bit.
func (n *Net) Part(batch int) *Net {
	return newNet(n.Backbone, n.Heads, n.size, batch, n.graph.views, n.pool, n.mode, n.graph.batch/batch)
}

func newNet(b Backbone, h Heads, size, batch, views int, p *kernels.Pool, mode Mode, part int) *Net {
	n := &Net{Backbone: b, Heads: h, size: size, mode: mode, pool: p}
	n.graph = NewGraph(b, h, size, batch, views, mode.trains(), &cpu{n, part})
	n.Features, n.Z, n.P = n.graph.Features, n.graph.Z, n.graph.P
	n.allocate()
	return n
}

// allocate makes the flat vectors.
func (n *Net) allocate() {
	n.Layout = n.graph.Layout
	n.Params, n.Stats = make([]float32, n.Layout.NumParams), make([]float32, n.Layout.NumStats)
	n.Layout.InitStats(n.Stats)
	if n.mode.trains() {
		n.Grads = make([]float32, n.Layout.NumParams)
	}
}

// Forward computes Features, Z and P for images [batch, size, size, 3]. The images must not change until Backward
// returns.
func (n *Net) Forward(images []float32, mode BNMode) { n.ForwardFrom(Stem, images, mode) }

// ForwardFrom is Forward where only what belongs to the part from and later ones is computed: the last pass must have had
// the same images, mode and weights before that part (see Layout.FirstChange). Train mode must begin at the stem.
func (n *Net) ForwardFrom(from Part, images []float32, mode BNMode) {
	if from > Stem && n.mode.trains() {
		panic("nn: Net.ForwardFrom a later part in Train mode; create the network for Inference")
	}
	mustLen("Net.Forward: images", len(images), n.graph.batch*n.size*n.size*3)
	mustLen("Net.Forward: Params", len(n.Params), n.Layout.NumParams)
	mustLen("Net.Forward: Stats", len(n.Stats), n.Layout.NumStats)
	n.bn = mode
	n.graph.ForwardFrom(from, images)
	n.forwarded = true
}

// Backward overwrites Grads with the gradient of a loss whose gradients with respect to Z and P are dZ and dP, of their
// shapes. Either may be nil for zeros; dP must be nil without a predictor. Without heads, dZ is the gradient of
// the features. Backward consumes the activations of the last Forward, so call it once per Forward, with the same
// Params.
func (n *Net) Backward(dZ, dP []float32) {
	n.checkBackward(dZ, dP)
	n.forwarded = false
	given := func(gradient *[]float32) *[]float32 {
		if *gradient == nil {
			return nil
		}
		return gradient
	}
	n.graph.Backward(given(&dZ), given(&dP))
}

func (n *Net) checkBackward(dZ, dP []float32) {
	switch {
	case !n.mode.trains():
		panic("nn: Net.Backward of a network in Inference mode; create it with Train")
	case dZ == nil && dP == nil:
		panic("nn: Net.Backward without a gradient; pass dZ, dP or both")
	case dP != nil && n.Heads.PredictorHidden == 0:
		panic("nn: Net.Backward: dP without a predictor; set Heads.PredictorHidden or pass dZ")
	case !n.forwarded:
		panic("nn: Net.Backward without a preceding Forward; call Forward before each Backward")
	}
	mustLen("Net.Backward: Params", len(n.Params), n.Layout.NumParams)
	mustLen("Net.Backward: Grads", len(n.Grads), n.Layout.NumParams)
	if dP != nil {
		mustLen("Net.Backward: dP", len(dP), len(n.P))
	}
	if dZ != nil {
		mustLen("Net.Backward: dZ", len(dZ), len(n.Z))
	}
}
