package tiff

import (
	"bytes"
	"compress/zlib"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/image/tiff/lzw"

	"github.com/sdr-ml/sdr/transforms/imageio/jpeg"
)

// The compressions that the package reads.
const (
	raw             = 1
	rle             = 2
	group3          = 3
	group4          = 4
	lzwCompression  = 5
	jpegCompression = 7
	deflate         = 8
	packBits        = 32773
	oldDeflate      = 32946
	zstandard       = 50000
)

// others are the names of compressions that the package does not read.
var others = map[int]string{6: "old-style JPEG", 32809: "ThunderScan", 34676: "SGI Log", 34677: "SGI Log 24", 34925: "LZMA", 50001: "WebP"}

// decompress returns the rows of a block.
func decompress(data []byte, b block, l *layout, d *Directory, compression int) (io.Reader, error) {
	r := bytes.NewReader(data)
	switch compression {
	case rle, group3, group4:
		if l.bits != 1 || l.samples != 1 {
			return nil, errors.New("fax compression of pixels of more than 1 bit")
		}
		return newFax(data, compression, d.faxOptions(), b.width), nil
	case lzwCompression:
		if len(data) > 1 && data[0] == 0 && data[1]&1 == 1 { // by which libtiff knows it
			return nil, fmt.Errorf("LZW with its bits in the reverse order: %w", ErrUnsupported)
		}
		return lzw.NewReader(r, lzw.MSB, 8), nil
	case jpegCompression:
		return decodeJPEG(data, b, l, d)
	case deflate, oldDeflate:
		return zlib.NewReader(r)
	case packBits:
		return &packBitsReader{data: data, most: l.rowBytes(b.width) * ((b.height + l.down - 1) / l.down)}, nil
	case zstandard:
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(1<<28))
		if err != nil {
			return nil, err
		}
		return z, nil
	}
	if name, ok := others[compression]; ok {
		return nil, fmt.Errorf("%s compression: %w", name, ErrUnsupported)
	}
	return nil, fmt.Errorf("compression %d: %w", compression, ErrUnsupported)
}

// maxSurplus is how many pixels the last block, if it is a JPEG, may have below its last row.
const maxSurplus = 1 << 22

// decodeJPEG decodes a block that is a JPEG, whose tables may be in a tag of their own.
func decodeJPEG(data []byte, b block, l *layout, d *Directory) (io.Reader, error) {
	if !bytes.HasPrefix(data, []byte{0xff, 0xd8}) {
		return nil, errors.New("a strip or tile is no JPEG")
	}
	file := []byte{0xff, 0xd8}
	if tables := d.tags[tagJPEGTables].data; len(tables) > 4 {
		file = append(file, tables[2:len(tables)-2]...) // without the markers of start and end
	}
	file = append(file, data[2:]...)
	file = append(file, 0xff, 0xd9) // libtiff ends it if its end is missing
	width, height, err := jpeg.Size(file)
	if err != nil {
		return nil, err
	}
	right, bottom := d.integer(tagWidth, 0), d.integer(tagHeight, 0)
	mismatch := fmt.Errorf("a JPEG of %d x %d pixels in a strip or tile of %d x %d", width, height, b.width, b.height)
	surplus := width == b.width && b.y+b.height >= bottom && width*(height-b.height) <= maxSurplus
	if width > b.width || b.width > 1<<16 || height > b.height && !surplus {
		return nil, mismatch
	}
	m, err := jpeg.DecodeStrip(file, l.photometric == yCbCr && !l.planar)
	if err != nil {
		return nil, err
	}
	samples := l.samples
	if l.planar {
		samples = 1
	}
	if m.Channels != samples || l.bits != 8 {
		return nil, fmt.Errorf("a JPEG with %d samples per pixel in a strip or tile with %d", m.Channels, samples)
	}
	if width < min(b.width, right-b.x) || height < min(b.height, bottom-b.y) {
		m.Damage = mismatch
	}
	return &jpegRows{Image: m}, nil
}

