// Package ssl runs the optimizer steps of self-supervised pre-training. A step trains one sub-net of an SDRnet on one
// batch of views, with a method's loss and, optionally, SiamKD from a frozen teacher. A Method defines its loss as a
// sum of primitives; a Learner computes them, on the CPU or on a device whose driver the program imports.
//
//	l, err := ssl.Open(ssl.Device{Name: ssl.Auto}, cfg, pool)
//	l.Load(nets, nil)
//	for n := 1; n <= steps; n++ {
//		... // write two views per image to l.Views(), or with Config.Views to l.Sources() what they are made of
//		l.Submit(ssl.Step{LR: lr, Number: n, Of: steps})
//		m, err := l.Wait()
//	}
//	l.Sync() // nets has the trained weights
package ssl

import (
	"math/rand/v2"
	"time"

	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// Precision is how precise the operands of matrix products are. Weights and sums are float32 in all of them.
type Precision string

// The precisions.
const (
	FP32 Precision = "fp32" // float32; also the empty Precision
	TF32 Precision = "tf32" // a GPU rounds convolutions' to 11 bits, as PyTorch does by default; a CPU takes float32
	BF16 Precision = "bf16" // bfloat16, in which a GPU also stores activations; a CPU takes it where that is faster
)

// Config defines a training step.
type Config struct {
	Backbone nn.Backbone
	Heads    nn.Heads
	// Size is the height and width of a view in pixels.
	Size int
	// Batch is the number of images per step, each seen as two views.
	Batch int
	// Loss is the method's loss.
	Loss Loss
	// Distill is lambda, the weight of SiamKD (arXiv 2205.13267), used if there are teachers. It needs a predictor.
	Distill float64
	// Teacher makes the root of the teachers the only one, for all sub-nets and for the root, and the exponential moving
	// average of the root. If nil, each sub-net has a teacher of its own, which is frozen.
	Teacher *EMA
	// Precision is that of the operands of matrix products.
	Precision Precision
	// Optimizer updates the weights.
	Optimizer optim.Optimizer
	// GroupLR multiplies the learning rate of the individual weights that a sub-net's code selects; 0 means 1.
	GroupLR float64
	// Defers says whether steps may set Step.Defer.
	Defers bool
	// Ahead is how many steps may be submitted before the first of them is waited for; 0 means 1. A GPU runs side by side
	// those that do not change each other's weights; see Step.Defer.
	Ahead int
	// Views, unless nil, lets the device make the views from images if it can: see Learner.Sources.
	Views *Views
}

// Views describes how a device is to make views.
type Views struct {
	// Size is the height and width of the images in pixels.
	Size int
	// Mean and Std normalize R, G and B, scaled to 0..1.
	Mean, Std [3]float32
	// Steps is the most steps that make a view.
	Steps int
}

// Sources are what a device makes the views of a step from.
type Sources struct {
	// Images are the batch's images, [Batch, Views.Size, Views.Size, 3].
	Images []uint8
	// Steps are those of each view, [2·Batch, Views.Steps], as drawn by augment.Worker.Fill: of the first view of every
	// image, then of the second ones. A list that is shorter ends with a zero Step.
	Steps []augment.Step
}

// Rates returns the learning rates of a step: that of shared weights and of the root's own ones, and that of a sub-net's
// individual weights.
func (c Config) Rates(s Step) (base, groups float32) {
	if c.GroupLR == 0 {
		return s.LR, s.LR
	}
	return s.LR, s.LR * float32(c.GroupLR)
}

// State returns the initial training state for sdrnet.New, given the weights: the optimizer's vectors and, if the loss
// has a target network, the target's weights as a last vector.
func (c Config) State(params []float32) []float32 {
	state := make([]float32, c.Optimizer.Vectors()*len(params))
	if c.Loss.Target != nil {
		state = append(state, params...)
	}
	return state
}

// Memory returns a sub-net's first memory for sdrnet.New: random keys if a term has a queue, else nothing.
func (c Config) Memory(r *rand.Rand) []float32 {
	for _, t := range c.Loss.Terms {
		if t, ok := t.(InfoNCE); ok {
			return nn.NewQueue(t.Queue, c.Heads.ProjectorDim, r)
		}
	}
	return nil
}

// TeacherOf returns the code of the net among the teachers that teaches a sub-net: the node above it, unless there is
// only one.
func (c Config) TeacherOf(code string) string {
	if c.Teacher != nil {
		return ""
	}
	return sdrnet.Parent(code)
}

// TeacherMomentum returns with how much momentum Teacher moves after a step: 1, which leaves it as it is, unless the step
// is one of the root.
func (c Config) TeacherMomentum(s Step) float32 {
	if s.Code != "" {
		return 1
	}
	return float32(c.Teacher.Momentum(s.Number, s.Of))
}

// Step selects the sub-net to train and says where in the training the step is.
type Step struct {
	// Code is the sub-net's code.
	Code string
	// LR is the learning rate.
	LR float32
	// Defer leaves the shared weights as they are: their gradient is averaged with those of the next steps, up to and
	// including the first one without Defer, which updates them. Individual weights, those of all levels that have split,
	// are updated at once; a code has a choice for each of these or none. LARS adapts the rate of a tensor that has both by
	// the gradient of the step, in which the average takes the place of the shared part once there is one.
	Defer bool
	// Number counts the steps of the training, from 1 to Of.
	Number, Of int
}

// Measure holds a step's metrics, computed before its update.
type Measure struct {
	// Loss is SSL + Config.Distill · Distill.
	Loss float64
	// SSL is the method's loss.
	SSL float64
	// Distill is the loss of SiamKD; 0 without teachers.
	Distill float64
	// Std is the collapse metric of the projections, see nn.Collapse.
	Std float64
	// Busy is the device's compute time.
	Busy time.Duration
	// Memory is how much of its own memory the device then held, in bytes; 0 for a CPU.
	Memory uint64
}

// Learner runs training steps. It must not be used by two goroutines at once.
type Learner interface {
	// Views returns the buffer for the next step's views, [2·Batch, Size, Size, 3]: the first view of every image, then
	// the second ones. Submit either switches to another buffer or returns only after reading this one, so that the
	// next views can be prepared while the device computes. It returns nil if Sources are to be written instead.
	Views() []float32
	// Sources returns the buffers for what the next step's views are made from, which Submit treats as Views' buffer, if
	// Config.Views is set and the device makes views; else ok is false. The views are the same, bit by bit.
	Sources() (s Sources, ok bool)
	// Load transfers all that nets hold to the learner; call Sync before reading it. It must not follow a step that
	// defers. It reads the sub-nets' teachers from teachers, which must not change; nil for none. With Config.Teacher,
	// they change by training, too.
	Load(nets, teachers *sdrnet.Net) error
	// Submit starts a step: it updates the sub-net by the loss gradient on the views. The result is that of steps one after
	// the other, however many are submitted before the first is waited for. Call Wait once for each Submit.
	Submit(s Step) error
	// Wait waits for the first step that was not waited for and returns its metrics.
	Wait() (Measure, error)
	// Sync copies back to nets and teachers all that training has changed. Like Load, it must not be called while a step
	// has not been waited for.
	Sync() error
	// Close releases the device's resources.
	Close() error
}
