package train

import (
	"errors"

	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/sdrnet"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

func init() { ssl.RegisterDriver(ssl.CUDA, distantDriver{}) }

// distantDriver fakes a device with its own memory: the host's weights are stale until they are asked for.
type distantDriver struct{}

func (distantDriver) Check(ssl.Device) error                 { return nil }
func (distantDriver) Examine(ssl.Device) []ssl.Finding       { return nil }
func (distantDriver) OpenVectors(ssl.Device) kernels.Vectors { return nil }
func (distantDriver) Open(_ ssl.Device, c ssl.Config) (ssl.Learner, error) {
	pool := kernels.NewPool(1)
	l, err := ssl.Open(ssl.Device{}, c, pool)
	if err != nil {
		return nil, err
	}
	d := &distant{Learner: l, pool: pool}
	for range max(1, c.Ahead) + 1 {
		d.views = append(d.views, make([]float32, len(l.Views())))
	}
	return d, nil
}

func (distantDriver) OpenExtractor(_ ssl.Device, b nn.Backbone, h nn.Heads, size, batch int) (ssl.Extractor, error) {
	return ssl.OpenExtractor(ssl.Device{}, b, h, size, batch, kernels.NewPool(1))
}

// distant computes on the CPU, on copies of the nets it was given, and only when Wait is called.
type distant struct {
	ssl.Learner
	pool       *kernels.Pool
	here, copy *sdrnet.Net
	teachers   [2]*sdrnet.Net // the same; nil if there are none
	views      [][]float32    // of the steps ahead, and the next ones
	steps      []ssl.Step     // that were not waited for
}

func (d *distant) Views() []float32 { return d.views[len(d.steps)] }

func (d *distant) Submit(s ssl.Step) error {
	d.steps = append(d.steps, s)
	return nil
}

func (d *distant) Wait() (ssl.Measure, error) {
	copy(d.Learner.Views(), d.views[0])
	if err := d.Learner.Submit(d.steps[0]); err != nil {
		return ssl.Measure{}, err
	}
	d.views, d.steps = append(d.views[1:], d.views[0]), d.steps[1:]
	return d.Learner.Wait()
}

func (d *distant) Load(nets, teachers *sdrnet.Net) error {
	d.here, d.copy = nets, nets.Clone()
	d.teachers[0] = teachers
	if teachers != nil {
		teachers = teachers.Clone()
	}
	d.teachers[1] = teachers
	return d.Learner.Load(d.copy, teachers)
}

func (d *distant) Sync() error {
	if d.teachers[0] != nil {
		for i, v := range d.teachers[0].State() {
			copy(v.Values, d.teachers[1].State()[i].Values)
		}
	}
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
