package imageio

import (
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"io"
)

var bmpFormat = format{
	name:       "BMP",
	extensions: []string{".bmp"},
	magic:      []string{"BM"},
	size:       bmpSize,
	decode:     decodeBMP,
}

// The compressions of a BMP.
const (
	bmpRaw, bmpRLE8, bmpRLE4, bmpMasks = 0, 1, 2, 3
)

// bmpHeader is what a BMP says about its pixels. The decoder of golang.org/x/image has no run lengths, 16-bit pixels,
// headers of OS/2, and gaps before the pixels.
type bmpHeader struct {
	width, height int
	down          bool // the first row is the top one, which is rare
	bits          int  // of a pixel
	compression   int
	at            int // of the pixels
	// colors are those of indices; gray is whether they are a ramp, so that indices without a color are gray, too.
	colors  [256][3]uint8
	rowBits int // of a pixel as Pillow reads it: it takes a palette of black and white for 1 bit
	// from are the positions of red, green and blue in a pixel of whole bytes.
	from [3]int
	// narrow is whether green has 5 bits of 16 instead of 6.
	narrow bool
}

// bmpLayouts are the known masks of pixels of 32 bits, with the positions of their red, green and blue.
var bmpLayouts = map[[4]uint32][3]int{
	{0xff0000, 0xff00, 0xff, 0}:          {2, 1, 0},
	{0xff000000, 0xff0000, 0xff00, 0}:    {3, 2, 1},
	{0xff000000, 0xff00, 0xff, 0}:        {3, 1, 0},
	{0xff000000, 0xff0000, 0xff00, 0xff}: {3, 2, 1},
	{0xff, 0xff00, 0xff0000, 0xff000000}: {0, 1, 2},
	{0xff0000, 0xff00, 0xff, 0xff000000}: {2, 1, 0},
	{0xff000000, 0xff00, 0xff, 0xff0000}: {3, 1, 0},
	{0, 0, 0, 0}:                         {2, 1, 0},
}

func readBMP(data []byte) (*bmpHeader, error) {
	if len(data) < 26 {
		return nil, io.ErrUnexpectedEOF
	}
	u16, u32 := binary.LittleEndian.Uint16, binary.LittleEndian.Uint32
	size := int(u32(data[14:]))
	if size > len(data)-14 {
		return nil, io.ErrUnexpectedEOF
	}
	head, rest := data[14:14+size], data[14+size:]
	h := &bmpHeader{at: int(u32(data[10:])), from: [3]int{2, 1, 0}, narrow: true}
	entry, colors := 4, 0
	switch size {
	case 12:
		h.width, h.height, h.bits = int(u16(head[4:])), int(u16(head[6:])), int(u16(head[10:]))
		entry = 3
	case 40, 52, 56, 64, 108, 124:
		h.width, h.height, h.bits = int(u32(head[4:])), int(u32(head[8:])), int(u16(head[14:]))
		if h.down = head[11] == 0xff; h.down {
			h.height = 1<<32 - h.height
		}
		h.compression, colors = int(u32(head[16:])), int(u32(head[32:]))
	default:
		return nil, fmt.Errorf("header of %d bytes", size)
	}
	if colors == 0 {
		colors = 1 << min(h.bits, 32)
	}
	if h.at == 14+size && h.bits <= 8 {
		h.at += entry * colors
	}
	h.rowBits = h.bits
	switch h.bits {
	case 1, 4, 8:
		palette := rest[:min(entry*colors, len(rest))]
		if h.at == 0 { // the pixels come next
			h.at = 14 + size + len(palette)
		}
		return h, h.palette(palette, entry, colors)
	case 16, 24, 32:
	default:
		return nil, fmt.Errorf("%d bits per pixel", h.bits)
	}
	next := 14 + size
	if h.compression == bmpMasks {
		if size < 52 {
			head = append(head[:40:40], rest[:min(12, len(rest))]...)
			next += 12
		}
		if len(head) < 52 {
			return nil, io.ErrUnexpectedEOF
		}
		masks := [4]uint32{u32(head[40:]), u32(head[44:]), u32(head[48:])}
		if size >= 56 {
			masks[3] = u32(head[52:])
		}
		if err := h.masks(masks); err != nil {
			return nil, err
		}
	}
	if h.at == 0 {
		h.at = next
	}
	return h, nil
}

// masks finds the positions of the colors.
func (h *bmpHeader) masks(masks [4]uint32) error {
	known := false
	switch colors := [3]uint32(masks[:]); h.bits {
	case 16:
		h.narrow = colors == [3]uint32{0x7c00, 0x3e0, 0x1f}
		known = h.narrow || colors == [3]uint32{0xf800, 0x7e0, 0x1f}
	case 24:
		known = colors == [3]uint32{0xff0000, 0xff00, 0xff}
	default:
		h.from, known = bmpLayouts[masks]
	}
	if !known {
		return fmt.Errorf("masks %x of the colors are not supported", masks)
	}
	return nil
}

