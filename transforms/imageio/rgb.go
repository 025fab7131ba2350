package imageio

import (
	"fmt"
	"image"
	"image/color"
	"math"

	"github.com/sdr-ml/sdr/tensorops/resample"
)

// RGB is an 8-bit image. Pix is [Height, Width, 3]: rows of red, green, blue.
type RGB struct {
	Width, Height int
	Pix           []uint8
	// Damage is what is wrong with the file, if it could be read all the same; nil if it is sound or was not a file.
	Damage error
	// Clipped means that most of the file's pixels are gray of more than 8 bits that are clipped to white, as by Pillow.
	Clipped bool
}

// mostlyWhite reports whether most of the pixels are white.
func (m RGB) mostlyWhite() bool {
	white := 0
	for i := range m.Width * m.Height {
		if p := m.Pix[3*i:][:3]; p[0]&p[1]&p[2] == 255 {
			white++
		}
	}
	return 2*white > m.Width*m.Height
}

func newRGB(r image.Rectangle) RGB {
	return RGB{Width: r.Dx(), Height: r.Dy(), Pix: make([]uint8, r.Dx()*r.Dy()*3)}
}

func (m RGB) set(i int, r, g, b uint8) { p := m.Pix[3*i : 3*i+3]; p[0], p[1], p[2] = r, g, b }

func (m RGB) fill(c [3]uint8) {
	for i := range m.Width * m.Height {
		m.set(i, c[0], c[1], c[2])
	}
}

func (m RGB) gray(i int, v uint8) { m.set(i, v, v, v) }

// Resize scales the image like Pillow's resize((width, height), BICUBIC), byte for byte. The result shares the pixels
// if the size is the same.
func (m RGB) Resize(width, height int) RGB { return m.resize(width, height, m.whole()) }

// resize scales the part of the image inside a box to a width and height.
func (m RGB) resize(width, height int, box box) RGB {
	if width == m.Width && height == m.Height && box == m.whole() {
		return m
	}
	out := newRGB(image.Rect(0, 0, width, height))
	resample.Resize(out.Pix, width, height, m.Pix, m.Width, m.Height, box, resample.Bicubic, new(resample.Scratch))
	return out
}

// box is the left, top, right and bottom of a part of an image, in pixels. The box of an image decoded at reduced size
// may end within its last column and row.
type box [4]float64

func (m RGB) whole() box { return box{0, 0, float64(m.Width), float64(m.Height)} }

// Square scales the shorter side to size and crops the central square, like torchvision's Resize(size, BICUBIC) and
// CenterCrop(size). Of an image more than 64 times as long as wide, only the middle is scaled, to limit memory.
func (m RGB) Square(size int) RGB { return m.square(size, m.whole()) }

// square is Square for the part inside a box.
func (m RGB) square(size int, box box) RGB {
	if m.Width > 64*m.Height || m.Height > 64*m.Width {
		m = m.middle(min(m.Width, 64*m.Height), min(m.Height, 64*m.Width))
		box = m.whole()
	}
	across, down := box[2]-box[0], box[3]-box[1]
	width, height := size, size
	if across < down {
		height = int(float64(size) * down / across)
	} else {
		width = int(float64(size) * across / down)
	}
	return m.resize(width, height, box).middle(size, size)
}

// middle crops the center like torchvision's CenterCrop.
func (m RGB) middle(width, height int) RGB {
	if width == m.Width && height == m.Height {
		return m
	}
	top := int(math.RoundToEven(float64(m.Height-height) / 2))
	left := int(math.RoundToEven(float64(m.Width-width) / 2))
	out := newRGB(image.Rect(0, 0, width, height))
	for y := range height {
		from := ((top+y)*m.Width + left) * 3
		copy(out.Pix[y*width*3:], m.Pix[from:from+width*3])
	}
	return out
}

