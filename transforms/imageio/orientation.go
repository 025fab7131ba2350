package imageio

import (
	"bytes"
	"encoding/binary"
	"io"
	"regexp"

	"github.com/bep/imagemeta"
)

// xmpOrientation is where Pillow looks if there is no EXIF orientation.
var xmpOrientation = regexp.MustCompile(`tiff:Orientation(?:="|>)([0-9])`)

// orientation returns the EXIF orientation of an image, 1 to 8, or 0 if it
// tells none or its metadata are damaged.
func orientation(data []byte) int {
	// Most images of a data set have no metadata, and to look for the marker
	// is much cheaper than to parse.
	has := func(marker string) bool { return bytes.Contains(data, []byte(marker)) }
	switch data[0] {
	case 0xff:
		if has("Exif\x00") || has("tiff:Orientation") {
			return tagged(data, imagemeta.JPEG)
		}
	case 0x89:
		if has("eXIf") {
			return tagged(data, imagemeta.PNG)
		}
	case 'R':
		if exif := bytes.TrimPrefix(webpChunk(data, "EXIF"), []byte("Exif\x00\x00")); len(exif) > 0 {
			if o := tagged(exif, imagemeta.TIFF); o != 0 {
				return o
			}
		}
		return described(webpChunk(data, "XMP "))
	default:
		return tagged(data, imagemeta.TIFF)
	}
	return 0
}

// tagged reads the EXIF orientation, or else that of XMP.
func tagged(data []byte, kind imagemeta.ImageFormat) int {
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

// described reads the orientation of an XMP packet, 0 if there is none.
func described(packet []byte) int {
	if m := xmpOrientation.FindSubmatch(packet); m != nil {
		return int(m[1][0] - '0')
	}
	return 0
}

// webpChunk returns the first chunk of a name. (imagemeta loses its way after
// a chunk of odd length, which RIFF pads.)
func webpChunk(data []byte, name string) []byte {
	for data = data[12:]; len(data) >= 8; {
		n := int(binary.LittleEndian.Uint32(data[4:]))
		chunk := data[8:]
		if n > len(chunk) {
			return nil
		}
		if string(data[:4]) == name {
			return chunk[:n]
		}
		data = chunk[min(n+n%2, len(chunk)):]
	}
	return nil
}
