package nn

// tileLen returns the length of a tile: a multiple of the channels, at most 64 unless one row is longer.
func tileLen(channels int) int { return channels * max(1, 64/channels) }

// retile fills the tile with repetitions of its first n elements.
func retile(tile []float32, n int) {
	for done := n; done < len(tile); done *= 2 {
		copy(tile[done:], tile[:done])
	}
}

// fold adds the repetitions in a tile to its first n elements.
func fold(tile []float32, n int) {
	head := tile[:n]
	for rest := tile[n:]; len(rest) >= n; rest = rest[n:] {
		for c, v := range rest[:n] {
			head[c] += v
		}
	}
}
