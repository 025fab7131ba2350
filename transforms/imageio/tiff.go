package imageio

import (
	"bytes"

	"golang.org/x/image/tiff"

	tifftags "github.com/sdr-ml/sdr/transforms/imageio/tiff"
)

var tiffFormat = format{
	name:       "TIFF",
	extensions: []string{".tif", ".tiff"},
	magic:      []string{"II*\x00", "MM\x00*"},
	size:       sizeBy(tiff.DecodeConfig),
	decode:     decodeTIFF,
	metadata:   metadataTIFF,
}

func decodeTIFF(data []byte, _ int) (RGB, error) {
	img, err := tiff.Decode(bytes.NewReader(data))
	if err != nil {
		return RGB{}, err
	}
	return fromImage(img)
}

// metadataTIFF returns the file itself, which has the structure of Exif data.
func metadataTIFF(data []byte) metadata {
	d, err := tifftags.ReadDirectory(data)
	if err != nil {
		return metadata{}
	}
	return metadata{data, d.XMP()}
}
