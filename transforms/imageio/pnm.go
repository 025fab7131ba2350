package imageio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
)

var pnmFormat = format{
	name:       "PNM",
	extensions: []string{".pgm", ".ppm"},
	magic:      []string{"P5", "P6"},
	size:       sizeBy(pnmConfig),
	decode:     decodePNM,
}

// pnmHeader reads the header of a binary 8-bit PGM (P5) or PPM (P6).
func pnmHeader(r *bufio.Reader) (width, height, channels int, err error) {
	magic, err := r.Peek(2)
	if err != nil {
		return 0, 0, 0, err
	}
	channels = 1
	if magic[1] == '6' {
		channels = 3
	}
	_, _ = r.Discard(2)
	var top int
	for _, v := range []*int{&width, &height, &top} {
		if *v, err = pnmNumber(r); err != nil {
			return 0, 0, 0, err
		}
	}
	if top != 255 {
		return 0, 0, 0, fmt.Errorf("the largest value is %d, want 255", top)
	}
	return width, height, channels, nil
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
	width, height, _, err := pnmHeader(bufio.NewReader(r))
	return image.Config{ColorModel: color.RGBAModel, Width: width, Height: height}, err
}

func decodePNM(data []byte, _ int) (RGB, error) {
	r := bufio.NewReader(bytes.NewReader(data))
	width, height, channels, err := pnmHeader(r)
	if err != nil {
		return RGB{}, err
	}
	if len(data) < width*height*channels {
		return RGB{}, io.ErrUnexpectedEOF
	}
	pix := make([]uint8, width*height*channels)
	if _, err := io.ReadFull(r, pix); err != nil {
		return RGB{}, err
	}
	if channels == 3 {
		return RGB{Width: width, Height: height, Pix: pix}, nil
	}
	return fromImage(&image.Gray{Pix: pix, Stride: width, Rect: image.Rect(0, 0, width, height)})
}
