package kernels

// padding describes images [H,W,C] with zeros around them.
type padding struct {
	h, w, c                  int // the image itself
	top, bottom, left, right int
}

// inputPadding is what the forward pass needs around x. Rows and columns that no window reaches get no zeros.
func inputPadding(c Conv) padding {
	return padding{
		h: c.H, w: c.W, c: c.Cin,
		top: c.Pad, bottom: max(0, (c.OutH()-1)*c.Stride+c.KH-c.H-c.Pad),
		left: c.Pad, right: max(0, (c.OutW()-1)*c.Stride+c.KW-c.W-c.Pad),
	}
}

func (p padding) none() bool   { return p.top == 0 && p.bottom == 0 && p.left == 0 && p.right == 0 }
func (p padding) height() int  { return p.top + p.h + p.bottom }
func (p padding) rowLen() int  { return (p.left + p.w + p.right) * p.c }
func (p padding) size() int    { return p.height() * p.rowLen() }
func (p padding) rawSize() int { return p.h * p.w * p.c }

// fill writes the rows [from,to) of the padded image into dst.
func (p padding) fill(dst, img []float32, from, to int) {
	row, left, n := p.rowLen(), p.left*p.c, p.w*p.c
	first, end := max(from, p.top), min(to, p.top+p.h) // rows of the image itself
	zero := 0                                          // dst is written so far
	for r := first; r < end; r++ {
		at := (r-from)*row + left
		clear(dst[zero:at])
		zero = at + copy(dst[at:at+n], img[(r-p.top)*n:])
	}
	clear(dst[zero : (to-from)*row])
}
