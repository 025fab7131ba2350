// Package ssl takes the optimizer steps of self-supervised pre-training: one sub-net of an SDRnet on one batch of views,
// with the loss of a method and SiamKD from a frozen teacher beside it. A Method says what its loss is in terms of what
// every device computes; a Learner computes it, on the CPU or on another device whose driver the program imports.
//
//	l, err := ssl.Open(ssl.Device{Name: ssl.Auto}, cfg, pool)
//	l.Load(nets, nil)
//	for n := 1; n <= steps; n++ {
//		... // two views of every image into l.Views()
//		l.Submit(ssl.Step{LR: lr, Number: n, Of: steps})
//		m, err := l.Wait()
//	}
//	l.Sync() // the weights are in nets
package ssl

import (
	"time"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/optim"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
)

// Config says what a step computes.
type Config struct {
	Backbone nn.Backbone
	Heads    nn.Heads
	// Size is the height and width of a view in pixels.
	Size int
	// Batch is the number of images per step, each seen as two views.
	Batch int
	// Loss is that of the method.
	Loss Loss
	// Distill is lambda, the weight of SiamKD (arXiv 2205.13267) where there are teachers. It needs a predictor.
	Distill float64
	// BF16 lets the operands of products be rounded to bfloat16; on a GPU activations are, too.
	BF16 bool
	// Optimizer updates the weights.
	Optimizer optim.Optimizer
}

// State is what an SDRnet of the given weights keeps beside them at first, for sdrnet.New: the vectors of the optimizer
// and, for a loss with a target network, a last one with the target's weights.
func (c Config) State(params []float32) []float32 {
	state := make([]float32, c.Optimizer.Vectors()*len(params))
	if c.Loss.Target != nil {
		state = append(state, params...)
	}
	return state
}

// Step says which sub-net a step trains, and when in the course of the training.
type Step struct {
	// Code is the sub-net's. Its teacher is the node above it: its code without the last digit.
	Code string
	// LR is the learning rate.
	LR float32
	// Number counts the steps of the training from 1 to Of.
	Number, Of int
}

// Measure is what a step found, before its update.
type Measure struct {
	// Loss is SSL + Config.Distill · Distill.
	Loss float64
	// SSL is the loss of the method.
	SSL float64
	// Distill is that of SiamKD; 0 without teachers.
	Distill float64
	// Std is nn.Collapse's figure for the projections of the batch.
	Std float64
	// Busy is how long the device computed.
	Busy time.Duration
}

// Learner takes steps. It is for one goroutine at a time.
type Learner interface {
	// Views is where the views of the next step are to be put, [2·Batch, Size, Size, 3]: the first view of every image,
	// then the second ones. Submit makes it another slice or does not return before it has read it, so that the views
	// of the next step can be made while the device computes.
	Views() []float32
	// Load transfers the weights of nets, and what is kept beside them, to the learner: call Sync before reading them.
	// The teachers of the sub-nets are in teachers, which stay as they are; nil for none.
	Load(nets, teachers *sdrnet.Net) error
	// Submit begins a step on the views: it updates the sub-net by the gradient of the loss. There is one Wait for
	// each Submit.
	Submit(s Step) error
	// Wait waits until the step is done and returns what it found.
	Wait() (Measure, error)
	// Sync brings nets up to date.
	Sync() error
	// Close gives back what the device lent.
	Close() error
}

// Parent is the code of the node above a code; that of the root is its own.
func Parent(code string) string { return code[:max(len(code)-1, 0)] }