// jpegRows are the rows of a block that is a JPEG. What a smaller one lacks, such as a tile that ends with the image, is 0.
type jpegRows struct {
	jpeg.Image
	y int
}

// Read reads a row.
func (j *jpegRows) Read(row []byte) (n int, err error) {
	if j.y < j.Height {
		n = copy(row, j.Pix[j.y*j.Width*j.Channels:][:j.Width*j.Channels])
	}
	clear(row[n:])
	j.y++
	return len(row), nil
}

// packBitsReader decompresses runs of equal bytes.
type packBitsReader struct {
	data []byte
	most int // bytes that are left to be read
	// left bytes follow: literal ones, or all equal to the next one.
	left  int
	equal bool
}

func (p *packBitsReader) Read(out []byte) (n int, err error) {
	for n < len(out) {
		if p.left == 0 {
			if len(p.data) < 2 {
				return n, io.ErrUnexpectedEOF
			}
			code := int(int8(p.data[0]))
			p.data = p.data[1:]
			if code == -128 {
				continue
			}
			if p.left, p.equal = code+1, code < 0; p.equal {
				p.left = 1 - code
			}
			p.left = min(p.left, p.most)
			p.most -= p.left
			if !p.equal && p.left > len(p.data) { // libtiff shows nothing of it
				p.data = nil
			}
		}
		if len(p.data) == 0 {
			return n, io.ErrUnexpectedEOF
		}
		k := min(p.left, len(out)-n)
		if p.equal {
			for i := range k {
				out[n+i] = p.data[0]
			}
		} else {
			k = copy(out[n:n+k], p.data)
			p.data = p.data[k:]
		}
		n += k
		if p.left -= k; p.left == 0 && p.equal {
			p.data = p.data[1:]
		}
	}
	return n, nil
}

// newPredictor returns what undoes the prediction of a row, nil if there is none.
func newPredictor(l *layout, d *Directory, compression int) (func(row []uint8), error) {
	switch compression {
	case lzwCompression, deflate, oldDeflate, zstandard:
	default:
		return nil, nil
	}
	apart := l.samples
	if l.planar {
		apart = 1
	}
	predictor := d.single(tagPredictor, 1)
	switch {
	case predictor == 1:
		return nil, nil
	case l.across*l.down > 1: // libtiff's rows are no whole groups
		return nil, fmt.Errorf("predictor %d with YCbCr in groups of pixels: %w", predictor, ErrUnsupported)
	case predictor == 2 && l.bits == 8:
		return func(row []uint8) { accumulate(row, apart) }, nil
	case predictor == 2 && l.bits == 16:
		return func(row []uint8) {
			for i := 2 * apart; i+1 < len(row); i += 2 {
				l.order.PutUint16(row[i:], l.order.Uint16(row[i:])+l.order.Uint16(row[i-2*apart:]))
			}
		}, nil
	case predictor == 2 && l.bits == 32:
		return func(row []uint8) {
			for i := 4 * apart; i+3 < len(row); i += 4 {
				l.order.PutUint32(row[i:], l.order.Uint32(row[i:])+l.order.Uint32(row[i-4*apart:]))
			}
		}, nil
	case predictor == 3 && l.kind == float && l.bits == 32:
		return func(row []uint8) {
			accumulate(row, apart)
			// The bytes of all samples were sorted, the high ones first.
			sorted, n := bytes.Clone(row), len(row)/4
			for i := range n {
				l.order.PutUint32(row[4*i:], uint32(sorted[i])<<24|uint32(sorted[n+i])<<16|uint32(sorted[2*n+i])<<8|uint32(sorted[3*n+i]))
			}
		}, nil
	}
	return nil, fmt.Errorf("predictor %d with samples of %d bits: %w", predictor, l.bits, ErrUnsupported)
}

// accumulate adds to each byte the one that is some bytes before it.
func accumulate(row []uint8, apart int) {
	for i := apart; i < len(row); i++ {
		row[i] += row[i-apart]
	}
}
