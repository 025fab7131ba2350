package imageio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"golang.org/x/sync/semaphore"
)

// maxPixels is the size above which Pillow rejects an image as a decompression bomb.
const maxPixels = 178_956_970

// Decode decodes one image like Pillow's ImageOps.exif_transpose(Image.open(f)).convert("RGB"), byte for byte. It applies
// the orientation of Exif or XMP, drops alpha without compositing, clips gray of more than 8 bits to 255, keeps the high
// bytes of other 16-bit images, converts CMYK by Pillow's formula, and decodes the first frame of an animation.
//
// Damaged images that Pillow reads are read to the same pixels, and RGB.Damage tells what is wrong: PNGs with wrong
// checksums, chunks out of order or no end, JPEGs whose scans end early or have wrong codes, GIFs with frames beyond the
// screen. What Pillow refuses is an error: images that are truncated or damaged otherwise, and those of more than
// 178,956,970 pixels. So are some sound files that Pillow reads: JPEGs with arithmetic coding or without loss, and TIFFs in
// CIE L*a*b* or with rare compressions. An image whose Exif data are damaged is read, but not turned. Decode never panics. It
// is safe for concurrent use; large images wait for each other to bound memory.
func Decode(data []byte) (RGB, error) {
	return decode(data, 0, func(rgb RGB, _ box) RGB { return rgb })
}

// DecodeSquare decodes one image like [Decode] and resizes it to size x size pixels like [RGB.Square]. A JPEG whose
// sides are at least 4, 8 or 16 times size is decoded at 1/2, 1/4 or 1/8, still at least twice the size, like Pillow's
// thumbnail with reducing_gap=2. That is several times faster; the pixels of photos at 32 px differ by 0.24 of 255 on
// average from a full decode.
func DecodeSquare(data []byte, size int) (RGB, error) {
	return decode(data, 2*size, func(rgb RGB, in box) RGB {
		out := rgb.square(size, in)
		out.Damage, out.Clipped = rgb.Damage, rgb.Clipped
		return out
	})
}

// budget is the maximum number of pixels that the process decodes concurrently. They take up to 12 bytes each, in a
// progressive JPEG.
const budget = 1 << 26

var pixels = semaphore.NewWeighted(budget)

// decode decodes an image, possibly at reduced size but with at least enough pixels in width and height; 0 means full
// size. It returns what use makes of the image, of which the box is the extent; large images wait until others were used.
func decode(data []byte, enough int, use func(rgb RGB, in box) RGB) (rgb RGB, err error) {
	f, ok := sniff(data)
	if !ok {
		return RGB{}, fmt.Errorf("decode image of %d bytes: %s%w", len(data), foreign(data), ErrFormat)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			rgb, err = RGB{}, fmt.Errorf("decode %s image of %d bytes: %w", f.name, len(data), err)
		}
	}()
	width, height, err := f.size(data)
	if err != nil {
		return RGB{}, truncated(err)
	}
	if width < 1 || height < 1 {
		return RGB{}, fmt.Errorf("%d x %d pixels", width, height)
	}
	if width > maxPixels/height {
		return RGB{}, fmt.Errorf("%d x %d pixels are more than the limit of %d", width, height, maxPixels)
	}
	weight := int64(min(width*height, budget))
	if err := pixels.Acquire(context.Background(), weight); err != nil {
		return RGB{}, err
	}
	defer pixels.Release(weight)
	if weight == budget { // what a large image leaves, or others before it, is not garbage next to another one
		debug.FreeOSMemory()
		defer debug.FreeOSMemory()
	}
	scale := 1
	if f.reduces {
		scale = draft(width, height, enough)
	}
	if rgb, err = f.decode(data, scale); err != nil {
		return RGB{}, truncated(err)
	}
	in := rgb.whole()
	if scale > 1 {
		in[2], in[3] = float64(width)/float64(scale), float64(height)/float64(scale)
	}
	if f.metadata != nil {
		damage, clipped := rgb.Damage, rgb.Clipped
		rgb, in = rgb.orient(f.metadata(data).orientation(), in)
		rgb.Damage, rgb.Clipped = damage, clipped
	}
	return use(rgb, in), nil
}

// draft returns the largest scale, 1, 2, 4 or 8, that leaves enough pixels on both sides; 0 means full size. It equals
// that of Pillow's Image.draft.
func draft(width, height, enough int) int {
	for scale := 8; enough > 0 && scale > 1; scale /= 2 {
		if min(width, height)/scale >= enough {
			return scale
		}
	}
	return 1
}

// truncated adds "truncated" to an error for data that ends too early.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("truncated: %w", err)
	}
	return err
}
