package train

import (
	"errors"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func init() { ssl.Register(ssl.CUDA, distantDriver{}) }

// distantDriver stands for a device with memory of its own: what it trains gets out of date here until it is asked for.
type distantDriver struct{}

func (distantDriver) Check(ssl.Device) error           { return nil }
func (distantDriver) Examine(ssl.Device) []ssl.Finding { return nil }
func (distantDriver) Open(_ ssl.Device, c ssl.Config) (ssl.Learner, error) {
	pool := kernels.NewPool(1)
	l, err := ssl.Open(ssl.Device{}, c, pool)
	return &distant{Learner: l, pool: pool}, err
}

// distant computes on the CPU, with copies of the nets that it holds.
type distant struct {
	ssl.Learner
	pool       *kernels.Pool
	here, copy *sdrnet.Net
}

func (d *distant) Hold(nets, teachers *sdrnet.Net) error {
	d.here, d.copy = nets, nets.Clone()
	if teachers != nil {
		teachers = teachers.Clone()
	}
	return d.Learner.Hold(d.copy, teachers)
}

func (d *distant) Sync() error {
	for i, v := range d.here.State() {
		if copy(v.Values, d.copy.State()[i].Values) != len(d.copy.State()[i].Values) {
			return errors.New("the nets have changed without being held anew")
		}
	}
	return nil
}

func (d *distant) Close() error {
	d.pool.Close()
	return nil
}
