package imageio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"math"
)

var pnmFormat = format{
	name:       "PNM",
	extensions: []string{".pgm", ".ppm"},
	magic:      []string{"P5", "P6"},
	size:       sizeBy(pnmConfig),
	decode:     decodePNM,
}

// pnmHeader reads the header of a binary PGM (P5) or PPM (P6). top is the value of white.
func pnmHeader(r *bufio.Reader) (width, height, channels, top int, err error) {
	magic, err := r.Peek(2)
	if err != nil {
		return 0, 0, 0, 0, err
	}
	channels = 1
	if magic[1] == '6' {
		channels = 3
	}
	_, _ = r.Discard(2)
	for _, v := range []*int{&width, &height, &top} {
		if *v, err = pnmNumber(r); err != nil {
			return 0, 0, 0, 0, err
		}
	}
	if top < 1 || top > 65535 {
		return 0, 0, 0, 0, fmt.Errorf("the largest value is %d, want 1 to 65535", top)
	}
	return width, height, channels, top, nil
}

// pnmNumber reads whitespace and comments, a number, and one byte after it.
func pnmNumber(r *bufio.Reader) (n int, err error) {
	digits := 0
	for {
		c, err := r.ReadByte()
		switch {
		case err != nil:
			return 0, err
		case c >= '0' && c <= '9' && digits < 9:
			n = n*10 + int(c-'0')
			digits++
		case c == '#' && digits == 0:
			if _, err := r.ReadSlice('\n'); err != nil {
				return 0, err
			}
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			return 0, errors.New("damaged header")
		case digits > 0:
			return n, nil
		}
	}
}

func pnmConfig(r io.Reader) (image.Config, error) {
	width, height, _, _, err := pnmHeader(bufio.NewReader(r))
	return image.Config{ColorModel: color.RGBAModel, Width: width, Height: height}, err
}

func decodePNM(data []byte, _ int) (RGB, error) {
	r := bufio.NewReader(bytes.NewReader(data))
	width, height, channels, top, err := pnmHeader(r)
	if err != nil {
		return RGB{}, err
	}
	bytes := 1
	if top > 255 {
		bytes = 2
	}
	if len(data) < width*height*channels*bytes {
		return RGB{}, io.ErrUnexpectedEOF
	}
	pix := make([]uint8, width*height*channels*bytes)
	if _, err := io.ReadFull(r, pix); err != nil {
		return RGB{}, err
	}
	if top != 255 {
		pix = pnmScale(pix, bytes, channels, top)
	}
	return fromChannels(width, height, channels, pix), nil
}

// pnmScale scales values to 8 bits, or gray of 16 bits to 16 bits, which are clipped to 255 as in other formats.
func pnmScale(pix []uint8, bytes, channels, top int) []uint8 {
	white := 255.0
	if bytes == 2 && channels == 1 {
		white = 65535
	}
	out := pix[:0]
	for i := 0; i < len(pix); i += bytes {
		v := int(pix[i])
		if bytes == 2 {
			v = v<<8 | int(pix[i+1])
		}
		out = append(out, uint8(min(math.RoundToEven(float64(v)/float64(top)*white), 255)))
	}
	return out
}
