package jpeg

import (
	"errors"
	"fmt"
)

// scan is one scan: entropy-coded data of some components.
type scan struct {
	bits
	d *decoder
	// components holds the n components of the scan.
	components [4]scanComponent
	n          int
	// first and last are the range of its coefficients, in zigzag order.
	first, last int
	// high and low are the bit positions before and after the scan, in a progressive image.
	high, low int
	// endRun is the number of following blocks without further coefficients (EOBRUN).
	endRun int
	// starved is whether the data ended before a marker that should come later: until the next restart marker all
	// coefficients are 0.
	starved bool
}

type scanComponent struct {
	*component
	dc, ac *huffman
	// dcValue is the DC coefficient of the previous block.
	dcValue int32
}

// scan reads a scan header and the scan's data.
func (d *decoder) scan(segment []byte) error {
	s, err := d.scanHeader(segment)
	if err != nil {
		return err
	}
	if d.components[0].pix == nil {
		if err := d.allocate(); err != nil {
			return err
		}
	}
	s.bits = bits{data: d.data, at: d.at}
	d.scans++
	if d.progressive {
		d.known.scan(s)
	}
	if s.n == 1 {
		err = s.single()
	} else {
		err = s.interleaved()
	}
	d.at = s.at
	if err == nil && d.scans == 1 && !d.progressive && s.n == d.n {
		d.complete = true
		marker, _ := s.marker()
		d.settled = marker != 0 || s.left-s.lent+8*(len(s.data)-s.at) >= 64
	}
	return err
}

func (d *decoder) scanHeader(segment []byte) (*scan, error) {
	damaged := errors.New("damaged scan header")
	if d.n == 0 {
		return nil, errors.New("scan before the frame header")
	}
	if len(segment) < 6 || len(segment) != 4+2*int(segment[0]) || int(segment[0]) > d.n {
		return nil, damaged
	}
	s := &scan{d: d, last: 63}
	blocks := 0
	for spec := segment[1 : len(segment)-3]; len(spec) > 0; spec = spec[2:] {
		c := d.component(spec[0], s.n)
		dc, ac := spec[1]>>4, spec[1]&15
		if c == nil {
			return nil, damaged
		}
		for _, other := range s.components[:s.n] {
			if other.component == c {
				return nil, damaged
			}
		}
		if !c.quant.defined { // a later table with this number is for other components
			if c.quant = d.quant[c.tq]; !c.quant.defined {
				return nil, fmt.Errorf("quantization table %d is missing", c.tq)
			}
		}
		s.components[s.n] = scanComponent{component: c, dc: d.table(&d.dc, dc, usual[0]), ac: d.table(&d.ac, ac, usual[1])}
		s.n++
		blocks += c.h * c.v
	}
	if s.n > 1 && blocks > 10 {
		return nil, errors.New("more than 10 blocks per MCU")
	}
	if d.progressive {
		spec := segment[len(segment)-3:]
		s.first, s.last, s.high, s.low = int(spec[0]), int(spec[1]), int(spec[2]>>4), int(spec[2]&15)
		switch {
		case s.first == 0 && s.last != 0, s.first > s.last, s.last > 63,
			s.first > 0 && s.n > 1,
			s.high != 0 && s.high != s.low+1, s.low > 13:
			return nil, damaged
		}
	}
	for _, c := range s.components[:s.n] {
		dc, ac := s.first == 0 && s.high == 0, s.last > 0
		switch {
		case dc && !c.dc.defined || ac && !c.ac.defined:
			return nil, errors.New("a Huffman table is missing")
		case dc && (c.dc.err != nil || c.dc.wide) || ac && c.ac.err != nil:
			return nil, errHuffman
		}
	}
	return s, nil
}

