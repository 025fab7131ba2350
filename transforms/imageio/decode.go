package imageio

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
	"golang.org/x/image/webp"
)

// maxPixels is the size above which Pillow refuses an image as a
// decompression bomb.
const maxPixels = 178_956_970

// ErrFormat is the error, wrapped, of data that is no image of a known format.
var ErrFormat = errors.New("not a JPEG, PNG, GIF, BMP, WebP, TIFF, PGM or PPM image")

// format is one image format: its reader and what to do around it.
type format struct {
	name   string
	config func(io.Reader) (image.Config, error)
	decode func(data []byte) (RGB, error)
	exif   bool // may carry an orientation
}

// sniff finds the format by the first bytes, as file names lie.
func sniff(data []byte) (format, bool) {
	starts := func(magic string) bool { return bytes.HasPrefix(data, []byte(magic)) }
	switch {
	case starts("\xff\xd8\xff"):
		return format{"JPEG", jpeg.DecodeConfig, decodeJPEG, true}, true
	case starts("\x89PNG\r\n\x1a\n"):
		return format{"PNG", png.DecodeConfig, decodePNG, true}, true
	case starts("GIF87a"), starts("GIF89a"):
		return format{"GIF", gif.DecodeConfig, decodeGIF, false}, true
	case starts("BM"):
		return format{"BMP", bmp.DecodeConfig, decodeBMP, false}, true
	case starts("RIFF") && len(data) >= 12 && string(data[8:12]) == "WEBP":
		return format{"WebP", webp.DecodeConfig, decodeWebP, true}, true
	case starts("II*\x00"), starts("MM\x00*"):
		return format{"TIFF", tiff.DecodeConfig, decodeTIFF, true}, true
	case starts("P5"), starts("P6"):
		return format{"PNM", pnmConfig, decodePNM, false}, true
	}
	return format{}, false
}

// Decode decodes one image as Pillow's
// ImageOps.exif_transpose(Image.open(f)).convert("RGB") does: the EXIF
// orientation is applied, alpha is dropped and not composited, 16-bit grey is
// clipped to 255, other 16-bit images keep their high bytes, CMYK goes through
// Pillow's formula and an animation gives its first frame.
//
// All formats equal Pillow's pixels except JPEG, where a channel may differ by
// a few units because the inverse transforms round differently.
//
// Damaged and truncated images, images of more than 178,956,970 pixels
// (Pillow's limit) and what the decoders do not know (RLE and 16-bit BMP;
// CMYK and JPEG-compressed TIFF; arithmetic-coded JPEG; animated WebP) are
// errors. Decode never panics.
func Decode(data []byte) (rgb RGB, err error) {
	f, ok := sniff(data)
	if !ok {
		return RGB{}, fmt.Errorf("decode image of %d bytes: %w", len(data), ErrFormat)
	}
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("panic: %v", r)
		}
		if err != nil {
			rgb, err = RGB{}, fmt.Errorf("decode %s image of %d bytes: %w", f.name, len(data), err)
		}
	}()
	config, err := f.config(bytes.NewReader(data))
	if err != nil {
		return RGB{}, truncated(err)
	}
	if config.Width < 1 || config.Height < 1 {
		return RGB{}, fmt.Errorf("%d x %d pixels", config.Width, config.Height)
	}
	if config.Width > maxPixels/config.Height {
		return RGB{}, fmt.Errorf("%d x %d pixels are more than the limit of %d", config.Width, config.Height, maxPixels)
	}
	if rgb, err = f.decode(data); err != nil {
		return RGB{}, truncated(err)
	}
	if f.exif {
		rgb = rgb.orient(orientation(data))
	}
	return rgb, nil
}

// truncated says it in words if the data ended too early.
func truncated(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("truncated: %w", err)
	}
	return err
}

func decodeJPEG(data []byte) (RGB, error) {
	img, err := jpeg.Decode(bytes.NewReader(withAdobe(data)))
	if err != nil {
		return RGB{}, err
	}
	if planes, ok := img.(*image.YCbCr); ok {
		return fromJPEG(planes), nil
	}
	return fromImage(img)
}

func decodePNG(data []byte) (RGB, error) {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	if deep, ok := img.(*image.NRGBA64); ok && data[25] == 0 { // grey with a transparent value
		rgb := newRGB(deep.Rect)
		for i := range rgb.Width * rgb.Height {
			rgb.gray(i, clip16(deep.Pix[8*i], deep.Pix[8*i+1]))
		}
		return rgb, nil
	}
	return fromImage(img)
}

func decodeBMP(data []byte) (RGB, error) {
	img, err := bmp.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return fromImage(img)
}

func decodeTIFF(data []byte) (RGB, error) {
	img, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return fromImage(img)
}

func decodeWebP(data []byte) (RGB, error) {
	img, err := webp.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	switch img := img.(type) {
	case *image.YCbCr:
		return fromWebP(img), nil
	case *image.NYCbCrA:
		return fromWebP(&img.YCbCr), nil
	}
	return fromImage(img)
}
