package imageio

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"io"
	"slices"
)

// mendPNG decodes a PNG that the standard library refuses for a reason, or that is too large for it, as leniently as Pillow:
// the chunks up to the pixels must be intact, but may be in any order, and of the pixels only so much as the image needs.
// They may even end early, at the end of a row.
func mendPNG(data []byte, reason error) (RGB, error) {
	p, err := readPNG(data)
	if err != nil {
		return RGB{}, err
	}
	out, err := p.decode()
	if err != nil {
		return RGB{}, err
	}
	if reason != nil {
		out.Damage = reason
	}
	return out, nil
}

// pngFile is what the chunks of a PNG hold.
type pngFile struct {
	width, height, depth int
	color                uint8
	interlaced           bool
	colors               [256][3]uint8
	pixels               []byte // compressed
	chunks               []int  // the indices in pixels at which chunks begin
}

// pngSamples are the numbers of samples of a pixel by color type, 0 for types that do not exist.
var pngSamples = [7]int{0: 1, 2: 3, 3: 1, 4: 2, 6: 4}

func readPNG(data []byte) (*pngFile, error) {
	p := &pngFile{}
	var err error
	if p.width, p.height, err = pngSize(data); err != nil {
		return nil, err
	}
	p.depth, p.color, p.interlaced = int(data[24]), data[25], data[28] != 0
	switch {
	case data[27] != 0 || p.color > 6 || pngSamples[p.color] == 0:
		return nil, errors.New("damaged header")
	case p.depth == 8, p.depth == 16 && p.color != 3:
	case (p.depth == 1 || p.depth == 2 || p.depth == 4) && pngSamples[p.color] == 1:
	default:
		return nil, fmt.Errorf("color type %d with %d bits", p.color, p.depth)
	}
	began := false
	for at := 8; at+8 <= len(data); {
		n, name := int(binary.BigEndian.Uint32(data[at:])), data[at+4:at+8]
		at += 8
		content := data[at:min(at+n, len(data))]
		pixels := string(name) == "IDAT"
		if began && !pixels {
			break
		}
		if began = began || pixels; !began {
			if len(data) < at+n+4 {
				return nil, io.ErrUnexpectedEOF
			}
			if binary.BigEndian.Uint32(data[at+n:]) != crc32.ChecksumIEEE(data[at-4:at+n]) {
				return nil, fmt.Errorf("wrong checksum of %q", name)
			}
		}
		switch string(name) {
		case "IDAT":
			p.chunks = append(p.chunks, len(p.pixels))
			p.pixels = append(p.pixels, content...)
		case "IEND":
			return nil, errors.New("no pixels")
		case "PLTE":
			if p.color != 3 {
				break
			}
			if len(content)/3 > len(p.colors) {
				return nil, fmt.Errorf("palette of %d colors", len(content)/3)
			}
			clear(p.colors[:])
			for i := range len(content) / 3 {
				p.colors[i] = [3]uint8(content[3*i:])
			}
		case "tRNS":
			if p.color == 0 && n < 2 || p.color == 2 && n < 6 {
				return nil, errors.New("transparent color cut off")
			}
		}
		at += n + 4
	}
	return p, nil
}

// adam7 are the passes of an interlaced image: the first column and row, and the steps.
var adam7 = [7][4]int{{0, 0, 8, 8}, {4, 0, 8, 8}, {0, 4, 4, 8}, {2, 0, 4, 4}, {0, 2, 2, 4}, {1, 0, 2, 2}, {0, 1, 1, 2}}

