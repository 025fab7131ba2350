package imageio

import (
	"encoding/binary"
	"errors"
	"image"
	"io"
)

var gifFormat = format{
	name:       "GIF",
	extensions: []string{".gif"},
	magic:      []string{"GIF87a", "GIF89a"},
	size:       gifSize,
	decode:     decodeGIF,
}

// gifFrame is the first frame of a GIF. The standard library refuses frames that extend beyond the screen, files without
// a color table, and more data than the frame has pixels, all of which others show.
type gifFrame struct {
	width, height int // of the screen, which grows where the frame extends beyond it
	frame         image.Rectangle
	colors        []byte // the color table, nil if colors are gray
	transparent   uint8  // what the screen shows around the frame
	interlaced    bool
	bits          int
	data          []byte // from the first block of pixels on
	damage        error
}

var errGIF = errors.New("damaged block")

func readGIF(data []byte) (*gifFrame, error) {
	if len(data) < 13 {
		return nil, io.ErrUnexpectedEOF
	}
	f := &gifFrame{width: int(binary.LittleEndian.Uint16(data[6:])), height: int(binary.LittleEndian.Uint16(data[8:]))}
	r := gifReader(data[13:])
	if data[10]&0x80 != 0 {
		f.colors = r.table(data[10])
	}
	for len(r) > 0 {
		switch r.take(1)[0] {
		case ';':
			return nil, errors.New("no frame")
		case '!':
			label := r.take(1)
			block := r.block()
			if len(label) == 1 && label[0] == 0xf9 && len(block) > 0 {
				if len(block) < 3 || len(block) < 4 && block[0]&1 != 0 {
					return nil, errGIF
				}
				if block[0]&1 != 0 {
					f.transparent = block[3]
				}
			}
			for len(block) > 0 {
				block = r.block()
			}
		case ',':
			return f, f.image(&r)
		}
	}
	return nil, io.ErrUnexpectedEOF
}

// image reads the header of the frame.
func (f *gifFrame) image(r *gifReader) error {
	head := r.take(9)
	if len(head) < 9 {
		return io.ErrUnexpectedEOF
	}
	x, y := int(binary.LittleEndian.Uint16(head)), int(binary.LittleEndian.Uint16(head[2:]))
	f.frame = image.Rect(x, y, x+int(binary.LittleEndian.Uint16(head[4:])), y+int(binary.LittleEndian.Uint16(head[6:])))
	if f.frame.Max.X > f.width || f.frame.Max.Y > f.height {
		f.damage = errors.New("frame beyond the screen")
		f.width, f.height = max(f.width, f.frame.Max.X), max(f.height, f.frame.Max.Y)
	}
	f.interlaced = head[8]&0x40 != 0
	if head[8]&0x80 != 0 {
		f.colors = r.table(head[8])
	}
	bits := r.take(1)
	if len(bits) == 0 {
		return io.ErrUnexpectedEOF
	}
	f.bits, f.data = int(bits[0]), *r
	if f.frame.Empty() || f.bits > 12 {
		return errGIF
	}
	return nil
}

