package imageio

import "github.com/sdr-ml/sdr/transforms/imageio/tiff"

var tiffFormat = format{
	name:       "TIFF",
	extensions: []string{".tif", ".tiff"},
	magic:      []string{"II*\x00", "MM\x00*", "II\x00*", "MM*\x00", "II+\x00"},
	size:       tiff.Size,
	decode:     decodeTIFF,
	metadata:   metadataTIFF,
}

func decodeTIFF(data []byte, _ int) (RGB, error) {
	img, err := tiff.Decode(data)
	if err != nil {
		return RGB{}, err
	}
	rgb := fromChannels(img.Width, img.Height, img.Channels, img.Pix)
	rgb.Damage, rgb.Clipped = img.Damage, img.Deep && rgb.mostlyWhite()
	return rgb, nil
}

// metadataTIFF returns the file itself, which has the structure of Exif data.
func metadataTIFF(data []byte) metadata {
	d, err := tiff.ReadDirectory(data)
	if err != nil {
		return metadata{}
	}
	return metadata{data, d.XMP()}
}
