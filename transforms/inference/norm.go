package inference

import (
	"github.com/sdr-ml/sdr/tensorops/augment"
	"github.com/sdr-ml/sdr/tensorops/kernels"
	"github.com/sdr-ml/sdr/tensorops/nn"
)

// Norm estimates BatchNorm statistics on images: of a net that has none yet, or to adapt a net to other images than it
// was trained on (AdaBN, arXiv 1603.04779).
type Norm struct {
	// Net is the net; set its Params.
	Net *nn.Net
	// Input says how images are prepared.
	Input Input

	pool   *kernels.Pool
	images []float32
}

// normBatch is the batch size for estimating BatchNorm statistics.
const normBatch = 256

// NewNorm returns a Norm for nets of a backbone with heads, which may be the zero Heads.
func NewNorm(b nn.Backbone, h nn.Heads, in Input, pool *kernels.Pool) *Norm {
	return &Norm{
		Net: nn.New(b, h, in.Size, normBatch, 1, pool, nn.Inference), Input: in, pool: pool,
		images: make([]float32, normBatch*in.Size*in.Size*3),
	}
}

// Estimate sets the net's Stats to the averages of the batch statistics of n images, in batches of 256. at returns image
// i, [Input.Size, Input.Size, 3] bytes; i may exceed n in the last batch, since all batches are full.
func (m *Norm) Estimate(n int, at func(i int) []uint8) {
	pixels := len(m.images) / normBatch
	r := m.Net.NewReestimator()
	for from := 0; from < n; from += normBatch {
		m.pool.For(normBatch, func(_, i int) {
			augment.Normalize(m.images[i*pixels:(i+1)*pixels], at(from+i), m.Input.Mean, m.Input.Std)
		})
		m.Net.Forward(m.images, nn.BatchStats)
		r.Add()
	}
	r.Store(m.Net.Stats)
}
