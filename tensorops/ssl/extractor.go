package ssl

import (
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Extractor computes the features of images on a device, in batches of one fixed size, in float32. It must not be used
// by two goroutines at once.
//
//	fill(x.Images(n))
//	x.Load(params, stats)
//	features, err := x.Features()
//
// Nets that share their first parts, as sub-nets of one SDRnet do, are cheaper on the same images: what the last pass
// computed with the same weights and statistics is not computed again.
type Extractor interface {
	// Images returns the buffer for the n images of the next pass, [n, size, size, 3]; n is at most the batch. Fewer may
	// take less time.
	Images(n int) []float32
	// Load sets the parameters and BatchNorm's running statistics, in the order of nn.Layout. The caller must not modify
	// them until the next call of Images.
	Load(params, stats []float32) error
	// Features returns the backbone's features of the images, [n or more, FeatureDim], with running statistics. They are
	// valid until the next pass, and do not depend on other images or their number.
	Features() ([]float32, error)
	// Observe adds BatchNorm's statistics of the images, a whole batch, to s.
	Observe(s *nn.Statistics) error
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
		return &cpuExtractor{net: n, nets: []*nn.Net{n}, images: make([]float32, batch*size*size*3), batch: batch, last: LastPass{Layout: n.Layout}}, nil
	}
	if d.Tuning == nil {
		d.Tuning = pool.Tuning()
	}
	return driver.OpenExtractor(d, b, h, size, batch)
}

// LastPass tells an Extractor what of its last pass the next one need not compute again.
type LastPass struct {
	Layout *nn.Layout

	params, stats []float32 // of the next pass
	made          struct {  // with what the last one was made
		params, stats []float32
		mode          nn.BNMode
	}
	valid bool
}

// Load sets the parameters and statistics of the next pass.
func (l *LastPass) Load(params, stats []float32) { l.params, l.stats = params, stats }

// Forget makes the next pass begin at the stem, since it has other images.
func (l *LastPass) Forget() { l.valid = false }

// Next returns the part that the next pass has to begin with.
func (l *LastPass) Next(mode nn.BNMode) nn.Part {
	switch {
	case !l.valid || l.made.mode != mode:
		return nn.Stem
	case mode == nn.RunningStats:
		return l.Layout.FirstChange(l.made.params, l.made.stats, l.params, l.stats)
	}
	return l.Layout.FirstChange(l.made.params, nil, l.params, nil)
}

// Done says that the pass was made.
func (l *LastPass) Done(mode nn.BNMode) {
	l.made.params, l.made.stats, l.made.mode, l.valid = l.params, l.stats, mode, true
}

// cpuExtractor is the Extractor on the CPU.
type cpuExtractor struct {
	nets   []*nn.Net // for batches, and as far as needed for the half, the quarter, ...
	net    *nn.Net   // the one for the current images
	images []float32 // [batch, size, size, 3]
	batch  int
	last   LastPass
}

func (x *cpuExtractor) Images(n int) []float32 {
	x.last.Forget()
	halvings, rows := 0, x.batch
	for rows%2 == 0 && rows/2 >= n {
		halvings, rows = halvings+1, rows/2
	}
	for len(x.nets) <= halvings {
		x.nets = append(x.nets, nil)
	}
	if x.nets[halvings] == nil {
		x.nets[halvings] = x.nets[0].Part(rows)
	}
	x.net = x.nets[halvings]
	return x.images[:n*len(x.images)/x.batch]
}

func (x *cpuExtractor) Load(params, stats []float32) error {
	x.last.Load(params, stats)
	return nil
}

// forward runs a pass from the first part that changed.
func (x *cpuExtractor) forward(mode nn.BNMode) {
	from := x.last.Next(mode)
	x.last.Forget() // if it panics
	x.net.Params, x.net.Stats = x.last.params, x.last.stats
	x.net.ForwardFrom(from, x.images[:len(x.net.Features)/x.net.Backbone.FeatureDim()*len(x.images)/x.batch], mode)
	x.last.Done(mode)
}

func (x *cpuExtractor) Features() ([]float32, error) {
	x.forward(nn.RunningStats)
	return x.net.Features, nil
}

func (x *cpuExtractor) Observe(s *nn.Statistics) error {
	x.forward(nn.BatchStats)
	x.net.Observe(s)
	return nil
}

func (x *cpuExtractor) Close() error { return nil }
