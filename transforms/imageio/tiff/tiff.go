// Package tiff decodes the first image of a TIFF file to 8 bits, to the same bytes as Pillow: bilevel, gray, indexed, RGB,
// CMYK and YCbCr, unsigned samples of 1 to 32 bits, signed ones and floating point, with extra samples, in strips or tiles
// of interleaved or separate samples, as TIFF or BigTIFF. It reads Exif data, too, which have the structure of a TIFF file.
//
// golang.org/x/image/tiff reads about half of that, and takes black for white in the fax compressions.
//
// It reads correctly what Pillow 13 gets wrong: signed and floating-point samples that are big-endian and compressed, and,
// of what is not compressed, separate planes of 16 bits or in which 0 is white, and gray or indexed images in one strip whose
// orientation swaps width and height, which Pillow garbles where it maps a file into memory.
package tiff

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
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
	// Deep means that the file has gray of more than 8 bits, which is clipped to 8.
	Deep bool
	// Damage is what is wrong with a file that can be read all the same.
	Damage error
}

// Size returns the width and height in pixels, before the orientation is applied.
func Size(data []byte) (width, height int, err error) {
	d, err := ReadDirectory(data)
	if err != nil {
		return 0, 0, err
	}
	width, height = d.integer(tagWidth, 0), d.integer(tagHeight, 0)
	if width < 1 || height < 1 || width >= 1<<31 || height >= 1<<31 {
		return 0, 0, errors.New("damaged width or height")
	}
	return width, height, nil
}

// Decode decodes an image, without applying its orientation.
func Decode(data []byte) (Image, error) {
	width, height, err := Size(data)
	if err != nil {
		return Image{}, err
	}
	d, err := ReadDirectory(data)
	if err != nil {
		return Image{}, err
	}
	l, err := d.layout()
	if err != nil {
		return Image{}, err
	}
	compression := d.integer(tagCompression, raw)
	converts := l.photometric == yCbCr && compression != raw && (compression != jpegCompression || l.planar)
	if converts {
		if err := d.subsample(&l, width, height); err != nil {
			return Image{}, err
		}
		l.lenient = compression == deflate || compression == oldDeflate || compression == packBits
	}
	blocks, err := d.blocks(&l, width, height, compression == raw)
	if err != nil {
		return Image{}, err
	}
	m := Image{Width: width, Height: height, Channels: l.kept(), Deep: l.bits > 8 && l.colors() == 1}
	m.Pix = make([]uint8, width*height*m.Channels)
	for _, b := range blocks {
		if compression == raw {
			err = m.copyRaw(data, b, &l)
		} else {
			err = m.decode(data, b, &l, &d, compression)
		}
		if err != nil {
			return Image{}, err
		}
	}
	switch {
	case m.Channels == 4 && l.photometric == rgb:
		m.Channels, m.Pix = 3, unmultiply(m.Pix)
	case l.photometric == indexed:
		return m.paint(d.integers(tagColorMap))
	case l.photometric == yCbCr && m.Channels == 3 && compression == raw:
		fromYCbCr(m.Pix)
	case converts:
		if err := d.toRGB(m.Pix); err != nil {
			return Image{}, err
		}
	}
	return m, nil
}

// block is one strip or tile.
type block struct {
	x, y          int // where it begins in the image
	width, height int // of what it holds, which may extend beyond the image
	plane         int
	at, size      int // in the file; size is -1 if it is not known
}

// blocks lists the strips or tiles. Loose is how Pillow itself reads those without compression: where some are missing the
// image stays 0, and further ones begin at the top again, each over those that are before it in the file.
func (d *Directory) blocks(l *layout, width, height int, loose bool) ([]block, error) {
	b := block{width: width, height: d.option(tagRowsPerStrip, height)}
	many := false
	list := func(tag uint16) []int {
		if len(d.tags[tag].data) > maxTag || len(d.skipped[tag].data) > maxTag {
			many = true
			return nil
		}
		if f, ok := d.skipped[tag]; ok && !loose {
			return whole(d.values(f))
		}
		return d.integers(tag)
	}
	starts, counts := list(tagStripOffsets), list(tagStripCounts)
	tiled := len(starts) == 0
	if tiled {
		b.width, b.height = d.integer(tagTileWidth, 0), d.integer(tagTileHeight, 0)
		starts, counts = list(tagTileOffsets), list(tagTileCounts)
	}
	if many {
		return nil, fmt.Errorf("more than %d bytes of places of strips or tiles", maxTag)
	}
	single := b.width == width && b.height == height // then Pillow takes the last one
	if !tiled {
		b.height = min(b.height, height)
	}
	const largest = 1 << 29 // pixels of a tile
	if len(starts) == 0 || b.width < 1 || b.height < 1 || b.width > largest/b.height {
		return nil, errors.New("no strips or tiles, or of a damaged size")
	}
	if single && loose && !l.planar {
		starts, counts = starts[len(starts)-1:], counts[max(len(counts)-1, 0):]
	}
	var out []block
	for i, at := range starts {
		if b.at, b.size = at, -1; i < len(counts) && counts[i] > 0 {
			b.size = counts[i]
		}
		if at < 0 {
			return nil, errors.New("damaged offset of a strip or tile")
		}
		last := b
		if !tiled {
			last.height = min(b.height, height-b.y)
		}
		if l.planar && b.plane >= l.kept() {
			break
		}
		out = append(out, last)
		if b.x += b.width; b.x < width {
			continue
		}
		b.x = 0
		if b.y += b.height; b.y < height {
			continue
		}
		b.y = 0
		b.plane++
		if !l.planar && !loose {
			return out, nil
		}
	}
	if loose {
		slices.SortStableFunc(out, func(a, b block) int { return a.at - b.at })
	} else if !l.planar || b.plane < l.kept() {
		return nil, errors.New("a strip or tile is missing")
	}
	return out, nil
}

