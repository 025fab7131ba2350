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
	if s.n == 1 {
		err = s.single()
	} else {
		err = s.interleaved()
	}
	d.at = s.at
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
		c := d.component(spec[0])
		dc, ac := spec[1]>>4, spec[1]&15
		if c == nil || dc > 3 || ac > 3 {
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
		s.components[s.n] = scanComponent{component: c, dc: &d.dc[dc], ac: &d.ac[ac]}
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
		if s.first == 0 && s.high == 0 && !c.dc.defined || s.last > 0 && !c.ac.defined {
			return nil, errors.New("a Huffman table is missing")
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
		for k := range s.n {
			c := &s.components[k]
			for v := range c.v {
				for h := range c.h {
					if err := s.block(c, x*c.h+h, y*c.v+v); err != nil {
						return err
					}
				}
			}
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
		if err := s.block(c, i%c.blocksX, i/c.blocksX); err != nil {
			return err
		}
	}
	return nil
}

// restartBefore reads the restart marker before an MCU, if there is one.
func (s *scan) restartBefore(mcu int) error {
	if s.d.restart == 0 || mcu == 0 || mcu%s.d.restart != 0 {
		return nil
	}
	s.d.at = s.at
	want := rst0 + (mcu/s.d.restart-1)%8
	marker, err := s.d.marker()
	if err != nil {
		return err
	}
	if marker != want {
		return fmt.Errorf("marker %#x instead of restart marker %#x", marker, want)
	}
	s.bits = bits{data: s.data, at: s.d.at}
	s.endRun = 0
	for k := range s.n {
		s.components[k].dcValue = 0
	}
	return nil
}

// block reads one block: all of it in a sequential image, the scan's part of it in a progressive one.
func (s *scan) block(c *scanComponent, x, y int) error {
	var (
		b    block
		last int
		err  error
	)
	if s.d.progressive {
		err = s.progress(c, &c.coeffs[y*c.stride/c.dctSize+x])
	} else {
		last, err = s.sequential(c, &b)
	}
	if ended := s.ended(); ended != nil {
		return ended // takes precedence over errors in the zeros after the end
	}
	if err == nil && !s.d.progressive {
		c.reconstruct(&b, last, x, y)
	}
	return err
}

// sequential reads all coefficients of a block and returns the zigzag index of the last nonzero one.
func (s *scan) sequential(c *scanComponent, b *block) (last int, err error) {
	if err := s.dcFirst(c); err != nil {
		return 0, err
	}
	q := &c.quant.factors
	b[0] = c.dcValue * q[0]
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
				err = errTooMany
				break
			}
			b[zigzag[k]] = v * q[k]
			last = k
			continue
		}
		s.acc, s.left = acc, n
		var symbol uint8
		if symbol, err = s.symbol(c.ac); err != nil {
			return 0, err
		}
		run, size := int(symbol>>4), int(symbol&15)
		v := extend(s.take(size), size)
		acc, n = s.acc, s.left
		if size == 0 && run != 15 {
			break
		}
		if k += run; k > 63 {
			return 0, errTooMany
		}
		if size > 0 {
			b[zigzag[k]] = v * q[k]
			last = k
		}
	}
	s.acc, s.left = acc, n
	return last, err
}

var errTooMany = errors.New("a block has more than 64 coefficients")

// dcFirst reads the difference from the previous block's DC coefficient.
func (s *scan) dcFirst(c *scanComponent) error {
	size, err := s.symbol(c.dc)
	if err != nil {
		return err
	}
	if size > 15 {
		return errors.New("damaged DC coefficient of a block")
	}
	c.dcValue += extend(s.take(int(size)), int(size))
	return nil
}
