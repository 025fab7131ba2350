package imageio

import (
	"bytes"

	"github.com/bep/imagemeta"
	"golang.org/x/image/tiff"
)

var tiffFormat = format{
	name:        "TIFF",
	extensions:  []string{".tif", ".tiff"},
	magic:       []string{"II*\x00", "MM\x00*"},
	size:        sizeBy(tiff.DecodeConfig),
	decode:      decodeTIFF,
	orientation: func(data []byte) int { return tagged(data, imagemeta.TIFF) },
}

func decodeTIFF(data []byte, _ int) (RGB, error) {
	img, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return fromImage(img)
}
