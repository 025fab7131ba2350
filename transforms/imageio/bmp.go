package imageio

import (
	"bytes"

	"golang.org/x/image/bmp"
)

var bmpFormat = format{
	name:       "BMP",
	extensions: []string{".bmp"},
	magic:      []string{"BM"},
	size:       sizeBy(bmp.DecodeConfig),
	decode:     decodeBMP,
}

func decodeBMP(data []byte, _ int) (RGB, error) {
	img, err := bmp.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return fromImage(img)
}
