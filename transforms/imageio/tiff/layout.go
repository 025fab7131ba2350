package tiff

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
)

// The color models, as photometric interpretations.
const (
	whiteIsZero = 0
	blackIsZero = 1
	rgb         = 2
	indexed     = 3
	cmyk        = 5
	yCbCr       = 6
	lab         = 8
)

// The kinds of samples.
const (
	unsigned = 1
	signed   = 2
	float    = 3
)

// The kinds of extra samples.
const (
	unspecified   = 0
	premultiplied = 1
	straight      = 2
)

// ErrUnsupported is wrapped by the errors for sound files that the package does not read.
var ErrUnsupported = errors.New("not supported")

// layout is how the samples of a pixel are stored.
type layout struct {
	photometric int
	bits        int // of each sample
	kind        int
	samples     int // per pixel: all but unspecified ones in planes of their own
	extras      []int
	planar      bool
	reversed    bool // the lowest bit of a byte comes first
	order       binary.ByteOrder
	// Groups of so many pixels have their colors in common: the luma of each is stored, then blue and red of the group.
	across, down int
	// Damaged pixels are shown as far as they go, and then as 0.
	lenient bool
}

func (d *Directory) layout() (layout, error) {
	l := layout{
		photometric: d.single(tagPhotometric, whiteIsZero),
		samples:     d.integer(tagSamplesPerPixel, 1),
		extras:      d.integers(tagExtraSamples),
		kind:        unsigned,
		planar:      d.option(tagPlanar, 1) == 2,
		reversed:    d.option(tagFillOrder, 1) == 2,
		order:       d.order,
		across:      1,
		down:        1,
	}
	bits, kinds := d.integers(tagBitsPerSample), d.integers(tagSampleFormat)
	if len(bits) == 0 {
		bits = []int{1}
	}
	if n := len(l.extras); l.planar && n > 0 && slices.Max(l.extras) == unspecified && l.samples == l.colors()+n { // are not read
		l.samples -= n
		bits = bits[:max(0, len(bits)-n)]
		l.extras = nil
	}
	if l.samples < 1 || l.samples > 6 {
		return l, fmt.Errorf("%d samples per pixel: %w", l.samples, ErrUnsupported)
	}
	if len(bits) > l.samples {
		bits = bits[:l.samples]
	}
	if len(bits) != 1 && len(bits) != l.samples {
		return l, errors.New("numbers of bits do not match the samples")
	}
	l.bits = bits[0]
	if len(kinds) > 0 {
		l.kind = kinds[0]
	}
	if differ(bits) || differ(kinds) || !l.supported() {
		return l, fmt.Errorf("photometric interpretation %d with samples of %d bits, type %d, extra samples %d: %w",
			l.photometric, bits, l.kind, l.extras, ErrUnsupported)
	}
	return l, nil
}

func differ(values []int) bool { return len(slices.Compact(slices.Clone(values))) > 1 }

// supported reports whether Pillow reads the layout.
func (l *layout) supported() bool {
	little := l.order == binary.LittleEndian
	plain := l.kind == unsigned && !l.reversed // what allows extra samples
	colors := l.colors()
	switch {
	case l.photometric == rgb && l.samples == 4 && len(l.extras) == 0:
		l.extras = []int{straight}
		return plain && (l.bits == 8 || l.bits == 16)
	case l.samples != colors+len(l.extras):
		return l.photometric == yCbCr && l.samples == 1 && plain && l.bits == 8
	}
	if len(l.extras) > 0 {
		// Only the first one may have a meaning.
		for _, extra := range l.extras[1:] {
			if extra != unspecified {
				return false
			}
		}
		first := l.extras[0]
		switch l.photometric {
		case blackIsZero, indexed:
			return plain && l.bits == 8 && len(l.extras) == 1 && (first == unspecified || first == straight)
		case rgb:
			known := first == unspecified || first == premultiplied || first == straight || first == 999 && len(l.extras) == 1
			return plain && known && (l.bits == 8 || l.bits == 16 && len(l.extras) == 1 && first != 999)
		case cmyk:
			return plain && l.bits == 8 && first == unspecified
		}
		return false
	}
	small := l.kind == unsigned && (l.bits == 1 || l.bits == 2 || l.bits == 4 || l.bits == 8)
	switch l.photometric {
	case whiteIsZero:
		return small || plain && l.bits == 16 && little || l.kind == float && l.bits == 32 && !l.reversed
	case blackIsZero:
		switch {
		case small, plain && l.bits == 16, l.kind == unsigned && l.bits == 16 && little:
			return true
		case l.reversed:
			return false
		case l.kind == unsigned:
			return little && (l.bits == 12 || l.bits == 32)
		case l.kind == signed:
			return l.bits == 8 || l.bits == 16 || l.bits == 32
		}
		return l.kind == float && l.bits == 32
	case rgb:
		return l.kind == unsigned && l.bits == 8 || plain && l.bits == 16
	case indexed:
		return small
	case cmyk:
		return plain && (l.bits == 8 || l.bits == 16)
	case yCbCr:
		return plain && l.bits == 8
	}
	return false
}

