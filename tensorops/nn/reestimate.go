package nn

// Reestimator recomputes BatchNorm statistics from a network's batches, as PyTorch does with momentum=None: they are
// the plain averages of the batch means and of the unbiased batch variances. Each view counts as a batch.
//
//	r := net.NewReestimator()
//	for ... { net.Forward(images, nn.BatchStats); r.Add() }
//	r.Store(net.Stats)
type Reestimator struct {
	net   *Net
	sums  []float64 // in the order of Layout.Stats
	count int
}

// NewReestimator returns a Reestimator without any batches.
func (n *Net) NewReestimator() *Reestimator {
	return &Reestimator{net: n, sums: make([]float64, n.Layout.NumStats)}
}

// Add adds the statistics of the network's last Forward, which must have used BatchStats or UpdateStats.
func (r *Reestimator) Add() {
	for _, norm := range r.net.norms {
		mean, vari := r.sums[norm.RunningMean.From:], r.sums[norm.RunningVar.From:]
		for v := range norm.views {
			for c := range norm.c {
				mean[c] += norm.mean[v*norm.c+c]
				vari[c] += norm.vari[v*norm.c+c] * norm.unbiased()
			}
		}
	}
	r.count += r.net.graph.views
}

// Store writes the averages to stats, in the order of Layout.Stats. It panics if Add was never called.
func (r *Reestimator) Store(stats []float32) {
	mustLen("Reestimator.Store: stats", len(stats), len(r.sums))
	if r.count == 0 {
		panic("nn: Reestimator.Store before Add; run at least one batch")
	}
	for i, s := range r.sums {
		stats[i] = float32(s / float64(r.count))
	}
}
