package nn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
)

// Init initializes a flat parameter vector as torchvision does: convolutions from a normal distribution of variance
// 2/fan-out (Kaiming, arXiv 1502.01852), linear layers and their biases uniformly within ±1/sqrt(fan-in), BatchNorm
// with scale 1 and shift 0. It panics if the length of params is not NumParams.
func (l *Layout) Init(params []float32, r *rand.Rand) {
	mustLen("Layout.Init: parameters", len(params), l.NumParams)
	fanIn := 0 // of the linear layer before a bias
	for _, p := range l.Params {
		w := params[p.Offset : p.Offset+p.Size]
		switch p.Kind {
		case ConvWeight:
			std := math.Sqrt(2 / float64(p.Shape[0]*p.Shape[1]*p.Filters))
			for i := range w {
				w[i] = float32(std * r.NormFloat64())
			}
		case LinearWeight, Bias:
			if p.Kind == LinearWeight {
				fanIn = p.Shape[0]
			}
			bound := 1 / math.Sqrt(float64(fanIn))
			for i := range w {
				w[i] = float32(bound * (2*r.Float64() - 1))
			}
		case Scale:
			fill(w, 1)
		case Shift:
			clear(w)
		}
	}
}

// InitStats initializes a flat vector of statistics: running means 0, running variances 1.
func (l *Layout) InitStats(stats []float32) {
	mustLen("Layout.InitStats: statistics", len(stats), l.NumStats)
	for _, s := range l.Stats {
		w := stats[s.Offset : s.Offset+s.Size]
		clear(w)
		if strings.HasSuffix(s.Name, ".running_var") {
			fill(w, 1)
		}
	}
}

func fill[T float32 | float64](s []T, v T) {
	for i := range s {
		s[i] = v
	}
}

// mustLen panics if an argument has the wrong length.
func mustLen(what string, got, want int) {
	if got != want {
		panic(fmt.Sprintf("nn: %s: %d floats, want %d", what, got, want))
	}
}
