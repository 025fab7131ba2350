package jpeg

// progress updates a block of a progressive image from the scan.
func (s *scan) progress(c *scanComponent, b *[64]int16) {
	switch {
	case s.starved:
	case s.first == 0 && s.high == 0:
		s.dcFirst(c)
		b[0] = int16(c.dcValue << s.low)
	case s.first == 0:
		b[0] |= int16(s.take(1) << s.low)
	case s.high == 0:
		s.acFirst(c.ac, b)
	default:
		s.acRefine(c.ac, b)
	}
}

// acFirst reads the first bits of the scan's AC coefficients.
func (s *scan) acFirst(h *huffman, b *[64]int16) {
	if s.endRun > 0 {
		s.endRun--
		return
	}
	for k := s.first; k <= s.last; k++ {
		symbol, ok := s.symbol(h)
		if !ok {
			s.d.note(errCode)
		}
		run, size := int(symbol>>4), int(symbol&15)
		switch {
		case size > 0:
			if k += run; k > s.last {
				s.d.note(errTooMany)
			}
			b[min(k, 63)] = int16(extend(s.take(size), size) << s.low)
		case run == 15:
			k += 15
		default:
			s.endRun = 1<<run | int(s.take(run)) - 1
			return
		}
	}
}

// acRefine reads one more bit of the scan's AC coefficients: a correction for nonzero ones; others may become nonzero.
func (s *scan) acRefine(h *huffman, b *[64]int16) {
	k := s.first
	for ; k <= s.last && s.endRun == 0; k++ {
		symbol, ok := s.symbol(h)
		if !ok {
			s.d.note(errCode)
		}
		run, size, value := int(symbol>>4), symbol&15, int16(0)
		if size > 1 {
			s.d.note(errRefined)
		}
		if size > 0 {
			value = -1 << s.low
			if s.take(1) == 1 {
				value = 1 << s.low
			}
		} else if run < 15 {
			s.endRun = 1<<run | int(s.take(run))
			break
		}
		if k = s.correct(b, k, run); value != 0 {
			if k > s.last {
				s.d.note(errTooMany)
			}
			b[min(k, 63)] = value
		}
	}
	if s.endRun > 0 {
		s.endRun--
		s.correct(b, k, 64)
	}
}

// correct reads the corrections of nonzero coefficients from k on. It skips the given number of zeros and returns the
// index of the next zero.
func (s *scan) correct(b *[64]int16, k, zeros int) int {
	band := b[min(k, s.last+1) : s.last+1]
	for i, v := range band {
		switch {
		case v == 0 && zeros == 0:
			return k + i
		case v == 0:
			zeros--
		case s.take(1) == 0 || v>>s.low&1 != 0:
		case v > 0:
			band[i] += 1 << s.low
		default:
			band[i] -= 1 << s.low
		}
	}
	return s.last + 1
}
