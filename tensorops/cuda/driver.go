package cuda

import (
	"errors"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
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
	return onDevice(g, opts, c.Precision, func(d *device) (ssl.Learner, error) { return newLearner(d, c) })
}

// OpenExtractor implements ssl.Driver.
func (g *gpus) OpenExtractor(opts ssl.Device, b nn.Backbone, h nn.Heads, size, batch int) (ssl.Extractor, error) {
	return onDevice(g, opts, ssl.FP32, func(d *device) (ssl.Extractor, error) { return newExtractor(d, b, h, size, batch) })
}

// OpenVectors implements ssl.Driver.
func (g *gpus) OpenVectors(opts ssl.Device) kernels.Vectors {
	return &vectors{gpus: g, opts: opts, least: leastProducts, reuse: leastReuse}
}

// onDevice returns what is made on a device of its own, which it closes.
func onDevice[T any](g *gpus, opts ssl.Device, p ssl.Precision, make func(*device) (T, error)) (made T, err error) {
	a, err := g.load(opts.Libraries)
	if err != nil {
		return made, err
	}
	d, err := openDevice(a, opts, p)
	if err != nil {
		return made, err
	}
	leave, err := d.enter()
	if err != nil {
		return made, errors.Join(err, d.close())
	}
	defer leave()
	on, err := make(d)
	if err != nil {
		return made, errors.Join(err, d.close())
	}
	return on, nil
}
