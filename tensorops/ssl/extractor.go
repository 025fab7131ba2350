package ssl

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Extractor computes the features of images on a device, in batches of one fixed size, in float32. It must not be used
// by two goroutines at once.
//
//	x.Load(params, stats)
//	fill(x.Images())
//	features, err := x.Features()
type Extractor interface {
	// Images returns the buffer for the images of the next pass, [batch, size, size, 3].
	Images() []float32
	// Load sets the parameters and BatchNorm's running statistics, in the order of nn.Layout. The caller must not modify
	// them until the next Load.
	Load(params, stats []float32) error
	// Features returns the backbone's features of the images, [batch, FeatureDim], with running statistics. They are
	// valid until the next pass, and do not depend on other images of the batch.
	Features() ([]float32, error)
	// Observe adds BatchNorm's statistics of the images to those that Statistics averages.
	Observe() error
	// Statistics returns the averages since the last call, in the order of nn.Layout; see nn.Reestimator.
	Statistics() []float32
	// Close frees what the extractor holds on the device.
	Close() error
}

// OpenExtractor returns an extractor for batches of square images of size pixels on a device. The CPU's runs on the
// thread pool. Heads matter to BatchNorm's statistics alone.
func OpenExtractor(d Device, b nn.Backbone, h nn.Heads, size, batch int, pool *kernels.Pool) (Extractor, error) {
	driver, err := d.driver()
	if err != nil {
		return nil, err
	}
	if driver == nil {
		n := nn.New(b, h, size, batch, 1, pool, nn.Inference)
		return &cpuExtractor{net: n, images: make([]float32, batch*size*size*3), statistics: n.NewReestimator()}, nil
	}
	if d.Tuning == nil {
		d.Tuning = pool.Tuning()
	}
	return driver.OpenExtractor(d, b, h, size, batch)
}

// cpuExtractor is the Extractor on the CPU.
type cpuExtractor struct {
	net        *nn.Net
	images     []float32
	statistics *nn.Reestimator
}

func (x *cpuExtractor) Images() []float32 { return x.images }

func (x *cpuExtractor) Load(params, stats []float32) error {
	x.net.Params, x.net.Stats = params, stats
	return nil
}

func (x *cpuExtractor) Features() ([]float32, error) {
	x.net.Forward(x.images, nn.RunningStats)
	return x.net.Features, nil
}

func (x *cpuExtractor) Observe() error {
	x.net.Forward(x.images, nn.BatchStats)
	x.statistics.Add()
	return nil
}

func (x *cpuExtractor) Statistics() []float32 {
	stats := make([]float32, x.net.Layout.NumStats)
	x.statistics.Store(stats)
	x.statistics = x.net.NewReestimator()
	return stats
}

func (x *cpuExtractor) Close() error { return nil }
