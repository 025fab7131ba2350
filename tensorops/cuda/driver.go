package cuda

import (
	"errors"

	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func init() { ssl.RegisterDriver(ssl.CUDA, &gpus{load}) }

// gpus is the ssl.Driver. load finds the libraries.
type gpus struct {
	load func(dir string) (*api, error)
}

// Check implements ssl.Driver: the libraries exist and the driver sees a GPU.
func (g *gpus) Check(opts ssl.Device) error {
	a, err := g.load(opts.Libraries)
	if err != nil {
		return err
	}
	id, err := firstGPU(a)
	if err == nil {
		_, _, err = capability(a, id)
	}
	return err
}

// Open implements ssl.Driver.
func (g *gpus) Open(opts ssl.Device, c ssl.Config) (ssl.Learner, error) {
	a, err := g.load(opts.Libraries)
	if err != nil {
		return nil, err
	}
	d, err := openDevice(a, opts, c.Precision)
	if err != nil {
		return nil, err
	}
	leave, err := d.enter()
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	defer leave()
	l, err := newLearner(d, c)
	if err != nil {
		return nil, errors.Join(err, d.close())
	}
	return l, nil
}