// copyRaw copies an uncompressed block. Its size in bytes does not matter, as many writers get it wrong.
func (m *Image) copyRaw(data []byte, b block, l *layout) error {
	rest := data[min(b.at, len(data)):]
	stride := l.rowBytes(b.width)
	shown := l.rowBytes(min(b.width, m.Width-b.x))
	for y := range min(b.height, m.Height-b.y) {
		if len(rest) < shown {
			return io.ErrUnexpectedEOF
		}
		row := rest[:shown]
		rest = rest[min(stride, len(rest)):]
		if l.reversed {
			row = reversedBits(row)
		}
		m.put(b, l, y, row)
	}
	return nil
}

// put unpacks a row of a block into the image.
func (m *Image) put(b block, l *layout, y int, row []uint8) {
	at := ((b.y+y)*m.Width + b.x) * m.Channels
	n := min(b.width, m.Width-b.x)
	if l.planar {
		l.unpack(m.Pix[at+b.plane:], m.Channels, row, 0, 1, n)
		return
	}
	if l.across*l.down > 1 {
		luma := l.across * l.down
		for x := range n {
			group := row[x/l.across*(luma+2):]
			pixel := m.Pix[at+3*x:]
			pixel[0], pixel[1], pixel[2] = group[y%l.down*l.across+x%l.across], group[luma], group[luma+1]
		}
		return
	}
	if l.bits == 8 && l.samples == m.Channels && l.photometric != whiteIsZero {
		copy(m.Pix[at:at+n*m.Channels], row)
		return
	}
	for c := range m.Channels {
		l.unpack(m.Pix[at+c:], m.Channels, row, c, l.samples, n)
	}
}

func reversedBits(row []uint8) []uint8 {
	out := slices.Clone(row)
	for i, v := range out {
		out[i] = bits.Reverse8(v)
	}
	return out
}

// paint replaces indices by colors. As in Pillow, the high bytes count, and a missing color is black.
func (m Image) paint(colorMap []int) (Image, error) {
	n := len(colorMap) / 3
	if n == 0 {
		return Image{}, errors.New("no color map")
	}
	out := Image{m.Width, m.Height, 3, make([]uint8, 3*len(m.Pix)), m.Deep, m.Damage}
	for i, v := range m.Pix {
		for c := range 3 {
			if int(v) < n {
				out.Pix[3*i+c] = uint8(colorMap[c*n+int(v)] >> 8)
			}
		}
	}
	return out, nil
}

// decode decompresses a block.
func (m *Image) decode(data []byte, b block, l *layout, d *Directory, compression int) error {
	if b.at > len(data) || b.size > len(data)-b.at {
		return io.ErrUnexpectedEOF
	}
	compressed := data[b.at:]
	if b.size >= 0 {
		compressed = compressed[:b.size]
	}
	if l.reversed && compression != jpegCompression { // libtiff does not turn those
		compressed = reversedBits(compressed)
	}
	rows, err := decompress(compressed, b, l, d, compression)
	if err != nil && l.lenient && !errors.Is(err, ErrUnsupported) {
		rows, err = bytes.NewReader(nil), nil
	}
	if err != nil {
		return err
	}
	p, err := newPredictor(l, d, compression)
	if err != nil {
		return err
	}
	row := make([]uint8, l.rowBytes(b.width))
	var damage error
	height := b.height
	if compression == jpegCompression { // may end with the image
		height = min(height, m.Height-b.y)
	}
	for y := range height {
		if y%l.down == 0 {
			n, err := io.ReadFull(rows, row)
			if err != nil {
				damage = fmt.Errorf("row %d of a strip or tile: %w", y, err)
				if !l.lenient || p != nil {
					return damage
				}
				clear(row[n:])
			}
			if p != nil {
				p(row)
			}
		}
		if b.y+y < m.Height {
			m.put(b, l, y, row)
		}
	}
	switch rows := rows.(type) {
	case *fax:
		damage = rows.damage
	case *jpegRows:
		damage = rows.Damage
	}
	if damage == nil && (compression == deflate || compression == oldDeflate) { // libtiff checks the sum if the data end here with all of it
		if n, err := rows.Read(row[:1]); n == 0 && err != io.EOF {
			if damage = err; err != io.ErrUnexpectedEOF && (!l.lenient || p != nil) {
				return err
			}
		}
	}
	if damage != nil {
		m.Damage = damage
	}
	return nil
}
