// Package jpeg decodes JPEG images to exactly the same bytes as libjpeg-turbo, and thus as Pillow and PyTorch's data
// loaders: it has the same accurate integer DCT, "fancy" chroma upsampling and color conversion. It can decode at 1/2,
// 1/4 or 1/8 of the size, like Pillow's Image.draft, which takes a fraction of the time for a large photo.
//
// It supports what is common: baseline, extended and progressive Huffman-coded 8-bit images, gray, YCbCr, RGB,
// CMYK and YCCK, with any integer sampling factors, restart intervals and multiple scans. It guesses like libjpeg where the
// compressed data are damaged (and says so in Image.Damage), and smooths progressive images whose last scans are missing.
// Data that end too early are an error, as in Pillow.
//
// The arithmetic follows the Independent JPEG Group's software (jidctint.c, jidctred.c, jdsample.c, jdcolor.c, jdcoefct.c),
// which explains each step, and where numbers overflow, as they do in damaged data, libjpeg-turbo's loops for AVX2.
package jpeg

import (
	"errors"
	"fmt"
	"io"
	"sync"
)

// Image is a decoded image.
type Image struct {
	// Width and Height are in pixels.
	Width, Height int
	// Channels is 1 for gray, 3 for red, green and blue, 4 for cyan, magenta, yellow and black (0 is no ink, 255 is full
	// ink).
	Channels int
	// Pix is [Height, Width, Channels].
	Pix []uint8
	// Damage is what is wrong with the file that could be read all the same, nil if it is sound.
	Damage error
}

// ErrUnsupported is wrapped by the errors for unsupported JPEG features: arithmetic coding, lossless and hierarchical
// images, other than 8 bits per sample, 2 or more than 4 components, and fractional sampling.
var ErrUnsupported = errors.New("not supported")

// Size returns the width and height in pixels from the header.
func Size(data []byte) (width, height int, err error) {
	d := decoder{header: header{data: data}}
	if err := d.segments(true); err != nil {
		return 0, 0, err
	}
	return d.width, d.height, nil
}

// Decode decodes an image at 1/scale of its size, rounded up; scale is 1, 2, 4 or 8. The result does not reference
// data. Arithmetic coding and lossless images, which libjpeg-turbo reads, are errors that wrap [ErrUnsupported].
func Decode(data []byte, scale int) (Image, error) {
	if scale != 1 && scale != 2 && scale != 4 && scale != 8 {
		return Image{}, fmt.Errorf("scale is 1/%d; want 1/1, 1/2, 1/4 or 1/8", scale)
	}
	return decode(header{data: data, dctSize: 8 / scale})
}

// DecodeStrip decodes an image that is a strip or tile of a TIFF, which says what its samples are, whatever markers say: YCbCr
// become red, green and blue, others are left as they are.
func DecodeStrip(data []byte, ycc bool) (Image, error) {
	h := header{data: data, dctSize: 8, colors: stored}
	if ycc {
		h.colors = yCbCr
	}
	return decode(h)
}

func decode(h header) (Image, error) {
	d := decoders.Get().(*decoder)
	defer func() {
		if d.header = (header{}); cap(d.planes[0]) <= maxKept {
			decoders.Put(d)
		}
	}()
	d.header = h
	d.known = nothing
	for i := range 4 {
		d.dc[i].defined, d.ac[i].defined = false, false
	}
	if err := d.segments(false); err != nil {
		return Image{}, err
	}
	m, err := d.image()
	m.Damage = d.damage
	return m, err
}

// decoders reuses the memory of decoders and their Huffman tables: many files have the same tables. maxKept is the size of
// the first plane, above which the memory is given back.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

const maxKept = 1 << 24

// decoder is the state of decoding one image.
type decoder struct {
	header
	dc, ac [4]huffman
	// planes hold the samples of the components.
	planes [4][]uint8
}

// header is what the decoder knows from the segments.
type header struct {
	data []byte
	at   int // index of the next byte
	// dctSize is the width and height in pixels that a luma block decodes to.
	dctSize int
	colors  colors

	width, height int
	progressive   bool
	jfif          bool
	adobe         int // color transform of Adobe's marker, plus 1; 0 if there is none
	restart       int // MCUs between restart markers; 0 if there are none
	quant         [4]quantTable
	// components holds n components.
	components [4]component
	n          int
	// maxH and maxV are the largest sampling factors.
	maxH, maxV int
	// mcusX and mcusY are the numbers of MCUs across and down.
	mcusX, mcusY int

	scans int // begun so far
	// complete is whether the first scan had all of all components. settled is whether a marker or at least 8 bytes follow it:
	// then libjpeg can do without an end of the image.
	complete, settled bool
	known             known
	// damage is the first thing that is wrong.
	damage error
}

// note notes something that is wrong.
func (h *header) note(damage error) {
	if h.damage == nil {
		h.damage = damage
	}
}

// skip notes an error of what is behind the pixels, if it does not matter.
func (h *header) skip(err error) error {
	if h.settled && errors.Is(err, io.ErrUnexpectedEOF) {
		h.note(errors.New("no end of the image"))
		return nil
	}
	return err
}

