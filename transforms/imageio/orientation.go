package imageio

import (
	"bytes"
	"io"
	"regexp"
	"slices"

	"github.com/bep/imagemeta"
)

// xmpOrientation is where Pillow looks if there is no EXIF orientation.
var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// tagged reads the EXIF orientation of an image, 1 to 8, or else that of XMP; 0 if there is none or the metadata is
// damaged. markers are byte strings that such metadata begins with: most images of a data set have none, and searching
// for a marker is much cheaper than parsing.
func tagged(data []byte, kind imagemeta.ImageFormat, markers ...string) int {
	has := func(marker string) bool { return bytes.Contains(data, []byte(marker)) }
	if markers != nil && !slices.ContainsFunc(markers, has) {
		return 0
	}
	var exif, xmp int
	// Whatever was found before an error counts, as in Pillow.
	_, _ = imagemeta.Decode(imagemeta.Options{
		R:           bytes.NewReader(data),
		ImageFormat: kind,
		Sources:     imagemeta.EXIF | imagemeta.XMP,
		ShouldHandleTag: func(tag imagemeta.TagInfo) bool {
			return tag.Tag == "Orientation" && tag.Namespace == "IFD0"
		},
		HandleTag: func(tag imagemeta.TagInfo) error {
			if v, ok := tag.Value.(uint16); ok {
				exif = int(v)
			}
			return nil
		},
		HandleXMP: func(r io.Reader) error {
			packet, err := io.ReadAll(r)
			xmp = described(packet)
			return err
		},
	})
	if exif != 0 {
		return exif
	}
	return xmp
}

// described reads the orientation from an XMP packet, 0 if there is none.
func described(packet []byte) int {
	if m := xmpOrientation.FindSubmatch(packet); m != nil {
		return int(m[1][0] - '0')
	}
	return 0
}
