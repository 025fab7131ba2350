package imageio

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"strings"
)

// formats are the image formats. To add one, declare it in a file like png.go and list it here.
var formats = []format{jpegFormat, pngFormat, gifFormat, bmpFormat, webpFormat, tiffFormat, pnmFormat}

// format is one image format and its decoder.
type format struct {
	name       string
	extensions []string // of file names, in lower case
	magic      []string // alternatives for the first bytes; ? matches any byte
	size       func(data []byte) (width, height int, err error)
	// decode decodes an image at 1/scale of its size; scale is 1 unless the format reduces.
	decode func(data []byte, scale int) (RGB, error)
	// metadata finds what tells how to turn the image; it is nil for formats without such data.
	metadata func(data []byte) metadata
	reduces  bool // can be decoded at 1/2, 1/4 and 1/8 size
}

// ErrFormat is wrapped by the error for data that is not an image of a known format.
var ErrFormat = errors.New("not a " + either(column(formats, func(f format) string { return f.name })) + " image")

// sniff detects the format from the first bytes, since file names can be wrong.
func sniff(data []byte) (format, bool) {
	for _, f := range formats {
		if slices.ContainsFunc(f.magic, func(magic string) bool { return begins(data, magic) }) {
			return f, true
		}
	}
	return format{}, false
}

// Format returns the name of an encoded image's format, such as JPEG; empty if it is of none that [Decode] knows.
func Format(data []byte) string {
	f, _ := sniff(data)
	return f.name
}

// foreigners are files that are often met in place of images, or are images of other formats: errors name them.
var foreigners = []struct {
	name  string
	magic []string
}{
	{"AVIF", []string{"????ftypavif", "????ftypavis"}},
	{"HEIC", []string{"????ftypheic", "????ftypheix", "????ftypheim", "????ftypheis", "????ftyphevc", "????ftyphevx", "????ftypmif1", "????ftypmsf1"}},
	{"JPEG XL", []string{"\xff\x0a", "\x00\x00\x00\x0cJXL "}},
	{"JPEG 2000", []string{"\x00\x00\x00\x0cjP  ", "\xff\x4f\xff\x51"}},
	{"Photoshop", []string{"8BPS"}},
	{"an icon", []string{"\x00\x00\x01\x00", "icns"}},
	{"PAM", []string{"P7"}},
	{"a color PFM", []string{"PF"}},
	{"QOI", []string{"qoif"}},
	{"a video", []string{"????ftyp", "\x1aE\xdf\xa3", "RIFF????AVI "}},
	{"SVG", []string{"<svg", "<?xml"}},
	{"HTML", []string{"<!DOCTYPE", "<!doctype", "<html", "<HTML"}},
	{"PDF", []string{"%PDF"}},
	{"a zip archive", []string{"PK\x03\x04"}},
}

// foreign names what data are instead, as a beginning of a sentence; it is empty if that is not known.
func foreign(data []byte) string {
	if text := misplaced(data); text != "" {
		return "it is " + text + ": "
	}
	for _, f := range foreigners {
		if !slices.ContainsFunc(f.magic, func(magic string) bool { return begins(data, magic) }) {
			continue
		}
		name := f.name
		if brands := data[:min(len(data), 64)]; name == "HEIC" && bytes.Contains(brands, []byte("avif")) {
			name = "AVIF" // the first brand may be a common one
		}
		return "it is " + name + ", "
	}
	return ""
}

func begins(data []byte, magic string) bool {
	if len(data) < len(magic) {
		return false
	}
	for i := range len(magic) {
		if magic[i] != '?' && magic[i] != data[i] {
			return false
		}
	}
	return true
}

// isImage reports whether a name is that of an image file. Hidden files are not.
func isImage(name string) bool {
	base := baseName(name)
	return !strings.HasPrefix(base, ".") && slices.Contains(extensions, path.Ext(base))
}

// extensions are the file name extensions of all formats.
var extensions = slices.Concat(column(formats, func(f format) []string { return f.extensions })...)

// column returns one cell of every row of a table.
func column[Row, Cell any](rows []Row, cell func(Row) Cell) (cells []Cell) {
	for _, r := range rows {
		cells = append(cells, cell(r))
	}
	return cells
}

// either joins words for a sentence: "a, b or c".
func either(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
