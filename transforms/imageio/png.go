package imageio

import (
	"bytes"
	"image"
	"image/png"

	"github.com/bep/imagemeta"
)

var pngFormat = format{
	name:        "PNG",
	extensions:  []string{".png"},
	magic:       []string{"\x89PNG\r\n\x1a\n"},
	size:        sizeBy(png.DecodeConfig),
	decode:      decodePNG,
	orientation: func(data []byte) int { return tagged(data, imagemeta.PNG, "eXIf") },
}

func decodePNG(data []byte, _ int) (RGB, error) {
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	if deep, ok := img.(*image.NRGBA64); ok && data[25] == 0 { // gray with a transparent value
		rgb := newRGB(deep.Rect)
		for i := range rgb.Width * rgb.Height {
			rgb.gray(i, clip16(deep.Pix[8*i], deep.Pix[8*i+1]))
		}
		return rgb, nil
	}
	return fromImage(img)
}
