package tiff

import (
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// The tags that the package reads.
const (
	tagWidth           = 256
	tagHeight          = 257
	tagBitsPerSample   = 258
	tagCompression     = 259
	tagPhotometric     = 262
	tagFillOrder       = 266
	tagStripOffsets    = 273
	tagOrientation     = 274
	tagSamplesPerPixel = 277
	tagRowsPerStrip    = 278
	tagStripCounts     = 279
	tagPlanar          = 284
	tagT4Options       = 292
	tagPredictor       = 317
	tagColorMap        = 320
	tagTileWidth       = 322
	tagTileHeight      = 323
	tagTileOffsets     = 324
	tagTileCounts      = 325
	tagExtraSamples    = 338
	tagSampleFormat    = 339
	tagJPEGTables      = 347
	tagCoefficients    = 529
	tagSubsampling     = 530
	tagBlackWhite      = 532
	tagXMP             = 700
)

// sizes are the sizes in bytes of a value of each type; 0 for a type that does not exist.
var sizes = [...]int{0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8}

// The types that need care: others are unsigned integers, or bytes.
const (
	typeByte, typeText, typeRational               = 1, 2, 5
	typeSignedByte, typeBytes                      = 6, 7
	typeSignedShort, typeSignedLong, typeSRational = 8, 9, 10
	typeFloat, typeDouble                          = 11, 12
)

// Directory holds the tags of the first image of a TIFF file, or those of Exif data, which has the same structure.
type Directory struct {
	order   binary.ByteOrder
	tags    map[uint16]field
	skipped map[uint16]field // by Pillow, since values are larger than the file, but not by libtiff
}

// field is the value of a tag: its type and its bytes, in the file's order.
type field struct {
	kind uint16
	data []byte
}

// ReadDirectory reads the first directory of a TIFF file, of a BigTIFF file, or of Exif data. It is as lenient as Pillow:
// tags that it cannot make sense of are missing, and where the directory ends too early it has the tags until then.
func ReadDirectory(data []byte) (Directory, error) {
	d := Directory{tags: map[uint16]field{}, skipped: map[uint16]field{}}
	if len(data) < 8 {
		return d, io.ErrUnexpectedEOF
	}
	big := data[2] == 43
	switch string(data[:4]) {
	case "II*\x00", "II\x00*", "II+\x00":
		d.order = binary.LittleEndian
	case "MM\x00*", "MM*\x00", "MM\x00+": // the last one is read as if it were not BigTIFF
		d.order = binary.BigEndian
	default:
		return d, errors.New("no TIFF header")
	}
	at := uint64(d.order.Uint32(data[4:]))
	if big {
		if len(data) < 16 {
			return d, io.ErrUnexpectedEOF
		}
		at = d.order.Uint64(data[8:])
	}
	d.read(data, at, big)
	return d, nil
}

// read reads the directory at an offset.
func (d *Directory) read(data []byte, at uint64, big bool) {
	head, entry, inline := uint64(2), uint64(12), uint64(4)
	if big {
		head, entry, inline = 8, 20, 8
	}
	from := func(at uint64) []byte { return data[min(at, uint64(len(data))):] }
	number := func(b []byte) uint64 {
		if big {
			return d.order.Uint64(b)
		}
		return uint64(d.order.Uint32(b))
	}
	rest := from(at)
	if uint64(len(rest)) < head {
		return
	}
	count := uint64(d.order.Uint16(rest))
	if big {
		count = d.order.Uint64(rest)
	}
	ended := false       // for Pillow, since a value is beyond the end of the file
	outside := uint64(0) // bytes of values outside the directory, which must not exceed the file together
	for rest = rest[head:]; count > 0 && uint64(len(rest)) >= entry; count, rest = count-1, rest[entry:] {
		tag, kind, n := d.order.Uint16(rest), d.order.Uint16(rest[2:]), number(rest[4:])
		value := rest[entry-inline : entry]
		if _, ok := d.tags[tag]; ok || int(kind) >= len(sizes) || sizes[kind] == 0 || n == 0 {
			continue
		}
		size := min(n, 1<<56) * uint64(sizes[kind])
		tags := d.tags
		if size > inline {
			if number(value) >= 1<<63 {
				continue
			}
			if outside = min(outside+size, 1<<60); outside > uint64(len(data)) {
				tags = d.skipped
			}
			if value = from(number(value)); uint64(len(value)) < size {
				ended = ended || outside <= uint64(len(data))
				continue
			}
		}
		if ended {
			tags = d.skipped
		}
		tags[tag] = field{kind, value[:size]}
	}
}

// numbers returns the values of a tag, nil if it is missing or has no numbers.
func (d *Directory) numbers(tag uint16) []float64 { return d.values(d.tags[tag]) }

// maxTag is the number of bytes of a tag that are read, whatever more it holds.
const maxTag = 1 << 23

func (d *Directory) values(f field) []float64 {
	if f.data == nil || f.kind == typeText {
		return nil
	}
	data := f.data[:min(len(f.data), maxTag)]
	out := make([]float64, 0, len(data)/sizes[f.kind])
	for b := data; len(b) > 0; b = b[sizes[f.kind]:] {
		var v float64
		switch f.kind {
		case typeByte, typeBytes:
			v = float64(b[0])
		case typeSignedByte:
			v = float64(int8(b[0]))
		case typeSignedShort:
			v = float64(int16(d.order.Uint16(b)))
		case typeSignedLong:
			v = float64(int32(d.order.Uint32(b)))
		case typeRational:
			v = float64(d.order.Uint32(b)) / float64(d.order.Uint32(b[4:]))
		case typeSRational:
			v = float64(int32(d.order.Uint32(b))) / float64(int32(d.order.Uint32(b[4:])))
		case typeFloat:
			v = float64(math.Float32frombits(d.order.Uint32(b)))
		case typeDouble:
			v = math.Float64frombits(d.order.Uint64(b))
		default:
			switch sizes[f.kind] {
			case 2:
				v = float64(d.order.Uint16(b))
			case 4:
				v = float64(d.order.Uint32(b))
			default:
				v = float64(d.order.Uint64(b))
			}
		}
		out = append(out, v)
	}
	return out
}

// faxOptions returns the options of the fax compression of group 3, for which libtiff wants an integer.
func (d *Directory) faxOptions() int {
	f := d.seen(tagT4Options)
	switch f.kind {
	case typeRational, typeSRational, typeFloat, typeDouble:
		return 0
	}
	if v := whole(d.values(f)); len(v) == 1 {
		return max(0, v[0])
	}
	return 0
}

// seen returns the value of a tag that only libtiff reads.
func (d *Directory) seen(tag uint16) field {
	if f, ok := d.skipped[tag]; ok {
		return f
	}
	return d.tags[tag]
}

// integers returns the values of a tag as integers, of which those that do not fit are -1.
func (d *Directory) integers(tag uint16) []int { return whole(d.numbers(tag)) }

func whole(numbers []float64) []int {
	out := make([]int, len(numbers))
	for i, v := range numbers {
		if out[i] = int(v); v != math.Trunc(v) || math.Abs(v) > 1<<53 {
			out[i] = -1
		}
	}
	return out
}

// integer returns the first value of a tag, or another number where it is missing.
func (d *Directory) integer(tag uint16, missing int) int {
	if v := d.integers(tag); len(v) > 0 {
		return v[0]
	}
	return missing
}

// single returns the value of a tag, or another number where it is missing or, as libtiff sees it, has several values.
func (d *Directory) single(tag uint16, missing int) int {
	if v := d.integers(tag); len(v) == 1 {
		return v[0]
	}
	return missing
}

// option returns the value of a tag as single does, or, of an image without compression, which Pillow reads itself, as integer
// does.
func (d *Directory) option(tag uint16, missing int) int {
	if d.integer(tagCompression, raw) == raw {
		return d.integer(tag, missing)
	}
	return d.single(tag, missing)
}

// Orientation returns how to turn the image, 1 to 8, and whether there is such a tag. As in Pillow, a tag of any numeric
// type counts and one of bytes or text does not, though it is there: then the orientation is 0.
func (d *Directory) Orientation() (orientation int, ok bool) {
	f, ok := d.tags[tagOrientation]
	if v := d.integer(tagOrientation, 0); ok && v >= 1 && v <= 8 && f.kind != typeByte && f.kind != typeBytes {
		return v, true
	}
	return 0, ok
}

// XMP returns the XMP packet, nil if there is none.
func (d *Directory) XMP() []byte { return d.tags[tagXMP].data }