// decode decodes the pixels. Those that are missing are 0.
func (p *pngFile) decode() (out RGB, err error) {
	packed := bytes.NewReader(p.pixels)
	z, err := zlib.NewReader(packed)
	if err != nil {
		return RGB{}, err
	}
	passes := adam7[:]
	if !p.interlaced {
		passes = [][4]int{{0, 0, 1, 1}}
	}
	bits := p.depth * pngSamples[p.color]
	for _, pass := range passes {
		left, top, right, down := pass[0], pass[1], pass[2], pass[3]
		n := (p.width - left + right - 1) / right
		row, above := make([]uint8, 1+(n*bits+7)/8), make([]uint8, 1+(n*bits+7)/8)
		for y := top; y < p.height && n > 0; y += down {
			switch got, err := io.ReadFull(z, row); {
			case err == io.EOF && got == 0 && out.Pix != nil: // a sound stream that is too short
				out.Damage = io.ErrUnexpectedEOF
				return out, nil
			case err != nil:
				return RGB{}, err
			}
			if err := unfilter(row, above, max(bits/8, 1)); err != nil {
				return RGB{}, err
			}
			if out.Pix == nil {
				if out = newRGB(image.Rect(0, 0, p.width, p.height)); p.color == 3 {
					out.fill(p.colors[0])
				}
			}
			for i := range n {
				p.set(out, y*p.width+left+i*right, row[1:], i)
			}
			row, above = above, row
		}
	}
	if n, err := z.Read(make([]byte, 1)); n == 0 && err == zlib.ErrChecksum {
		return p.unchecked(len(p.pixels) - packed.Len())
	}
	return out, nil
}

// unchecked decodes the pixels if Pillow does not come to their wrong checksum, which ends at some index: it reads a chunk at a
// time, of which at most 64 KiB, and no further than to the last row.
func (p *pngFile) unchecked(end int) (RGB, error) {
	next, _ := slices.BinarySearch(p.chunks, end)
	chunk := p.chunks[next-1] // that the checksum ends in
	before := *p
	before.pixels = p.pixels[:chunk+(end-1-chunk)>>16<<16]
	out, err := before.decode()
	if err != nil || out.Damage != nil {
		return RGB{}, zlib.ErrChecksum
	}
	out.Damage = zlib.ErrChecksum
	return out, nil
}

// unfilter replaces the bytes after the filter type, each predicted from those of the pixel before and of the row above.
func unfilter(row, above []uint8, pixel int) error {
	filter := row[0]
	if filter > 4 {
		return fmt.Errorf("filter %d", filter)
	}
	for i := 1; i < len(row); i++ {
		left, up, corner := 0, int(above[i]), 0
		if i > pixel {
			left, corner = int(row[i-pixel]), int(above[i-pixel])
		}
		switch filter {
		case 1:
			row[i] += uint8(left)
		case 2:
			row[i] += uint8(up)
		case 3:
			row[i] += uint8((left + up) / 2)
		case 4:
			row[i] += uint8(paeth(left, up, corner))
		}
	}
	return nil
}

// paeth returns which of three bytes is next to left + up - corner.
func paeth(left, up, corner int) int {
	away := func(v int) int { return max(left+up-corner-v, v-left-up+corner) }
	switch a, b, c := away(left), away(up), away(corner); {
	case a <= b && a <= c:
		return left
	case b <= c:
		return up
	}
	return corner
}

// set sets a pixel of the image to pixel i of a row.
func (p *pngFile) set(out RGB, at int, row []uint8, i int) {
	samples, bytes := pngSamples[p.color], p.depth/8
	switch {
	case p.depth < 8:
		v := row[i*p.depth/8] >> (8 - p.depth - i*p.depth%8) & (1<<p.depth - 1)
		if p.color == 0 {
			out.gray(at, v*(255/(1<<p.depth-1)))
			return
		}
		c := p.colors[v]
		out.set(at, c[0], c[1], c[2])
	case p.color == 3:
		c := p.colors[row[i]]
		out.set(at, c[0], c[1], c[2])
	case p.color == 0 && p.depth == 16:
		out.gray(at, clip16(row[2*i], row[2*i+1]))
	case samples < 3:
		out.gray(at, row[i*samples*bytes])
	default:
		pixel := row[i*samples*bytes:]
		out.set(at, pixel[0], pixel[bytes], pixel[2*bytes])
	}
}
