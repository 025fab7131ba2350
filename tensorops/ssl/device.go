package ssl

import (
	"errors"
	"fmt"
	"log/slog"

	"github.com/sdr-ml/sdr/tensorops/kernels"
)

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

// ErrOutOfMemory is what errors.Is finds in an error that says that a device's memory, or the limit of it, is too small.
var ErrOutOfMemory = errors.New("out of memory")

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
		return newCPU(c, pool)
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
