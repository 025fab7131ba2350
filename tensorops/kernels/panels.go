package kernels

import "unsafe"

// panel is a range of columns of C that one family of micro-kernels computes.
type panel struct {
	col, cols int // cols <= width.nr
	width     *width
}

// widths are families of micro-kernels in ascending order of nr.
type widths []width

// best returns the width with the lowest cost for n columns of C whose rows come in runs of m.
func (s widths) best(n, m int, fetch float64) *width {
	best, bestCost := &s[0], 0.0
	for i := range s {
		w := &s[i]
		cost := float64(n/w.nr) * w.cost(m, fetch)
		if rest := n % w.nr; rest > 0 {
			cost += s.fitting(rest).cost(m, fetch)
		}
		if i == 0 || cost < bestCost {
			best, bestCost = w, cost
		}
	}
	return best
}

// panels splits n columns of C, whose rows come in runs of m, into panels of the best width and one for the rest.
func (s widths) panels(n, m int, fetch float64) []panel {
	var ps []panel
	nr := s.best(n, m, fetch).nr
	for col := 0; col < n; col += nr {
		cols := min(n-col, nr)
		ps = append(ps, panel{col: col, cols: cols, width: s.fitting(cols)})
	}
	return ps
}

// panelsCost returns the cost of m rows of all panels.
func panelsCost(ps []panel, m int, fetch float64) (total float64) {
	for _, p := range ps {
		total += p.width.cost(m, fetch)
	}
	return total
}

// fitting returns the narrowest width with at least cols columns.
func (s widths) fitting(cols int) *width {
	for i := range s {
		if w := &s[i]; w.nr >= cols {
			return w
		}
	}
	panic("kernels: no micro-kernel is that wide")
}

// cost estimates the cycles of one step of k for m rows of a panel: two multiply-adds and two loads per cycle, at least
// the four cycles of latency until an addition's result can be added to, plus the time to load B from the L2 cache.
func (w *width) cost(m int, fetch float64) float64 {
	total := 0.0
	for s := w.split(m); s.next(); {
		total += max(4, float64(s.rows*w.vecs)/2, float64(s.rows+w.vecs)/2) + 0.5 + fetch*float64(w.vecs)
	}
	return total
}

// split splits m rows into as few tiles as possible, of as equal size as possible.
func (w *width) split(m int) splitter {
	return splitter{left: m, tiles: (m + len(w.tiles) - 1) / len(w.tiles)}
}

// splitter iterates over the tiles of a run of rows.
type splitter struct {
	row, rows   int // of the current tile: first row, number of rows
	left, tiles int // that remain
}

// next moves to the next tile and reports whether there is one.
func (s *splitter) next() bool {
	if s.tiles == 0 {
		return false
	}
	s.row += s.rows
	s.rows = (s.left + s.tiles - 1) / s.tiles
	s.left -= s.rows
	s.tiles--
	return true
}

// packWork is the time to move a float, in multiply-adds.
const packWork = 16

// packB is packPairs or packPanel.
func (s *isa) packB(pairs bool, dst []float32, ld, rows, cols int, src []float32, rs, cs int) {
	if pairs {
		s.packPairs(dst, ld, rows, cols, src, rs, cs)
	} else {
		s.packPanel(dst, ld, rows, cols, src, rs, cs)
	}
}

// packPanel copies B[k,j] = src[k*rs + j*cs], k < rows, j < cols, into dst[k*ld + j]. One of rs and cs must be 1.
func (s *isa) packPanel(dst []float32, ld, rows, cols int, src []float32, rs, cs int) {
	if cs == 1 {
		if s.copy != nil && cols%8 == 0 && rows > 0 && cols > 0 {
			_, _ = dst[(rows-1)*ld+cols-1], src[(rows-1)*rs+cols-1]
			s.copy(unsafe.Pointer(&dst[0]), unsafe.Pointer(&src[0]), ld*f32, rs*f32, cols/8, rows)
			return
		}
		for k := range rows {
			copy(dst[k*ld:k*ld+cols], src[k*rs:])
		}
		return
	}
	const block = 8
	j := 0
	for ; s.transpose != nil && rows >= block && j+block <= cols; j += block {
		n := rows / block
		s.transpose(unsafe.Pointer(&dst[j]), unsafe.Pointer(&src[j*cs]), ld*f32, cs*f32, n)
		for k := n * block; k < rows; k++ {
			for l := range block {
				dst[k*ld+j+l] = src[k+(j+l)*cs]
			}
		}
	}
	for ; j < cols; j++ {
		column := src[j*cs : j*cs+rows]
		for k, v := range column {
			dst[k*ld+j] = v
		}
	}
}

// pitch rounds n up to an odd number of 64-byte cache lines, in floats. Rows at that distance do not map to the same
// cache set, unlike at a power of two.
func pitch(n int) int { return ((n+15)/16 | 1) * 16 }