// orient applies an EXIF orientation, 1 to 8, to an image and a box in it. It ignores any other value.
func (m RGB) orient(orientation int, in box) (RGB, box) {
	if orientation < 2 || orientation > 8 {
		return m, in
	}
	left, right, top, bottom := in[0], in[2], in[1], in[3]
	mirrored, upsideDown, swapped := false, false, orientation >= 5
	switch orientation {
	case 2, 3, 7, 8:
		mirrored = true
		left, right = float64(m.Width)-right, float64(m.Width)-left
	}
	switch orientation {
	case 3, 4, 6, 7:
		upsideDown = true
		top, bottom = float64(m.Height)-bottom, float64(m.Height)-top
	}
	out := newRGB(image.Rect(0, 0, m.Width, m.Height))
	if swapped {
		out.Width, out.Height = m.Height, m.Width
		left, top, right, bottom = top, left, bottom, right
	}
	for y := range out.Height {
		for x := range out.Width {
			sx, sy := x, y
			if swapped {
				sx, sy = y, x
			}
			if mirrored {
				sx = m.Width - 1 - sx
			}
			if upsideDown {
				sy = m.Height - 1 - sy
			}
			copy(out.Pix[(y*out.Width+x)*3:][:3], m.Pix[(sy*m.Width+sx)*3:])
		}
	}
	return out, box{left, top, right, bottom}
}

// fromChannels converts gray, RGB or CMYK pixels; RGB ones become those of the image.
func fromChannels(width, height, channels int, pix []uint8) RGB {
	if channels == 3 {
		return RGB{Width: width, Height: height, Pix: pix}
	}
	out := newRGB(image.Rect(0, 0, width, height))
	for i := range width * height {
		if channels == 1 {
			out.gray(i, pix[i])
			continue
		}
		p := pix[4*i:][:4]
		out.set(i, ink(p[0], p[3]), ink(p[1], p[3]), ink(p[2], p[3]))
	}
	return out
}

// fromImage converts a decoder's image to RGB by Pillow's rules.
func fromImage(img image.Image) (RGB, error) {
	out := newRGB(img.Bounds())
	rows := func(pix []uint8, stride, bytes int, set func(i int, p []uint8)) {
		for y := range out.Height {
			row := pix[y*stride:]
			for x := range out.Width {
				set(y*out.Width+x, row[x*bytes:][:bytes:bytes])
			}
		}
	}
	switch img := img.(type) {
	case *image.Gray:
		rows(img.Pix, img.Stride, 1, func(i int, p []uint8) { out.gray(i, p[0]) })
	case *image.Gray16:
		rows(img.Pix, img.Stride, 2, func(i int, p []uint8) { out.gray(i, clip16(p[0], p[1])) })
	case *image.NRGBA:
		rows(img.Pix, img.Stride, 4, func(i int, p []uint8) { out.set(i, p[0], p[1], p[2]) })
	case *image.NRGBA64:
		rows(img.Pix, img.Stride, 8, func(i int, p []uint8) { out.set(i, p[0], p[2], p[4]) })
	case *image.RGBA: // opaque, from these decoders
		rows(img.Pix, img.Stride, 4, func(i int, p []uint8) { out.set(i, p[0], p[1], p[2]) })
	case *image.RGBA64:
		rows(img.Pix, img.Stride, 8, func(i int, p []uint8) { out.set(i, p[0], p[2], p[4]) })
	case *image.Paletted:
		colors := opaque(img.Palette)
		rows(img.Pix, img.Stride, 1, func(i int, p []uint8) { c := colors[p[0]]; out.set(i, c[0], c[1], c[2]) })
	default:
		return RGB{}, fmt.Errorf("pixels of type %T are not supported", img)
	}
	return out, nil
}

// clip16 clips a 16-bit gray value to 8 bits, as Pillow converts I;16.
func clip16(high, low uint8) uint8 {
	if high > 0 {
		return 255
	}
	return low
}

// ink converts an ink and black to an RGB channel by Pillow's formula.
func ink(v, black uint8) uint8 {
	paper := 255 - int(black)
	t := int(v)*paper + 128
	return uint8(max(paper-(t>>8+t)>>8, 0))
}

// opaque returns the palette's colors without alpha. Missing entries are black, as in Pillow.
func opaque(palette color.Palette) (colors [256][3]uint8) {
	for i, c := range palette[:min(len(palette), 256)] {
		switch c := c.(type) {
		case color.RGBA:
			colors[i] = [3]uint8{c.R, c.G, c.B}
		case color.NRGBA:
			colors[i] = [3]uint8{c.R, c.G, c.B}
		default:
			r, g, b, _ := c.RGBA()
			colors[i] = [3]uint8{uint8(r >> 8), uint8(g >> 8), uint8(b >> 8)}
		}
	}
	return colors
}
