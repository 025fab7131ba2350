package jpeg

import "errors"

// progress updates a block of a progressive image from the scan.
func (s *scan) progress(c *scanComponent, b *[64]int16) error {
	switch {
	case s.first == 0 && s.high == 0:
		if err := s.dcFirst(c); err != nil {
			return err
		}
		b[0] = int16(c.dcValue << s.low)
		return nil
	case s.first == 0:
		b[0] |= int16(s.take(1) << s.low)
		return nil
	case s.high == 0:
		return s.acFirst(c.ac, b)
	}
	return s.acRefine(c.ac, b)
}

// acFirst reads the first bits of the scan's AC coefficients.
func (s *scan) acFirst(h *huffman, b *[64]int16) error {
	if s.endRun > 0 {
		s.endRun--
		return nil
	}
	for k := s.first; k <= s.last; k++ {
		symbol, err := s.symbol(h)
		if err != nil {
			return err
		}
		run, size := int(symbol>>4), int(symbol&15)
		switch {
		case size > 0:
			if k += run; k > s.last {
				return errTooMany
			}
			b[k] = int16(extend(s.take(size), size) << s.low)
		case run == 15:
			k += 15
		default:
			s.endRun = 1<<run | int(s.take(run)) - 1
			return nil
		}
	}
	return nil
}

// acRefine reads one more bit of the scan's AC coefficients: a correction for nonzero ones; others may become nonzero.
func (s *scan) acRefine(h *huffman, b *[64]int16) error {
	k := s.first
	for ; k <= s.last && s.endRun == 0; k++ {
		symbol, err := s.symbol(h)
		if err != nil {
			return err
		}
		run, value := int(symbol>>4), int16(0)
		switch symbol & 15 {
		case 0:
			if run < 15 {
				s.endRun = 1<<run | int(s.take(run))
			}
		case 1:
			value = -1 << s.low
			if s.take(1) == 1 {
				value = 1 << s.low
			}
		default:
			return errors.New("damaged refinement of a coefficient")
		}
		if s.endRun > 0 {
			break
		}
		if k = s.correct(b, k, run); k > s.last {
			return errTooMany
		}
		if value != 0 {
			b[k] = value
		}
	}
	if s.endRun > 0 {
		s.endRun--
		s.correct(b, k, 64)
	}
	return nil
}

// correct reads the corrections of nonzero coefficients from k on. It skips the given number of zeros and returns the
// index of the next zero.
func (s *scan) correct(b *[64]int16, k, zeros int) int {
	band := b[k : s.last+1]
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
