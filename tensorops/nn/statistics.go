package nn

// Statistics averages BatchNorm statistics over a network's batches, as PyTorch does with momentum=None: they are the
// plain averages of the batch means and of the unbiased batch variances. Each view counts as a batch.
//
//	var s nn.Statistics
//	for ... { net.Forward(images, nn.BatchStats); net.Observe(&s) }
//	net.Stats = s.Average()
type Statistics struct {
	// Sums are those over the batches, in the order of Layout.Stats; nil before the first one.
	Sums []float64
	// Batches is their number.
	Batches int
}

// Observe adds the statistics of the network's last Forward, which must have used BatchStats or UpdateStats.
func (n *Net) Observe(s *Statistics) {
	if s.Sums == nil {
		s.Sums = make([]float64, n.Layout.NumStats)
	}
	for _, norm := range n.norms {
		mean, vari := s.Sums[norm.RunningMean.From:], s.Sums[norm.RunningVar.From:]
		for v := range norm.views {
			for c := range norm.c {
				mean[c] += norm.mean[v*norm.c+c]
				vari[c] += norm.vari[v*norm.c+c] * norm.unbiased()
			}
		}
	}
	s.Batches += n.graph.views
}

// Average returns the averages, in the order of Layout.Stats. It panics if there was no batch.
func (s *Statistics) Average() []float32 {
	if s.Batches == 0 {
		panic("nn: Statistics.Average without a batch; run at least one")
	}
	stats := make([]float32, len(s.Sums))
	for i, sum := range s.Sums {
		stats[i] = float32(sum / float64(s.Batches))
	}
	return stats
}
