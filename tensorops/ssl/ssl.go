// Package ssl takes the optimizer steps of self-supervised pre-training: one sub-net of an SDRnet on one batch of views,
// with the loss of a method, SimSiam or NT-Xent, and SiamKD from a frozen parent beside it. A Learner does so on the
// CPU or on another device whose driver the program imports.
//
//	l, err := ssl.Open(ssl.Device{Name: ssl.Auto}, cfg, pool)
//	l.Hold(nets, nil)
//	for n := 1; n <= steps; n++ {
//		... // two views of every image into l.Views()
//		m, err := l.Step("", lr, n)
//	}
//	l.Sync() // the weights are in nets
package ssl

import (
	"fmt"
	"log/slog"

	"github.com/sdr-ml/sdr/tensorops/kernels"
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
	// Batch is the number of images of a step, each seen as two views.
	Batch int
	// Temperature divides the similarities of NT-Xent (arXiv 2002.05709); 0 makes the method SimSiam
	// (arXiv 2011.10566), which needs a predictor.
	Temperature float64
	// Distill is lambda, the weight of SiamKD (arXiv 2205.13267) where there are teachers. It needs a predictor.
	Distill float64
	// BF16 lets the operands of products be rounded to bfloat16; on a GPU activations are, too.
	BF16 bool
	// Optimizer updates the weights.
	Optimizer optim.Optimizer
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
}

// Learner takes steps. It is for one goroutine at a time.
type Learner interface {
	// Views is where the views of the next step are to be put, [2·Batch, Size, Size, 3]: the first view of every image,
	// then the second ones.
	Views() []float32
	// Hold makes the weights of nets, and the state of their optimizer, those that steps change; until Sync they may
	// be out of date in nets. The parents of the sub-nets in teachers, which stay as they are, distil; nil is none.
	Hold(nets, teachers *sdrnet.Net) error
	// Step updates the sub-net of a code by its gradient on the views, with a learning rate. n counts the steps of the
	// optimizer from 1 on. The parent of a code is what its digits but the last name in teachers.
	Step(code string, lr float32, n int) (Measure, error)
	// Sync brings nets up to date.
	Sync() error
	// Close gives back what the device lent.
	Close() error
}

// The names of devices.
const (
	CPU  = "cpu"
	CUDA = "cuda" // by importing package cuda
	Auto = "auto" // CUDA where it works, else CPU
)

// Device says where to compute.
type Device struct {
	// Name is CPU, also if empty, CUDA or Auto.
	Name string
	// Memory is the limit of the device's memory that is used, in bytes; 0 is all.
	Memory int64
	// Libraries is a folder where the vendor's libraries are looked for first.
	Libraries string
	// Deterministic makes two runs on the same device give bitwise the same weights. On the CPU they always do.
	Deterministic bool
}

// Driver brings learners on devices of its kind.
type Driver interface {
	// Check tells why the device cannot be used; nil when it can.
	Check(d Device) error
	// Open returns a learner on the device.
	Open(d Device, c Config) (Learner, error)
	// Examine tells what the device needs and whether it is there, and whether the device computes what the CPU does.
	Examine(d Device) []Finding
}

// Finding is a line of what Examine found.
type Finding struct {
	// What was looked at.
	What string
	// Detail is what was found.
	Detail string
	// Err is what is wrong with it; nil for nothing.
	Err error
}

var drivers = map[string]Driver{}

// Register makes a driver known under a device's name. It is for init functions.
func Register(name string, d Driver) { drivers[name] = d }

// Check tells why a device cannot be used; nil when it can.
func Check(d Device) error {
	driver, err := d.driver()
	if driver == nil || err != nil {
		return err
	}
	return driver.Check(d)
}

// Open returns a learner on a device; the CPU's computes with the threads of the pool.
func Open(d Device, c Config, pool *kernels.Pool) (Learner, error) {
	driver, err := d.driver()
	if err != nil {
		return nil, err
	}
	if driver == nil {
		return newCPU(c, pool), nil
	}
	return driver.Open(d, c)
}

// Examine tells what a device needs, whether it is there and whether it works; nothing for the CPU.
func Examine(d Device) ([]Finding, error) {
	driver, err := d.driver()
	if driver == nil || err != nil {
		return nil, err
	}
	return driver.Examine(d), nil
}

// driver returns the driver of the device; nil for the CPU, which needs none.
func (d Device) driver() (Driver, error) {
	driver, ok := drivers[CUDA]
	switch d.Name {
	case "", CPU:
		return nil, nil
	case CUDA:
		if !ok {
			return nil, fmt.Errorf("ssl: this program was built without the device %s; "+
				"build it for Linux on amd64 or arm64, without the tag nocuda", d.Name)
		}
		return driver, nil
	case Auto:
		if !ok {
			return nil, nil
		}
		if err := driver.Check(d); err != nil {
			slog.Debug("training on the CPU", "cuda", err)
			return nil, nil
		}
		return driver, nil
	}
	return nil, fmt.Errorf("ssl: there is no device %q; want %s, %s or %s", d.Name, CPU, CUDA, Auto)
}
