package jpeg

import "errors"

// image assembles the image from its components.
func (d *decoder) image() (Image, error) {
	if d.n == 0 {
		return Image{}, errors.New("no frame header")
	}
	if d.scans == 0 {
		return Image{}, errors.New("no scan")
	}
	smooth := d.progressive && d.smooths()
	if smooth {
		d.note(errors.New("the last scans are missing"))
	}
	for i := range d.n {
		c := &d.components[i]
		switch {
		case d.progressive:
			d.reconstructAll(c, smooth)
		case !c.quant.defined:
			d.note(errors.New("a component has no scan"))
			for i := range c.pix {
				c.pix[i] = 128
			}
		}
	}
	m := Image{
		Width:    ceilDiv(d.width*d.dctSize, 8),
		Height:   ceilDiv(d.height*d.dctSize, 8),
		Channels: d.n,
	}
	m.Pix = make([]uint8, m.Width*m.Height*m.Channels)
	var ups [4]upsampler
	for i := range d.n {
		ups[i] = d.upsampler(&d.components[i])
	}
	convert := d.converter()
	stride := m.Width * m.Channels
	var rows [4][]uint8
	for y := range m.Height {
		for i := range d.n {
			rows[i] = ups[i].row(y)
		}
		convert(m.Pix[y*stride:(y+1)*stride], &rows)
	}
	return m, nil
}

// reconstructAll turns the coefficients of a progressive image into samples.
func (d *decoder) reconstructAll(c *component, smooth bool) {
	across := c.stride / c.dctSize
	for y := range c.blocksY {
		for x := range c.blocksX {
			var b block
			last := 0
			coeffs := &c.coeffs[y*across+x]
			if smooth {
				smoothed := d.smooth(c, x, y)
				coeffs = &smoothed
			}
			if c.dctSize == 1 {
				c.dot(coeffs[0], x, y)
				continue
			}
			for k, v := range coeffs {
				if v != 0 {
					b[zigzag[k]] = int16(int32(v) * c.quant.factors[k])
					last = k
				}
			}
			c.reconstruct(&b, last, x, y)
		}
	}
}

// colors is what the samples of an image are.
type colors int

const (
	guessed colors = iota
	yCbCr
	stored // are to be left as they are
)

// converter returns the conversion of a row of components to pixels. It guesses the color space by libjpeg's rules if it is not
// known.
func (d *decoder) converter() func(out []uint8, rows *[4][]uint8) {
	switch {
	case d.n == 1, d.colors == stored:
		return d.interleave
	case d.n == 4 && d.adobe <= 1:
		return invert
	case d.n == 4:
		return fromYCCK
	case d.colors == yCbCr:
		return fromYCC
	}
	id := func(i int) uint8 { return d.components[i].id }
	letters := id(0) == 'R' && id(1) == 'G' && id(2) == 'B'
	if !d.jfif && (d.adobe == 1 || d.adobe == 0 && letters) {
		return d.interleave
	}
	return fromYCC
}

func (d *decoder) interleave(out []uint8, rows *[4][]uint8) {
	for c, row := range rows[:d.n] {
		for x, v := range row[:len(out)/d.n] {
			out[x*d.n+c] = v
		}
	}
}

// invert converts CMYK, which Adobe, and thus everybody, stores inverted.
func invert(out []uint8, rows *[4][]uint8) {
	for i := range out {
		out[i] = 255 - rows[i%4][i/4]
	}
}

func fromYCC(out []uint8, rows *[4][]uint8) {
	n := len(out) / 3
	convertYCC(out, rows[0][:n], rows[1][:n], rows[2][:n])
}

// convertPixels is convertYCC in Go.
func convertPixels(out, luma, blue, red []uint8) {
	blue, red = blue[:len(luma)], red[:len(luma)]
	for x, l := range luma {
		p := (*[3]uint8)(out[3*x:])
		p[0], p[1], p[2] = rgb(l, blue[x], red[x])
	}
}

// fromYCCK converts YCCK, where YCC encodes the RGB inverse of CMY and black is stored inverted.
func fromYCCK(out []uint8, rows *[4][]uint8) {
	for x := range len(out) / 4 {
		p := (*[4]uint8)(out[4*x:])
		p[0], p[1], p[2] = rgb(rows[0][x], rows[1][x], rows[2][x])
		p[3] = 255 - rows[3][x]
	}
}

// rgb converts a pixel by JFIF's formula, in fixed point.
func rgb(luma, blue, red uint8) (r, g, b uint8) {
	const half = 1 << 15
	l, cb, cr := int32(luma), int32(blue)-128, int32(red)-128
	return clip(l + (91881*cr+half)>>16), clip(l + (-22554*cb-46802*cr+half)>>16), clip(l + (116130*cb+half)>>16)
}

func clip(v int32) uint8 {
	if uint32(v) > 255 { // rare
		return uint8(^v >> 31)
	}
	return uint8(v)
}
