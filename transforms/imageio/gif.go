package imageio

import (
	"bytes"
	"image"
	"image/gif"
	"slices"
)

var gifFormat = format{
	name:       "GIF",
	extensions: []string{".gif"},
	magic:      []string{"GIF87a", "GIF89a"},
	size:       sizeBy(gif.DecodeConfig),
	decode:     decodeGIF,
}

// decodeGIF draws the first frame on the canvas. Where the frame does not cover the canvas, it shows the transparent
// color, or color 0.
func decodeGIF(data []byte, _ int) (RGB, error) {
	config, err := gif.DecodeConfig(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	data, background := withoutTransparency(data)
	img, err := gif.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	frame, err := fromImage(img)
	if err != nil {
		return RGB{}, err
	}
	at := img.Bounds().Min
	if at == (image.Point{}) && frame.Width == config.Width && frame.Height == config.Height {
		return frame, nil
	}
	out := newRGB(image.Rect(0, 0, config.Width, config.Height))
	out.fill(opaque(img.(*image.Paletted).Palette)[background])
	for y := range frame.Height {
		copy(out.Pix[((at.Y+y)*out.Width+at.X)*3:], frame.Pix[y*frame.Width*3:(y+1)*frame.Width*3])
	}
	return out, nil
}

// withoutTransparency returns a copy of a GIF whose first frame has no transparent color, and the index of the former
// transparent color. Go's decoder would drop that color's RGB values.
func withoutTransparency(data []byte) ([]byte, uint8) {
	if len(data) < 13 {
		return data, 0
	}
	at := 13
	if data[10]&0x80 != 0 {
		at += 3 << (data[10]&7 + 1)
	}
	var index uint8
	copied := false
	for at+2 < len(data) && data[at] == 0x21 { // extension
		if data[at+1] == 0xf9 && at+7 < len(data) && data[at+2] == 4 && data[at+3]&1 != 0 {
			if !copied {
				data, copied = slices.Clone(data), true
			}
			data[at+3] &^= 1
			index = data[at+6]
		}
		for at += 2; at < len(data) && data[at] != 0; {
			at += 1 + int(data[at])
		}
		at++
	}
	return data, index
}
