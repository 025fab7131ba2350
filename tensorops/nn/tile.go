package nn

// tileLen is the length of a tile: a multiple of the channels, about 64 or one row.
func tileLen(channels int) int { return channels * max(1, 64/channels) }

// retile fills the whole of tile with repetitions of its first n elements.
func retile(tile []float32, n int) {
	for done := n; done < len(tile); done *= 2 {
		copy(tile[done:], tile[:done])
	}
}

// fold adds the repetitions of a tile into its first n elements.
func fold(tile []float32, n int) {
	head := tile[:n]
	for rest := tile[n:]; len(rest) >= n; rest = rest[n:] {
		for c, v := range rest[:n] {
			head[c] += v
		}
	}
}
