package imageio

import (
	"bytes"
	"encoding/binary"

	"github.com/sdr-ml/sdr/transforms/imageio/jpeg"
)

var jpegFormat = format{
	name:       "JPEG",
	extensions: []string{".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"},
	magic:      []string{"\xff\xd8\xff"},
	size:       jpeg.Size,
	decode:     decodeJPEG,
	metadata:   metadataJPEG,
	reduces:    true,
}

func decodeJPEG(data []byte, scale int) (RGB, error) {
	img, err := jpeg.Decode(data, scale)
	if err != nil {
		return RGB{}, err
	}
	out := fromChannels(img.Width, img.Height, img.Channels, img.Pix)
	out.Damage = img.Damage
	return out, nil
}

// metadataJPEG finds the metadata before the pixels. Exif data that does not fit into one segment goes on in the next; of
// several XMP packets the last one counts.
func metadataJPEG(data []byte) (m metadata) {
	const app1, sos = 0xe1, 0xda
	const exif, xmp = "Exif\x00\x00", "http://ns.adobe.com/xap/1.0/\x00"
	for at := 2; at+3 < len(data); {
		marker := data[at+1]
		switch {
		case data[at] != 0xff || marker == 0xff || marker == 0:
			at++ // stray bytes between segments
			continue
		case marker == sos:
			return m
		case marker >= 0xd0 && marker <= 0xd9 || marker == 0xc8 || marker >= 0xf0 && marker < 0xfe: // have no content
			at += 2
			continue
		}
		end := at + max(2+int(binary.BigEndian.Uint16(data[at+2:])), 4)
		if end > len(data) {
			return m
		}
		content := data[at+4 : end]
		switch {
		case marker != app1:
		case bytes.HasPrefix(content, []byte(exif)) && m.exif != nil:
			m.exif = append(m.exif[:len(m.exif):len(m.exif)], content[len(exif):]...)
		case bytes.HasPrefix(content, []byte(exif)):
			m.exif = content
		case bytes.HasPrefix(content, []byte(xmp)):
			m.xmp = content[len(xmp):]
		}
		at = end
	}
	return m
}
