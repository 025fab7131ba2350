package imageio

import (
	"regexp"

	"github.com/sdr-ml/sdr/transforms/imageio/tiff"
)

// metadata is what may tell how to turn an image. Both parts are nil if the file has none.
type metadata struct {
	exif, xmp []byte
}

var (
	exifPrefix     = regexp.MustCompile("^(?:Exif\x00\x00){1,2}")
	xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)
)

// orientation returns the orientation, 1 to 8, or another number if there is none. As in Pillow, that of XMP counts if
// Exif has none, but not if it is damaged.
func (m metadata) orientation() int {
	if exif := m.exif[len(exifPrefix.Find(m.exif)):]; len(exif) > 0 {
		d, err := tiff.ReadDirectory(exif)
		if err != nil {
			return 0
		}
		if orientation, ok := d.Orientation(); ok {
			return orientation
		}
	}
	if found := xmpOrientation.FindSubmatch(m.xmp); found != nil {
		return int(found[1][0] - '0')
	}
	return 0
}