func gifSize(data []byte) (width, height int, err error) {
	f, err := readGIF(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

// decodeGIF draws the first frame on the screen. Where the frame does not cover it, it shows the transparent color, or
// color 0.
func decodeGIF(data []byte, _ int) (RGB, error) {
	f, err := readGIF(data)
	if err != nil {
		return RGB{}, err
	}
	var colors [256][3]uint8
	for i := range colors {
		switch {
		case f.colors == nil:
			colors[i] = [3]uint8{uint8(i), uint8(i), uint8(i)}
		case 3*i+3 <= len(f.colors):
			colors[i] = [3]uint8(f.colors[3*i:])
		}
	}
	const longest = 1 << 12 // pixels of a code, which takes a byte or more after the first ones
	if f.frame.Dx()*f.frame.Dy() > longest*len(f.data) {
		return RGB{}, io.ErrUnexpectedEOF
	}
	out := newRGB(image.Rect(0, 0, f.width, f.height))
	out.fill(colors[f.transparent])
	out.Damage = f.damage
	p := gifPen{out: out, frame: f.frame, y: f.frame.Min.Y, step: 1, colors: &colors}
	if f.interlaced {
		p.pass, p.step = 1, 8
	}
	p.x = f.frame.Min.X
	if err := p.draw(f.data, f.bits); err != nil {
		return RGB{}, err
	}
	return out, nil
}

// gifReader reads the parts of a GIF; at its end they are shorter.
type gifReader []byte

func (r *gifReader) take(n int) []byte {
	n = min(n, len(*r))
	out := (*r)[:n]
	*r = (*r)[n:]
	return out
}

// block reads a block with its length before it.
func (r *gifReader) block() []byte {
	n := r.take(1)
	if len(n) == 0 {
		return nil
	}
	return r.take(int(n[0]))
}

// table reads a color table. As in Pillow, one of grays that equal their indices is none, so that indices beyond it are gray, too.
// Pillow then paints with the colors of the screen, if it has some, which we do not.
func (r *gifReader) table(flags byte) []byte {
	colors := r.take(3 << (flags&7 + 1))
	for i, v := range colors {
		if int(v) != i/3 {
			return colors
		}
	}
	return nil
}

// gifPen draws pixels in the order of the file.
type gifPen struct {
	out    RGB
	frame  image.Rectangle
	x, y   int
	step   int
	pass   int // of an interlaced frame, whose rows come in four passes; 0 in the last
	colors *[256][3]uint8
}

// pixel draws a pixel and reports whether more follow.
func (p *gifPen) pixel(v uint8) bool {
	c := p.colors[v]
	p.out.set(p.y*p.out.Width+p.x, c[0], c[1], c[2])
	if p.x++; p.x < p.frame.Max.X {
		return true
	}
	p.x = p.frame.Min.X
	for p.y += p.step; p.y >= p.frame.Max.Y; {
		if p.pass == 0 {
			return false
		}
		p.y, p.step = p.frame.Min.Y+8>>p.pass, 16>>p.pass
		p.pass = (p.pass + 1) % 4
	}
	return true
}

// draw decompresses the pixels. Like giflib and Pillow it stops with the last one, whatever follows.
func (p *gifPen) draw(data []byte, bits int) error {
	const most = 12 // bits of a code
	var (
		last, before [1 << most]uint16 // the last value of each code and the code before it
		text         [1<<most + 1]uint8
	)
	clear, end := 1<<bits, 1<<bits+1
	next, size, previous, first := clear+2, bits+1, -1, uint8(0)
	acc, left := uint32(0), 0
	block := 0 // bytes left of the block
	for {
		for left < size {
			switch {
			case len(data) == 0, block == 0 && len(data) <= int(data[0]):
				return io.ErrUnexpectedEOF
			case block == 0:
				block = int(data[0])
			default:
				acc |= uint32(data[0]) << left
				left += 8
				block--
			}
			data = data[1:]
		}
		code := int(acc & (1<<size - 1))
		acc >>= size
		left -= size
		switch {
		case code == clear:
			next, size, previous = clear+2, bits+1, -1
			continue
		case code == end:
			return io.ErrUnexpectedEOF
		case previous < 0:
			if code > clear {
				return errors.New("damaged code")
			}
			first, previous = uint8(code), code
			if !p.pixel(first) {
				return nil
			}
			continue
		case code > next:
			return errors.New("damaged code")
		}
		at, c := len(text), code
		if c == next {
			at--
			text[at], c = first, previous
		}
		for c >= clear {
			if at == 1 || c >= len(last) {
				return errors.New("damaged code")
			}
			at--
			text[at], c = uint8(last[c]), int(before[c])
		}
		first = uint8(c)
		at--
		text[at] = first
		if next < len(last) {
			last[next], before[next] = uint16(first), uint16(previous)
			if next == 1<<size-1 && size < most {
				size++
			}
			next++
		}
		previous = code
		for _, v := range text[at:] {
			if !p.pixel(v) {
				return nil
			}
		}
	}
}
