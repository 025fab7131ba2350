package optim

import "math"

// Cosine returns the learning rate of a step (0 ≤ step < total): linear warmup to base over the first warmup steps,
// reached at step warmup-1, then cosine decay from base at step warmup to 0 at step total (SGDR, arXiv 1608.03983,
// eq. 5, without restarts).
func Cosine(step, total, warmup int, base float64) float64 {
	if step < warmup {
		return base * float64(step+1) / float64(warmup)
	}
	if step >= total {
		return 0
	}
	return base * (1 + math.Cos(math.Pi*float64(step-warmup)/float64(total-warmup))) / 2
}
