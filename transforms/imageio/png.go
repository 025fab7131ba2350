package imageio

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"image"
	"image/png"
	"io"
	"iter"
	"strings"
	"unicode/utf8"
)

var pngFormat = format{
	name:       "PNG",
	extensions: []string{".png", ".apng"},
	magic:      []string{"\x89PNG\r\n\x1a\n"},
	size:       pngSize,
	decode:     decodePNG,
	metadata:   metadataPNG,
}

// maxStandardPNG is the number of pixels up to which the standard library decodes a PNG, which it does in twice the time,
// but in up to 15 bytes of memory per pixel.
const maxStandardPNG = 1 << 25

func decodePNG(data []byte, _ int) (RGB, error) {
	rgb, err := pixelsPNG(data)
	rgb.Clipped = err == nil && data[24] == 16 && data[25] == 0 && rgb.mostlyWhite() // depth and color type of the header
	return rgb, err
}

func pixelsPNG(data []byte) (RGB, error) {
	width, height, err := pngSize(data)
	// The standard library takes the memory of all pixels first. No compression is better than 1 to 1032.
	if err != nil || width*height/8 > 1032*len(data) {
		return mendPNG(data, io.ErrUnexpectedEOF)
	}
	if width*height > maxStandardPNG {
		return mendPNG(data, nil)
	}
	img, err := png.Decode(bytes.NewReader(data))
	if err != nil {
		return mendPNG(data, err)
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

// pngSize reads the header, which must be the first chunk.
func pngSize(data []byte) (width, height int, err error) {
	if len(data) < 33 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if string(data[12:16]) != "IHDR" {
		return 0, 0, errors.New("no header")
	}
	return int(binary.BigEndian.Uint32(data[16:])), int(binary.BigEndian.Uint32(data[20:])), nil
}

// pngChunks returns the chunks of a PNG up to its end, or to where no chunk follows. Their sums are not checked.
func pngChunks(data []byte) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for at := 8; at+8 <= len(data); {
			n, name := int(binary.BigEndian.Uint32(data[at:])), string(data[at+4:at+8])
			if at += 8; n > len(data)-at || !yield(name, data[at:at+n]) || name == "IEND" {
				return
			}
			at += n + 4
		}
	}
}

// metadataPNG finds the metadata, which may be behind the pixels, too. Some programs write it as text: ImageMagick's
// "Raw profile type exif" has three lines before the data in hexadecimal digits.
func metadataPNG(data []byte) (m metadata) {
	var profile []byte
	for name, content := range pngChunks(data) {
		if name == "eXIf" {
			m.exif = append([]byte("Exif\x00\x00"), content...)
		}
		if name != "tEXt" && name != "zTXt" && name != "iTXt" {
			continue
		}
		key, text, _ := bytes.Cut(content, []byte{0})
		switch string(key) {
		case "exif", "Raw profile type exif", "XML:com.adobe.xmp":
			text, ok := pngText(name, text, key[0] != 'X')
			switch {
			case !ok:
			case key[0] == 'e':
				m.exif = text
			case key[0] == 'R':
				profile = text
			default:
				m.xmp = text
			}
		}
	}
	if lines := strings.Split(string(profile), "\n"); m.exif == nil && len(lines) > 3 {
		m.exif, _ = hex.DecodeString(strings.Join(strings.Fields(strings.Join(lines[3:], "")), ""))
	}
	return m
}

// pngText returns the text of a chunk after its key. An iTXt chunk that is strict has only UTF-8 in it.
func pngText(chunk string, text []byte, strict bool) (out []byte, ok bool) {
	compressed, international := chunk == "zTXt" && len(text) > 0, chunk == "iTXt"
	if compressed {
		text = text[1:] // the method
	}
	if international {
		parts := bytes.SplitN(text[min(2, len(text)):], []byte{0}, 3) // language, translated key, text
		if len(parts) < 3 || strict && !(utf8.Valid(parts[0]) && utf8.Valid(parts[1])) {
			return nil, false
		}
		compressed, text = text[0] != 0, parts[2]
	}
	if compressed {
		const most = 1 << 20 // Pillow's limit
		r, err := zlib.NewReader(bytes.NewReader(text))
		if err == nil {
			out, err = io.ReadAll(io.LimitReader(r, most))
		}
		if err != nil && err != io.ErrUnexpectedEOF {
			return nil, !international
		}
		text = out
	}
	return text, !international || !strict || utf8.Valid(text)
}
