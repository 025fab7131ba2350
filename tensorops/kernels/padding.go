package kernels

// padding describes zero-padded images [H,W,C], of floats or of words of adjacent channels.
type padding struct {
	h, w, c                  int // of the image itself
	top, bottom, left, right int
	pairs                    bool // of words
}

// inputPadding returns the padding of x that the forward pass needs. It leaves out rows and columns that no window
// reaches.
func inputPadding(c Conv) padding {
	return padding{
		h: c.H, w: c.W, c: c.Cin,
		top: c.Pad, bottom: max(0, (c.OutH()-1)*c.Stride+c.KH-c.H-c.Pad),
		left: c.Pad, right: max(0, (c.OutW()-1)*c.Stride+c.KW-c.W-c.Pad),
	}
}

func (p padding) none() bool   { return p.top == 0 && p.bottom == 0 && p.left == 0 && p.right == 0 }
func (p padding) height() int  { return p.top + p.h + p.bottom }
func (p padding) rowLen() int  { return (p.left + p.w + p.right) * p.pixel() }
func (p padding) size() int    { return p.height() * p.rowLen() }
func (p padding) rawSize() int { return p.h * p.w * p.c }

// pixel returns the length of a pixel of the padded image.
func (p padding) pixel() int { return steps(p.c, p.pairs) }

// fill writes rows [from,to) of the padded image to dst.
func (p padding) fill(isa *isa, dst, img []float32, from, to int) {
	row, left, n := p.rowLen(), p.left*p.pixel(), p.w*p.pixel()
	first, end := max(from, p.top), min(to, p.top+p.h) // rows of the image itself
	zero := 0                                          // dst is written up to here
	for r := first; r < end; r++ {
		at := (r-from)*row + left
		clear(dst[zero:at])
		p.fillRow(isa, dst[at:at+n], img[(r-p.top)*p.w*p.c:][:p.w*p.c])
		zero = at + n
	}
	clear(dst[zero : (to-from)*row])
}

// fillRow copies a row of pixels.
func (p padding) fillRow(isa *isa, dst, src []float32) {
	switch {
	case !p.pairs:
		copy(dst, src)
	case p.c%2 == 0:
		isa.joinNeighbours(dst, src)
	default:
		for x := range p.w {
			isa.joinNeighbours(dst[x*p.pixel():], src[x*p.c:(x+1)*p.c])
		}
	}
}