// quantTable holds the factors of the coefficients in zigzag order.
type quantTable struct {
	defined bool
	factors [64]int32
}

// The markers that the decoder knows.
const (
	sof0, sof1, sof2 = 0xc0, 0xc1, 0xc2
	sof3             = 0xc3
	dht, dac         = 0xc4, 0xcc
	sof9, sof10      = 0xc9, 0xca
	sof15            = 0xcf
	rst0, rst7       = 0xd0, 0xd7
	soi, eoi, sos    = 0xd8, 0xd9, 0xda
	dqt, dnl, dri    = 0xdb, 0xdc, 0xdd
	tem              = 0x01
	app0, app14      = 0xe0, 0xee
	app15, com       = 0xef, 0xfe
)

// segments reads the file up to its end, or only up to the frame header.
func (d *decoder) segments(headerOnly bool) error {
	d.at = 2
	if len(d.data) < 2 || d.data[0] != 0xff || d.data[1] != soi {
		return errors.New("no start of image")
	}
	for {
		marker, err := d.marker()
		switch {
		case err != nil:
			return d.skip(err)
		case marker == eoi:
			return nil
		case rst0 <= marker && marker <= rst7 || marker == tem:
			continue // an extra one after a scan
		case marker < sof0 || marker == soi || marker > dri && marker < app0 || marker > app15 && marker != com:
			return fmt.Errorf("unknown marker %#x", marker)
		case marker <= sof15 && marker > sof2 && marker != dht && marker != dac:
			return fmt.Errorf("%s: %w", process(marker), ErrUnsupported)
		case marker <= sof2 && d.n > 0:
			return errors.New("two frame headers")
		}
		segment, err := d.segment(marker)
		if err != nil {
			return d.skip(err)
		}
		switch marker {
		case sof0, sof1, sof2:
			d.progressive = marker == sof2
			if err = d.frame(segment); err == nil && headerOnly {
				return nil
			}
		case dht:
			err = d.huffmanTables(segment)
		case dqt:
			err = d.quantTables(segment)
		case dri:
			if len(segment) != 2 {
				return errors.New("restart interval has a wrong length")
			}
			d.restart = int(segment[0])<<8 | int(segment[1])
		case sos:
			if d.complete {
				return errors.New("a scan after the last one")
			}
			err = d.scan(segment)
		case app0:
			d.jfif = d.jfif || len(segment) >= 14 && string(segment[:5]) == "JFIF\x00"
		case app14:
			if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
				d.adobe = int(segment[11]) + 1
			}
		}
		if err != nil {
			return err
		}
	}
}

// process names what the marker of a frame header stands for, if the decoder does not know it.
func process(marker int) string {
	switch marker {
	case sof3:
		return "lossless JPEG"
	case sof9, sof10:
		return "arithmetic coding"
	}
	return fmt.Sprintf("coding process %#x", marker)
}

// marker finds the next marker, skipping other bytes.
func (d *decoder) marker() (int, error) {
	for d.at+1 < len(d.data) {
		if d.data[d.at] == 0xff && d.data[d.at+1] != 0 && d.data[d.at+1] != 0xff {
			d.at += 2
			return int(d.data[d.at-1]), nil
		}
		d.at++
	}
	return 0, io.ErrUnexpectedEOF
}

// segment returns the content of a marker's segment.
func (d *decoder) segment(marker int) ([]byte, error) {
	if d.at+2 > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(d.data[d.at])<<8 | int(d.data[d.at+1])
	if n < 2 {
		if marker >= app0 || marker == dnl { // not of interest
			n = 2
		} else {
			return nil, errors.New("segment shorter than its length")
		}
	}
	if d.at+n > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	segment := d.data[d.at+2 : d.at+n]
	d.at += n
	return segment, nil
}

func (d *decoder) quantTables(segment []byte) error {
	for len(segment) > 0 {
		wide, index := min(int(segment[0]>>4), 1), segment[0]&15
		n := 1 + 64<<wide
		if index > 3 || len(segment) < n {
			return errors.New("damaged quantization table")
		}
		q := &d.quant[index]
		q.defined = true
		for k := range q.factors {
			if wide == 0 {
				q.factors[k] = int32(segment[1+k])
			} else {
				q.factors[k] = int32(segment[1+2*k])<<8 | int32(segment[2+2*k])
			}
		}
		segment = segment[n:]
	}
	return nil
}

// zigzag maps a coefficient's index in zigzag order to its position row*8+column.
var zigzag = [64]uint8{
	0, 1, 8, 16, 9, 2, 3, 10,
	17, 24, 32, 25, 18, 11, 4, 5,
	12, 19, 26, 33, 40, 48, 41, 34,
	27, 20, 13, 6, 7, 14, 21, 28,
	35, 42, 49, 56, 57, 50, 43, 36,
	29, 22, 15, 23, 30, 37, 44, 51,
	58, 59, 52, 45, 38, 31, 39, 46,
	53, 60, 61, 54, 47, 55, 62, 63,
}