// colors returns the number of samples of a pixel that are not extra.
func (l *layout) colors() int {
	switch l.photometric {
	case rgb, yCbCr, lab:
		return 3
	case cmyk:
		return 4
	}
	return 1
}

// kept returns the number of samples of a pixel that matter: the color and an alpha that it was multiplied by.
func (l *layout) kept() int {
	if l.photometric == yCbCr && l.samples == 1 {
		return 1
	}
	if l.photometric == rgb && len(l.extras) > 0 && l.extras[0] == premultiplied {
		return 4
	}
	return l.colors()
}

// rowBytes returns the size of a row of pixels, or of groups of them, in a strip or tile.
func (l *layout) rowBytes(width int) int {
	if l.across*l.down > 1 {
		return (width + l.across - 1) / l.across * (l.across*l.down + 2)
	}
	if !l.planar {
		width *= l.samples
	}
	return (width*l.bits + 7) / 8
}

// unpack converts n samples of a row to 8 bits: every step-th one from first on, to every apart-th byte of out.
func (l *layout) unpack(out []uint8, apart int, row []uint8, first, step, n int) {
	invert := uint8(0)
	if l.photometric == whiteIsZero && l.bits <= 8 {
		invert = 255
	}
	for i := range n {
		out[i*apart] = l.sample(row, first+i*step) ^ invert
	}
}

// sample returns a sample of a row, by Pillow's rules: gray of more than 8 bits is clipped, of colors the high byte is
// kept.
func (l *layout) sample(row []uint8, i int) uint8 {
	switch l.bits {
	case 8:
		return row[i]
	case 1, 2, 4:
		v := row[i*l.bits/8] >> (8 - l.bits - i*l.bits%8) & (1<<l.bits - 1)
		if l.photometric == indexed {
			return v
		}
		return v * (255 / (1<<l.bits - 1))
	case 12:
		at := i * 3 / 2
		if i%2 == 0 {
			return clip(float64(int(row[at])<<4 | int(row[at+1])>>4))
		}
		return clip(float64(int(row[at]&15)<<8 | int(row[at+1])))
	case 16:
		v := l.order.Uint16(row[2*i:])
		switch {
		case l.colors() > 1:
			return uint8(v >> 8)
		case l.kind == signed:
			return clip(float64(int16(v)))
		}
		return clip(float64(v))
	}
	v := l.order.Uint32(row[4*i:])
	if l.kind == float {
		return clip(float64(math.Float32frombits(v)))
	}
	return clip(float64(int32(v)))
}

// clip drops the fraction and what is outside 8 bits.
func clip(v float64) uint8 {
	if v > 0 {
		return uint8(min(v, 255))
	}
	return 0
}

// unmultiply divides premultiplied colors by alpha, as Pillow converts RGBa, and drops it.
func unmultiply(pix []uint8) []uint8 {
	out := pix[:0]
	for ; len(pix) >= 4; pix = pix[4:] {
		alpha := int(pix[3])
		for _, v := range pix[:3] {
			switch alpha {
			case 0:
				v = 0
			case 255:
			default:
				v = uint8(min(int(v)*255/alpha, 255))
			}
			out = append(out, v)
		}
	}
	return out
}
