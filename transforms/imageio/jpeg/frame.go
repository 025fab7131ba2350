package jpeg

import (
	"errors"
	"fmt"
	"slices"
)

// component is one color component of the frame.
type component struct {
	index int // in the frame
	id    uint8
	h, v  int // sampling factors
	tq    uint8
	// quant is the quantization table at the time of the component's first scan.
	quant quantTable
	// dctSize is the width and height in samples that a block decodes to.
	dctSize int
	// width and height are the size in samples, without the padding to whole MCUs.
	width, height int
	// blocksX and blocksY are the numbers of blocks across and down, without the padding to whole MCUs.
	blocksX, blocksY int
	// pix holds the samples, with padding; rows are stride apart.
	pix    []uint8
	stride int
	// coeffs holds the blocks of a progressive image, with padding, in zigzag order and not yet dequantized; rows are
	// stride/dctSize apart.
	coeffs [][64]int16
}

// frame reads the frame header.
func (d *decoder) frame(segment []byte) error {
	if len(segment) < 6 {
		return errors.New("frame header too short")
	}
	if bits := segment[0]; bits != 8 {
		return fmt.Errorf("%d bits per sample: %w", bits, ErrUnsupported)
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
		c := component{index: i, id: spec[0], h: int(spec[1] >> 4), v: int(spec[1] & 15), tq: spec[2]}
		if c.h < 1 || c.h > 4 || c.v < 1 || c.v > 4 || c.tq > 3 {
			return errors.New("damaged frame header")
		}
		if n == 1 { // sampling factors are relative to the largest
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

// component finds a component of a scan by its id, among those from one on, as libjpeg does: they are in the order of the
// frame.
func (d *decoder) component(id uint8, from int) *component {
	for i := from; i < d.n; i++ {
		if c := &d.components[i]; c.id == id {
			return c
		}
	}
	return nil
}

// allocate allocates the memory of the components, once, at the first scan.
func (d *decoder) allocate() error {
	for i := range d.n {
		c := &d.components[i]
		// Subsampled chroma gets a larger transform, which outputs it directly at the reduced size of luma.
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
