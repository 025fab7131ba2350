// Package jpeg decodes JPEG images to the very bytes that libjpeg-turbo, and so
// Pillow and PyTorch's data loaders, make of them: the same accurate integer
// transforms, "fancy" interpolation of chroma and colour conversion. It can
// decode to a half, a quarter or an eighth of the size, as Pillow's Image.draft
// does, which takes a fraction of the time of a large photo.
//
// It reads what libjpeg reads: baseline, extended and progressive Huffman-coded
// images of 8 bits, grey, YCbCr, RGB, CMYK and YCCK, any whole sampling factors,
// restart intervals and several scans. Unlike libjpeg, which warns and guesses,
// it refuses damaged data. It does not smooth progressive images of which scans
// are missing.
//
// The arithmetic follows the Independent JPEG Group's software (jidctint.c,
// jidctred.c, jdsample.c, jdcolor.c), which says why each step is as it is.
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
	// Channels is 1 for grey, 3 for red, green and blue, 4 for cyan, magenta,
	// yellow and black (0 is no ink, 255 full ink).
	Channels int
	// Pix is [Height, Width, Channels].
	Pix []uint8
}

// ErrUnsupported is the error, wrapped, of JPEG features that are not read:
// arithmetic coding, lossless and hierarchical images, other than 8 bits a
// sample, 2 or more than 4 components and fractional sampling.
var ErrUnsupported = errors.New("not supported")

// Size returns the width and height in pixels that the header gives.
func Size(data []byte) (width, height int, err error) {
	d := decoder{header: header{data: data}}
	if err := d.segments(true); err != nil {
		return 0, 0, err
	}
	return d.width, d.height, nil
}

// Decode decodes an image at 1/scale of its size, rounded up; scale is 1, 2, 4
// or 8. Nothing of data is kept.
func Decode(data []byte, scale int) (Image, error) {
	if scale != 1 && scale != 2 && scale != 4 && scale != 8 {
		return Image{}, fmt.Errorf("scale is 1/%d; want 1/1, 1/2, 1/4 or 1/8", scale)
	}
	d := decoders.Get().(*decoder)
	defer decoders.Put(d)
	d.header = header{data: data, dctSize: 8 / scale}
	defer func() { d.data = nil }()
	for i := range 4 {
		d.dc[i].defined, d.ac[i].defined = false, false
	}
	if err := d.segments(false); err != nil {
		return Image{}, err
	}
	return d.image()
}

// decoders are kept for their memory, and for their Huffman tables: many files
// have the same ones.
var decoders = sync.Pool{New: func() any { return new(decoder) }}

// decoder is one image on its way.
type decoder struct {
	header
	dc, ac [4]huffman
	// planes are the memory of the components' samples.
	planes [4][]uint8
}

// header is what the segments tell.
type header struct {
	data []byte
	at   int // index of the next byte
	// dctSize is the number of pixels that a luma block becomes, across and down.
	dctSize int

	width, height int
	progressive   bool
	jfif          bool
	adobe         int // colour transform + 1 of Adobe's marker; 0 if there is none
	restart       int // MCUs between restart markers; 0 if there are none
	quant         [4]quantTable
	// components are n.
	components [4]component
	n          int
	// maxH and maxV are the largest sampling factors.
	maxH, maxV int
	// mcusX and mcusY count the MCUs across and down.
	mcusX, mcusY int
}

// quantTable has the factors of the coefficients in the file's order.
type quantTable struct {
	defined bool
	factors [64]int32
}

// The markers that mean something here.
const (
	sof0, sof1, sof2 = 0xc0, 0xc1, 0xc2
	dht, dac         = 0xc4, 0xcc
	jpg, sof15       = 0xc8, 0xcf
	rst0, rst7       = 0xd0, 0xd7
	soi, eoi, sos    = 0xd8, 0xd9, 0xda
	dqt, dri         = 0xdb, 0xdd
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
			return err
		case marker == eoi:
			return nil
		case rst0 <= marker && marker <= rst7:
			continue // one too many after a scan
		}
		segment, err := d.segment()
		if err != nil {
			return err
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
			err = d.scan(segment)
		case app0:
			d.jfif = d.jfif || len(segment) >= 12 && string(segment[:5]) == "JFIF\x00"
		case app14:
			if len(segment) >= 12 && string(segment[:5]) == "Adobe" {
				d.adobe = int(segment[11]) + 1
			}
		default:
			if marker < sof0 || marker > app15 && marker != com {
				return fmt.Errorf("unknown marker %#x", marker)
			}
			if marker <= sof15 && marker != jpg || marker == dac {
				return fmt.Errorf("coding process %#x: %w", marker, ErrUnsupported)
			}
		}
		if err != nil {
			return err
		}
	}
}

// marker finds the next marker; bytes that belong to none are passed over.
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

// segment returns the content of the segment of a marker.
func (d *decoder) segment() ([]byte, error) {
	if d.at+2 > len(d.data) {
		return nil, io.ErrUnexpectedEOF
	}
	n := int(d.data[d.at])<<8 | int(d.data[d.at+1])
	if n < 2 {
		return nil, errors.New("segment shorter than its length")
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
		wide, index := int(segment[0]>>4), segment[0]&15
		n := 1 + 64<<wide
		if wide > 1 || index > 3 || len(segment) < n {
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

// zigzag is the place, row*8+column, of each coefficient in the file's order.
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
