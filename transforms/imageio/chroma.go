package imageio

import "image"

// This file turns luma and subsampled chroma planes into RGB as the C
// libraries behind Pillow do: libjpeg's "fancy" upsampling and colour tables,
// and libwebp's. Go's image/color would repeat each chroma sample.

// fromJPEG converts planes as libjpeg does (jdsample.c, jdcolor.c).
func fromJPEG(img *image.YCbCr) RGB {
	out := newRGB(img.Rect)
	across, down := subsampling(img.SubsampleRatio)
	cb, cr := newPlane(img, img.Cb, across, down), newPlane(img, img.Cr, across, down)
	blue, red := make([]int32, out.Width+2), make([]int32, out.Width+2)
	for y := range out.Height {
		cb.jpegRow(blue, y)
		cr.jpegRow(red, y)
		luma := img.Y[y*img.YStride:][:out.Width]
		for x, l := range luma {
			l, u, v := int32(l), blue[x]-128, red[x]-128
			r := l + (91881*v+1<<15)>>16
			g := l + (-22554*u-46802*v+1<<15)>>16
			b := l + (116130*u+1<<15)>>16
			out.set(y*out.Width+x, clip8(r), clip8(g), clip8(b))
		}
	}
	return out
}

// fromWebP converts planes as libwebp does (upsampling.c, yuv.h).
func fromWebP(img *image.YCbCr) RGB {
	out := newRGB(img.Rect)
	cb, cr := newPlane(img, img.Cb, 2, 2), newPlane(img, img.Cr, 2, 2)
	us, vs := make([]int32, out.Width+2), make([]int32, out.Width+2)
	for y := range out.Height {
		cb.webpRow(us, y)
		cr.webpRow(vs, y)
		luma := img.Y[y*img.YStride:][:out.Width]
		for x, l := range luma {
			l, u, v := int32(l)*19077>>8, us[x], vs[x]
			r := l + v*26149>>8 - 14234
			g := l - u*6419>>8 - v*13320>>8 + 8708
			b := l + u*33050>>8 - 17685
			out.set(y*out.Width+x, clip8(r>>6), clip8(g>>6), clip8(b>>6))
		}
	}
	return out
}

func clip8(v int32) uint8 { return uint8(min(max(v, 0), 255)) }

// subsampling returns how many pixels share a chroma sample.
func subsampling(ratio image.YCbCrSubsampleRatio) (across, down int) {
	switch ratio {
	case image.YCbCrSubsampleRatio422:
		return 2, 1
	case image.YCbCrSubsampleRatio420:
		return 2, 2
	case image.YCbCrSubsampleRatio440:
		return 1, 2
	case image.YCbCrSubsampleRatio411:
		return 4, 1
	case image.YCbCrSubsampleRatio410:
		return 4, 2
	}
	return 1, 1
}

// plane is a chroma plane of width x height samples.
type plane struct {
	pix                   []uint8
	stride, width, height int
	across, down          int
}

func newPlane(img *image.YCbCr, pix []uint8, across, down int) plane {
	return plane{pix, img.CStride, (img.Rect.Dx() + across - 1) / across, (img.Rect.Dy() + down - 1) / down, across, down}
}

// row returns sample row y, or the nearest one that exists.
func (p plane) row(y int) []uint8 {
	return p.pix[min(max(y, 0), p.height-1)*p.stride:][:p.width]
}

// near returns the sample rows that pixel row y lies between, nearest first.
func (p plane) near(y int) (this, other []uint8) {
	return p.row(y / 2), p.row(y/2 - 1 + y%2*2)
}

// jpegRow writes the samples of pixel row y. Sides of ratio 2 are
// interpolated with weights 3/4 and 1/4, with the rounding biases of
// jdsample.c; other ratios repeat samples, as do planes of one or two columns.
func (p plane) jpegRow(out []int32, y int) {
	smooth := p.across == 2 && p.width > 2
	switch {
	case smooth && p.down == 2:
		this, other := p.near(y)
		sum := func(x int) int32 { return 3*int32(this[x]) + int32(other[x]) }
		last := p.width - 1
		for x := range p.width {
			out[2*x] = (3*sum(x) + sum(max(x-1, 0)) + 8) >> 4
			out[2*x+1] = (3*sum(x) + sum(min(x+1, last)) + 7) >> 4
		}
	case smooth && p.down == 1:
		row, last := p.row(y), p.width-1
		for x := range p.width {
			out[2*x] = (3*int32(row[x]) + int32(row[max(x-1, 0)]) + 1) >> 2
			out[2*x+1] = (3*int32(row[x]) + int32(row[min(x+1, last)]) + 2) >> 2
		}
	case p.across == 1 && p.down == 2:
		this, other := p.near(y)
		bias := int32(1 + y%2)
		for x := range p.width {
			out[x] = (3*int32(this[x]) + int32(other[x]) + bias) >> 2
		}
	default:
		row := p.row(y / p.down)
		for x := range len(out) - 2 {
			out[x] = int32(row[x/p.across])
		}
	}
}

// webpRow writes the samples of pixel row y: each is 9/16, 3/16, 3/16 and 1/16
// of the four around it, rounded as libwebp rounds.
func (p plane) webpRow(out []int32, y int) {
	this, other := p.near(y)
	edge := func(x int) int32 { return (3*int32(this[x]) + int32(other[x]) + 2) >> 2 }
	out[0] = edge(0)
	for x := 1; x < p.width; x++ {
		a, b := int32(this[x-1]), int32(this[x])
		c, d := int32(other[x-1]), int32(other[x])
		sum := a + b + c + d + 8
		out[2*x-1] = ((sum+2*(b+c))>>3 + a) >> 1
		out[2*x] = ((sum+2*(a+d))>>3 + b) >> 1
	}
	out[2*p.width-1] = edge(p.width - 1)
}
