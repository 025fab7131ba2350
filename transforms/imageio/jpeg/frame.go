package jpeg

import (
	"errors"
	"fmt"
	"slices"
)

// component is one colour component of the frame.
type component struct {
	id   uint8
	h, v int // sampling factors
	tq   uint8
	// quant is the quantization table as the component's first scan found it.
	quant quantTable
	// dctSize is the number of samples that a block becomes, across and down.
	dctSize int
	// width and height are those of the samples that matter, of all that are
	// decoded.
	width, height int
	// blocksX and blocksY count the blocks that matter; rows of samples and
	// coefficients hold more, up to whole MCUs.
	blocksX, blocksY int
	// pix are the samples; rows are stride apart.
	pix    []uint8
	stride int
	// coeffs are the blocks of a progressive image, in the file's order and not
	// yet multiplied; rows are stride/dctSize apart.
	coeffs [][64]int16
}

// frame reads the frame header.
func (d *decoder) frame(segment []byte) error {
	if d.n > 0 {
		return errors.New("two frame headers")
	}
	if len(segment) < 6 {
		return errors.New("frame header too short")
	}
	if bits := segment[0]; bits != 8 {
		return fmt.Errorf("%d bits a sample: %w", bits, ErrUnsupported)
	}
	d.height = int(segment[1])<<8 | int(segment[2])
	d.width = int(segment[3])<<8 | int(segment[4])
	n := int(segment[5])
	if d.width == 0 || d.height == 0 {
		return fmt.Errorf("frame of %d x %d pixels", d.width, d.height)
	}
	if len(segment) != 6+3*n {
		return errors.New("frame header has a wrong length")
	}
	if n != 1 && n != 3 && n != 4 {
		return fmt.Errorf("%d components: %w", n, ErrUnsupported)
	}
	for i := range n {
		spec := segment[6+3*i:]
		c := component{id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), tq: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 || d.component(c.id) != nil {
			return errors.New("damaged frame header")
		}
		if n == 1 { // its sampling is relative to itself
			c.h, c.v = 1, 1
		}
		d.maxH, d.maxV = max(d.maxH, c.h), max(d.maxV, c.v)
		d.components[i] = c
		d.n++
	}
	d.mcusX = ceilDiv(d.width, 8*d.maxH)
	d.mcusY = ceilDiv(d.height, 8*d.maxV)
	return nil
}

func (d *decoder) component(id uint8) *component {
	for i := range d.n {
		if c := &d.components[i]; c.id == id {
			return c
		}
	}
	return nil
}

// allocate makes the memory of the components, once, at the first scan.
func (d *decoder) allocate() error {
	for i := range d.n {
		c := &d.components[i]
		// Where chroma is subsampled a larger transform gives it at once the
		// size that luma is reduced to.
		c.dctSize = d.dctSize
		for c.dctSize < 8 && d.maxH*d.dctSize%(2*c.h*c.dctSize) == 0 && d.maxV*d.dctSize%(2*c.v*c.dctSize) == 0 {
			c.dctSize *= 2
		}
		if d.maxH*d.dctSize%(c.h*c.dctSize) != 0 || d.maxV*d.dctSize%(c.v*c.dctSize) != 0 {
			return fmt.Errorf("fractional sampling: %w", ErrUnsupported)
		}
		c.width = ceilDiv(d.width*c.h*c.dctSize, 8*d.maxH)
		c.height = ceilDiv(d.height*c.v*c.dctSize, 8*d.maxV)
		c.blocksX = ceilDiv(d.width*c.h, 8*d.maxH)
		c.blocksY = ceilDiv(d.height*c.v, 8*d.maxV)
		across, down := d.mcusX*c.h, d.mcusY*c.v
		c.stride = across * c.dctSize
		n := c.stride * down * c.dctSize
		d.planes[i] = slices.Grow(d.planes[i][:0], n)
		c.pix = d.planes[i][:n]
		if d.progressive {
			c.coeffs = make([][64]int16, across*down)
		}
	}
	return nil
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }
