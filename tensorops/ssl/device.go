package ssl

import (
	"errors"
	"fmt"
	"slices"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Device names.
const (
	CPU  = "cpu"
	CUDA = "cuda" // available if the program imports package cuda
	Auto = "auto" // CUDA if usable, else CPU
)

// Device selects where networks run.
type Device struct {
	// Name is CPU, CUDA or Auto; empty means CPU.
	Name string
	// Memory limits the device memory used, in bytes; 0 means no limit.
	Memory int64
	// Libraries is a folder searched first for the vendor's libraries.
	Libraries string
	// Deterministic makes runs on the same device produce bitwise identical weights. CPU runs always do.
	Deterministic bool
	// Tuning keeps the choices between algorithms that compute the same but round differently. Without it they are
	// measured anew each time. Open takes the thread pool's if this is nil. It does not travel with a DoFn.
	Tuning *kernels.Tuning `json:"-"`
}

// ErrOutOfMemory is what errors.Is finds in errors about too little device memory or too low a limit on it.
var ErrOutOfMemory = errors.New("out of memory")

// Driver opens learners on one kind of device.
type Driver interface {
	// Check returns why the device cannot be used, or nil.
	Check(d Device) error
	// Open returns a learner on the device.
	Open(d Device, c Config) (Learner, error)
	// OpenExtractor returns an extractor on the device; see the function OpenExtractor.
	OpenExtractor(d Device, b nn.Backbone, h nn.Heads, size, batch int) (Extractor, error)
	// OpenVectors returns what the device computes with vectors; see the function OpenVectors.
	OpenVectors(d Device) kernels.Vectors
	// Examine reports which requirements of the device are met and whether its results agree with the CPU's.
	Examine(d Device) []Finding
}

// Finding is one item of Examine's report.
type Finding struct {
	// What names the item examined.
	What string
	// Detail describes the result.
	Detail string
	// Err says what is wrong; nil if nothing is.
	Err error
}

var drivers = map[string]Driver{}

// RegisterDriver registers a driver under a device name. Call it from init.
func RegisterDriver(name string, d Driver) { drivers[name] = d }

// Check returns why a device cannot be used, or nil.
func Check(d Device) error {
	driver, err := d.driver()
	if driver == nil || err != nil {
		return err
	}
	return driver.Check(d)
}

// Open returns a learner on a device. The CPU learner runs on the thread pool.
func Open(d Device, c Config, pool *kernels.Pool) (Learner, error) {
	driver, err := d.driver()
	if err != nil {
		return nil, err
	}
	if !slices.Contains([]Precision{"", FP32, TF32, BF16}, c.Precision) {
		return nil, fmt.Errorf("ssl: unknown precision %q; want %s, %s or %s", c.Precision, FP32, TF32, BF16)
	}
	if driver == nil {
		return newCPU(c, pool)
	}
	if d.Tuning == nil {
		d.Tuning = pool.Tuning()
	}
	return driver.Open(d, c)
}

// OpenVectors returns what a device computes with vectors, for [kernels.Pool.Offload]; nil for the CPU. It opens the device when
// there is work that pays.
func OpenVectors(d Device) (kernels.Vectors, error) {
	driver, err := d.driver()
	if driver == nil || err != nil {
		return nil, err
	}
	return driver.OpenVectors(d), nil
}

// Examine reports which requirements of a device are met and whether it works; for the CPU it reports nothing.
func Examine(d Device) ([]Finding, error) {
	driver, err := d.driver()
	if driver == nil || err != nil {
		return nil, err
	}
	return driver.Examine(d), nil
}

// Resolve replaces Auto by CUDA if that can be used, else by CPU; why then says what is missing.
func Resolve(d Device) (_ Device, why error) {
	if d.Name != Auto {
		return d, nil
	}
	d.Name = CUDA
	if why = Check(d); why != nil {
		d.Name = CPU
	}
	return d, why
}

// driver returns the device's driver; nil for the CPU, which needs none.
func (d Device) driver() (Driver, error) {
	driver, ok := drivers[CUDA]
	d, _ = Resolve(d)
	switch d.Name {
	case "", CPU:
		return nil, nil
	case CUDA:
		if !ok {
			return nil, fmt.Errorf("ssl: this program was built without the device %s; "+
				"build it for Linux on amd64 or arm64, without the tag nocuda", d.Name)
		}
		return driver, nil
	}
	return nil, fmt.Errorf("ssl: unknown device %q; want %s, %s or %s", d.Name, CPU, CUDA, Auto)
}