// palette reads the colors. A ramp of gray or only black and white is not a palette to Pillow.
func (h *bmpHeader) palette(data []byte, entry, n int) error {
	if n > 1<<16 {
		return fmt.Errorf("palette of %d colors", n)
	}
	ramp := len(data) == entry*n
	for i := 0; i < n && ramp; i++ {
		want := uint8(i)
		if n == 2 {
			want = uint8(-i)
		}
		ramp = [3]uint8(data[entry*i:]) == [3]uint8{want, want, want}
	}
	switch {
	case ramp && n <= 2:
		h.rowBits = 1
		for i := range h.colors[1:] {
			h.colors[1+i] = [3]uint8{255, 255, 255}
		}
	case ramp:
		h.rowBits = 8
		for i := range h.colors {
			h.colors[i] = [3]uint8{uint8(i), uint8(i), uint8(i)}
		}
	case len(data)/entry > 256:
		return fmt.Errorf("palette of %d colors", n)
	default:
		for i := range len(data) / entry {
			h.colors[i] = [3]uint8{data[entry*i+2], data[entry*i+1], data[entry*i]}
		}
	}
	return nil
}

func bmpSize(data []byte) (width, height int, err error) {
	h, err := readBMP(data)
	if err != nil {
		return 0, 0, err
	}
	return h.width, h.height, nil
}

func decodeBMP(data []byte, _ int) (RGB, error) {
	h, err := readBMP(data)
	if err != nil {
		return RGB{}, err
	}
	stride := (h.width*h.bits + 31) >> 3 &^ 3
	if h.rowBits > h.bits && (h.width*h.rowBits+7)/8 > stride {
		return RGB{}, errors.New("palette of more colors than indices")
	}
	pixels := data[min(h.at, len(data)):]
	switch {
	case h.compression == bmpRaw, h.compression == bmpMasks && h.bits > 8:
	case (h.compression == bmpRLE8 || h.compression == bmpRLE4) && h.bits <= 8:
		pixels = h.expand(pixels)
		stride, h.rowBits = h.width, 8
	default:
		return RGB{}, fmt.Errorf("compression %d is not supported", h.compression)
	}
	if len(pixels) < (h.height-1)*stride+(h.width*h.rowBits+7)/8 {
		return RGB{}, io.ErrUnexpectedEOF
	}
	out := newRGB(image.Rect(0, 0, h.width, h.height))
	for y := range h.height {
		row := h.height - 1 - y
		if h.down {
			row = y
		}
		h.row(out, row*h.width, pixels)
		pixels = pixels[min(stride, len(pixels)):]
	}
	return out, nil
}

// row converts a row of pixels.
func (h *bmpHeader) row(out RGB, at int, row []byte) {
	for x := range h.width {
		switch h.rowBits {
		case 16:
			v := int(row[2*x]) | int(row[2*x+1])<<8
			r, g := v>>10&31*255/31, v>>5&31*255/31
			if !h.narrow {
				r, g = v>>11&31*255/31, v>>5&63*255/63
			}
			out.set(at+x, uint8(r), uint8(g), uint8(v&31*255/31))
		case 24, 32:
			p := row[x*h.rowBits/8:][:h.rowBits/8]
			out.set(at+x, p[h.from[0]], p[h.from[1]], p[h.from[2]])
		default:
			v := row[x*h.rowBits/8] >> (8 - h.rowBits - x*h.rowBits%8) & (1<<h.rowBits - 1)
			c := h.colors[v]
			out.set(at+x, c[0], c[1], c[2])
		}
	}
}

// expand expands run lengths to one byte per pixel. Skipped pixels are 0; those that do not come at all are missing.
func (h *bmpHeader) expand(data []byte) []byte {
	n := h.width * h.height
	var out []byte
	put := func(values []byte, count int) { // one after the other, each of 4 bits if they are short
		for i := range count {
			switch v := values[i/2%len(values)]; {
			case h.compression == bmpRLE8:
				out = append(out, values[i%len(values)])
			case i%2 == 0:
				out = append(out, v>>4)
			default:
				out = append(out, v&15)
			}
		}
	}
	x := 0
	for whole := len(data); len(out) < n && len(data) >= 2; {
		count, code := int(data[0]), int(data[1])
		value := data[1:2]
		data = data[2:]
		switch {
		case count > 0: // equal pixels, none beyond the row
			count = max(min(count, h.width-x), 0)
			put(value, count)
			x += count
		case code == 0: // end of the row
			if over := len(out) % h.width; over > 0 {
				out = append(out, make([]byte, h.width-over)...)
			}
			x = 0
		case code == 1: // end of the image
			return out
		case code == 2: // skip
			if len(data) < 2 {
				return out
			}
			out = append(out, make([]byte, min(n-len(out), int(data[0])+int(data[1])*h.width))...)
			x = len(out) % h.width
			data = data[2:]
		default: // literal pixels
			count = min(n-len(out), code)
			bytes := count
			if h.compression == bmpRLE4 {
				bytes = (count + 1) / 2
			}
			if len(data) < bytes {
				return out
			}
			put(data[:bytes], count)
			x += code
			data = data[bytes:]
			if odd := (h.at + whole - len(data)) % 2; len(data) > 0 {
				data = data[odd:]
			}
		}
	}
	return out
}
