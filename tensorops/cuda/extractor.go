package cuda

import (
	"errors"
	"unsafe"

	"github.com/sdr-ml/sdr/tensorops/nn"
	"github.com/sdr-ml/sdr/tensorops/ssl"
)

// extractor is ssl.Extractor on a GPU.
type extractor struct {
	d      *device
	net    *network
	graph  *nn.Graph[Buffer]
	layout *nn.Layout
	batch  int
	warm   bool // whether algorithms have been chosen

	pinned       unsafe.Pointer // host memory for copies to the device
	images       []float32
	deviceImages Buffer // float32
	input        Buffer // the images as activations
	features     []float32

	params []float32 // in the device's order
	last   ssl.LastPass
}

func newExtractor(d *device, b nn.Backbone, h nn.Heads, size, batch int) (*extractor, error) {
	layout, pixels := nn.NewLayout(b, h), batch*size*size*3
	x := &extractor{d: d, layout: layout, batch: batch, last: ssl.LastPass{Layout: layout}}
	x.net = newNetwork(d, newFlat(layout), false)
	x.net.stats = d.floats(layout.NumStats)
	x.graph = nn.NewGraph(b, h, size, batch, 1, false, x.net)
	x.deviceImages, x.input = d.floats(pixels), d.acts(pixels, "images")
	x.features, x.params = make([]float32, batch*b.FeatureDim()), make([]float32, len(x.net.flat.order))
	if d.err != nil {
		return nil, d.err
	}
	var err error
	if x.pinned, err = d.pin(4 * pixels); err != nil {
		return nil, err
	}
	x.images = unsafe.Slice((*float32)(x.pinned), pixels)
	return x, nil
}

// Images implements ssl.Extractor. A pass always computes a whole batch.
func (x *extractor) Images(n int) []float32 {
	x.last.Forget()
	return x.images[:n*len(x.images)/x.batch]
}

// Load implements ssl.Extractor.
func (x *extractor) Load(params, stats []float32) error {
	leave, err := x.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	for i, from := range x.net.flat.order {
		if from >= 0 {
			x.params[i] = params[from]
		}
	}
	x.d.upload(x.net.params, unsafe.Pointer(&x.params[0]), 4*len(x.params))
	convert(x.d, x.net.params, x.net.weights)
	x.d.upload(x.net.stats, unsafe.Pointer(&stats[0]), 4*len(stats))
	x.last.Load(params, stats)
	return x.d.wait()
}

// forward runs a pass on the images from the first part that changed. The first one chooses the algorithms with a large
// workspace.
func (x *extractor) forward(mode nn.BNMode) {
	d := x.d
	if !x.warm {
		d.growWorkspace()
	}
	from := x.last.Next(mode)
	if from == nn.Stem {
		d.upload(x.deviceImages, x.pinned, 4*len(x.images))
		convert(d, x.deviceImages, x.input)
	}
	x.net.running = mode == nn.RunningStats
	x.graph.ForwardFrom(from, x.input)
	x.last.Done(mode)
	if !x.warm && d.wait() == nil {
		d.fitWorkspace()
		x.warm = true
	}
}

// Features implements ssl.Extractor.
func (x *extractor) Features() ([]float32, error) {
	leave, err := x.d.enter()
	if err != nil {
		return nil, err
	}
	defer leave()
	x.forward(nn.RunningStats)
	x.d.download(unsafe.Pointer(&x.features[0]), x.graph.Features, 4*len(x.features))
	return x.features, x.d.wait()
}

// Observe implements ssl.Extractor.
func (x *extractor) Observe(s *nn.Statistics) error {
	leave, err := x.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	x.forward(nn.BatchStats)
	if s.Sums == nil {
		s.Sums = make([]float64, x.layout.NumStats)
	}
	for _, n := range x.net.norms {
		c := n.Channels
		table := make([]float32, normTable*c)
		x.d.download(unsafe.Pointer(&table[0]), n.table, 4*len(table))
		if err := x.d.wait(); err != nil {
			return err
		}
		mean, rest, variance := table[:c], table[c:2*c], table[2*c:3*c] // as norm.cu orders them
		unbiased := float64(n.rows) / float64(max(1, n.rows-1))
		for i := range c {
			s.Sums[n.mean.From+i] += float64(mean[i]) + float64(rest[i])
			s.Sums[n.variance.From+i] += float64(variance[i]) * unbiased
		}
	}
	s.Batches++
	return nil
}

// Close implements ssl.Extractor.
func (x *extractor) Close() error {
	leave, err := x.d.enter()
	if err != nil {
		return err
	}
	defer leave()
	return errors.Join(x.d.check(x.d.cuMemFreeHost(x.pinned), "cuMemFreeHost"), x.d.close())
}
