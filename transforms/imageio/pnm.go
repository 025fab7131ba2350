package imageio

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
)

var pnmFormat = format{
	name:       "PNM",
	extensions: []string{".pbm", ".pgm", ".ppm", ".pnm", ".pfm"},
	magic:      []string{"P1", "P2", "P3", "P4", "P5", "P6", "Pf"},
	size:       pnmSize,
	decode:     decodePNM,
}

// pnmFile is a PBM (P1, P4), PGM (P2, P5) or PPM (P3, P6), as text or binary, or a gray PFM (Pf).
type pnmFile struct {
	kind          byte // the second letter
	width, height int
	channels      int
	top           int     // the value of white
	scale         float64 // of a PFM; negative if it is little-endian
	data          []byte  // after the header
}

var errPNM = errors.New("damaged header")

func readPNM(data []byte) (f *pnmFile, err error) {
	if len(data) < 3 || !isBlank(data[2]) {
		return nil, errPNM
	}
	f = &pnmFile{kind: data[1], channels: 1, top: 1, data: data[3:]}
	if f.kind == '3' || f.kind == '6' {
		f.channels = 3
	}
	numbers := []*int{&f.width, &f.height}
	if f.kind != '1' && f.kind != '4' && f.kind != 'f' {
		numbers = append(numbers, &f.top)
	}
	for _, v := range numbers {
		token, err := f.token()
		if err != nil {
			return nil, err
		}
		if *v, err = number(token); err != nil {
			return nil, errPNM
		}
	}
	if f.top < 1 || f.top > 65535 {
		return nil, fmt.Errorf("the largest value is %d, want 1 to 65535", f.top)
	}
	if f.kind == 'f' {
		token, err := f.token()
		if err != nil {
			return nil, err
		}
		f.scale, err = strconv.ParseFloat(token, 64)
		if err != nil || f.scale == 0 || math.IsNaN(f.scale) || math.IsInf(f.scale, 0) {
			return nil, errPNM
		}
	}
	return f, nil
}

// token reads the next word of the header and one byte after it. A comment is no part of the word that it is in.
func (f *pnmFile) token() (string, error) {
	const most = 10 // bytes, as in Pillow
	var token []byte
	for len(f.data) > 0 && len(token) <= most {
		c := f.data[0]
		f.data = f.data[1:]
		switch {
		case c == '#':
			f.data = f.data[min(lineEnd(f.data)+1, len(f.data)):]
		case !isBlank(c):
			token = append(token, c)
		case len(token) > 0:
			return string(token), nil
		}
	}
	if len(token) == 0 {
		return "", io.ErrUnexpectedEOF
	}
	if len(token) > most {
		return "", errPNM
	}
	return string(token), nil
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// lineEnd returns the index of the end of the line, or the length if there is none.
func lineEnd(data []byte) int {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i
	}
	return len(data)
}

// number parses digits, and nothing else.
func number(token string) (int, error) {
	n, err := strconv.ParseUint(token, 10, 40)
	return int(n), err
}

func pnmSize(data []byte) (width, height int, err error) {
	f, err := readPNM(data)
	if err != nil {
		return 0, 0, err
	}
	return f.width, f.height, nil
}

func decodePNM(data []byte, _ int) (RGB, error) {
	f, err := readPNM(data)
	if err != nil {
		return RGB{}, err
	}
	pix, err := f.pixels()
	if err != nil {
		return RGB{}, err
	}
	rgb := fromChannels(f.width, f.height, f.channels, pix)
	rgb.Clipped = f.top > 255 && f.channels == 1 && rgb.mostlyWhite()
	return rgb, nil
}

// pixels returns the values as 8 bits.
func (f *pnmFile) pixels() ([]uint8, error) {
	n := f.width * f.height * f.channels
	least := n // bytes
	switch wide := f.top > 255; {
	case f.kind == '2', f.kind == '3':
		least = 2*n - 1
	case f.kind == '4':
		least = (f.width + 7) / 8 * f.height
	case f.kind == 'f':
		least = 4 * n
	case wide && f.kind != '1':
		least = 2 * n
	}
	if len(f.data) < least {
		return nil, io.ErrUnexpectedEOF
	}
	switch f.kind {
	case '1', '2', '3':
		return f.text(n)
	case '4':
		return f.bits(), nil
	case 'f':
		return f.floats(), nil
	}
	pix := slices.Clone(f.data[:least])
	if f.top == 255 {
		return pix, nil
	}
	out := pix[:0]
	for i := 0; i < len(pix); i += least / n {
		v := int(pix[i])
		if f.top > 255 {
			v = v<<8 | int(pix[i+1])
		}
		out = append(out, f.value(v))
	}
	return out, nil
}

// value scales a value to 8 bits, or gray of 16 bits to 16 bits, which are clipped to 255 as in other formats.
func (f *pnmFile) value(v int) uint8 {
	white := 255.0
	if f.top > 255 && f.channels == 1 {
		white = 65535
	}
	return uint8(min(math.RoundToEven(float64(v)/float64(f.top)*white), 255))
}

// text reads values that are written as text, in which 1 is black if they are bits. What follows them does not matter.
func (f *pnmFile) text(n int) ([]uint8, error) {
	rest, pix := f.data, make([]uint8, 0, n)
	var token []byte
	for len(pix) < n {
		c := byte(' ')
		if len(rest) > 0 {
			c, rest = rest[0], rest[1:]
		} else if len(token) == 0 {
			return nil, io.ErrUnexpectedEOF
		}
		switch {
		case c == '#':
			rest = rest[min(lineEnd(rest)+1, len(rest)):]
		case f.kind == '1' && (c == '0' || c == '1'):
			pix = append(pix, ('1'-c)*255)
		case !isBlank(c):
			if token = append(token, c); len(token) > 10 || f.kind == '1' {
				return nil, fmt.Errorf("damaged value %q", token)
			}
		case len(token) > 0:
			v, err := number(string(token))
			if err != nil || v > f.top {
				return nil, fmt.Errorf("damaged value %q, want 0 to %d", token, f.top)
			}
			pix, token = append(pix, f.value(v)), token[:0]
		}
	}
	return pix, nil
}

// bits unpacks rows of bits, in which 1 is black.
func (f *pnmFile) bits() []uint8 {
	stride, pix := (f.width+7)/8, make([]uint8, 0, f.width*f.height)
	for y := range f.height {
		row := f.data[y*stride:][:stride]
		for x := range f.width {
			pix = append(pix, (row[x/8]>>(7-x%8)&1^1)*255)
		}
	}
	return pix
}

// floats converts floating-point values from 0 to 255, of which the lowest row comes first.
func (f *pnmFile) floats() []uint8 {
	var order binary.ByteOrder = binary.BigEndian
	if f.scale < 0 {
		order = binary.LittleEndian
	}
	pix := make([]uint8, 0, f.width*f.height)
	for y := range f.height {
		row := f.data[4*f.width*(f.height-1-y):]
		for x := range f.width {
			v := math.Float32frombits(order.Uint32(row[4*x:]))
			if !(v > 0) {
				v = 0
			}
			pix = append(pix, uint8(min(v, 255)))
		}
	}
	return pix
}