// interleaved reads a scan of several components, MCU by MCU.
func (s *scan) interleaved() error {
	for i := range s.d.mcusX * s.d.mcusY {
		if err := s.restartBefore(i); err != nil {
			return err
		}
		x, y := i%s.d.mcusX, i/s.d.mcusX
		if !s.starved {
			s.d.known.row = y
		}
		for k := range s.n {
			c := &s.components[k]
			for v := range c.v {
				for h := range c.h {
					s.block(c, x*c.h+h, y*c.v+v)
				}
			}
		}
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// single reads a scan of one component, where an MCU is one block and there is no padding.
func (s *scan) single() error {
	c := &s.components[0]
	for i := range c.blocksX * c.blocksY {
		if err := s.restartBefore(i); err != nil {
			return err
		}
		x, y := i%c.blocksX, i/c.blocksX
		if !s.starved {
			s.d.known.row = y / c.v
		}
		s.block(c, x, y)
		if err := s.check(); err != nil {
			return err
		}
	}
	return nil
}

// check notes whether the data ended within the MCU.
func (s *scan) check() error {
	over, err := s.overdrawn()
	if over && !s.starved {
		s.starved = true
		s.d.note(errEarly)
	}
	return err
}

// What is wrong with data that are decoded all the same.
var (
	errEarly   = errors.New("scan ends too early")
	errCode    = errors.New("damaged Huffman code")
	errTooMany = errors.New("a block has more than 64 coefficients")
	errRefined = errors.New("damaged refinement of a coefficient")
)

// restartBefore reads the restart marker before an MCU, if there is one.
func (s *scan) restartBefore(mcu int) error {
	if s.d.restart == 0 || mcu == 0 || mcu%s.d.restart != 0 {
		return nil
	}
	s.d.at = s.at
	found, err := s.resync(rst0 + (mcu/s.d.restart-1)%8)
	if err != nil {
		return err
	}
	if found {
		s.starved = false
	}
	s.bits = bits{data: s.data, at: s.d.at}
	s.endRun = 0
	for k := range s.n {
		s.components[k].dcValue = 0
	}
	return nil
}

// resync finds the wanted restart marker and reports whether it took one. Where another marker is in its place, it guesses
// like libjpeg (jpeg_resync_to_restart) what is missing: of the next two restart markers, or another kind of marker, the
// wanted one, so that the data until then are taken for empty; of the previous two, nothing.
func (s *scan) resync(want int) (found bool, err error) {
	for {
		marker, err := s.d.marker()
		if err != nil || marker == want {
			return true, err
		}
		s.d.note(fmt.Errorf("marker %#x instead of restart marker %#x", marker, want))
		ahead := (marker - want) & 7
		switch {
		case marker < sof0 || rst0 <= marker && marker <= rst7 && ahead >= 6:
			continue
		case marker < rst0 || marker > rst7 || ahead <= 2:
			s.d.at -= 2
			return false, nil
		}
		return true, nil
	}
}

// block reads one block: all of it in a sequential image, the scan's part of it in a progressive one.
func (s *scan) block(c *scanComponent, x, y int) {
	if s.d.progressive {
		s.progress(c, &c.coeffs[y*c.stride/c.dctSize+x])
		return
	}
	var b block
	var dc int32
	last := 0
	if !s.starved {
		last = s.sequential(c, &b)
		dc = c.dcValue
	}
	if c.dctSize == 1 {
		c.dot(int16(dc), x, y)
		return
	}
	c.reconstruct(&b, last, x, y)
}

// sequential reads all coefficients of a block and returns the zigzag index of the last nonzero one. A coefficient beyond
// the last counts as the last.
func (s *scan) sequential(c *scanComponent, b *block) (last int) {
	s.dcFirst(c)
	q := &c.quant.factors
	b[0] = int16(c.dcValue * q[0])
	acc, n := s.acc, s.left // in registers
	for k := 1; k < 64; k++ {
		if n < 32 {
			s.acc, s.left = acc, n
			s.fill()
			acc, n = s.acc, s.left
		}
		e := c.ac.look[acc>>(64-lookBits)]
		if v := e.value(); v != 0 {
			acc <<= e.whole()
			n -= e.whole()
			if k += e.run(); k > 63 {
				k = 63
				s.d.note(errTooMany)
			}
			b[zigzag[k]] = int16(v * q[k])
			last = k
			continue
		}
		s.acc, s.left = acc, n
		symbol, ok := s.symbol(c.ac)
		if !ok {
			s.d.note(errCode)
		}
		run, size := int(symbol>>4), int(symbol&15)
		v := extend(s.take(size), size)
		acc, n = s.acc, s.left
		if size == 0 && run != 15 {
			break
		}
		if k += run; size > 0 {
			if k > 63 {
				k = 63
				s.d.note(errTooMany)
			}
			b[zigzag[k]] = int16(v * q[k])
			last = k
		}
	}
	s.acc, s.left = acc, n
	return last
}

// dcFirst reads the difference from the previous block's DC coefficient.
func (s *scan) dcFirst(c *scanComponent) {
	size, ok := s.symbol(c.dc)
	if !ok {
		s.d.note(errCode)
	}
	c.dcValue += extend(s.take(int(size)), int(size))
}
