package tiff

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// exif returns Exif data with one tag.
func exif(tag, kind uint16, count uint32, value ...byte) []byte {
	data := []byte{'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, byte(tag), byte(tag >> 8), byte(kind), 0, byte(count), byte(count >> 8), 0, 0}
	return append(append(data, value...), 0, 0, 0, 0)
}

func TestOrientation(t *testing.T) {
	for name, c := range map[string]struct {
		data []byte
		want int
		ok   bool
	}{
		"short":           {exif(tagOrientation, 3, 1, 6, 0, 0, 0), 6, true},
		"long":            {exif(tagOrientation, 4, 1, 6, 0, 0, 0), 6, true},
		"two":             {exif(tagOrientation, 3, 2, 6, 0, 1, 0), 6, true},
		"byte":            {exif(tagOrientation, 1, 1, 6, 0, 0, 0), 0, true},
		"text":            {exif(tagOrientation, 2, 2, '6', 0, 0, 0), 0, true},
		"nine":            {exif(tagOrientation, 3, 1, 9, 0, 0, 0), 0, true},
		"float":           {exif(tagOrientation, 11, 1, 0, 0, 0xc0, 0x40), 6, true},
		"half":            {exif(tagOrientation, 11, 1, 0, 0, 0xd0, 0x40), 0, true},
		"unknown type":    {exif(tagOrientation, 15, 1, 6, 0, 0, 0), 0, false},
		"none":            {exif(tagOrientation, 3, 0, 6, 0, 0, 0), 0, false},
		"other tag":       {exif(tagWidth, 3, 1, 6, 0, 0, 0), 0, false},
		"beyond the end":  {exif(tagOrientation, 3, 3, 99, 0, 0, 0), 0, false},
		"without next":    {exif(tagOrientation, 3, 1, 6, 0, 0, 0)[:22], 6, true},
		"ends too early":  {exif(tagOrientation, 3, 1, 6, 0, 0, 0)[:21], 0, false},
		"rational, far":   {append(exif(tagOrientation, 5, 1, 26, 0, 0, 0), 12, 0, 0, 0, 2, 0, 0, 0), 6, true},
		"divided by zero": {append(exif(tagOrientation, 5, 1, 26, 0, 0, 0), 12, 0, 0, 0, 0, 0, 0, 0), 0, true},
	} {
		d, err := ReadDirectory(c.data)
		require.NoError(t, err, name)
		got, ok := d.Orientation()
		require.Equal(t, c.want, got, name)
		require.Equal(t, c.ok, ok, name)
	}
	_, err := ReadDirectory([]byte("II*\x00"))
	require.Error(t, err)
	_, err = ReadDirectory([]byte("no header"))
	require.ErrorContains(t, err, "no TIFF header")
}

// FuzzDirectory: any bytes yield an error or tags, and never panic. The pixels are fuzzed by package imageio.
func FuzzDirectory(f *testing.F) {
	f.Add(exif(tagOrientation, 3, 1, 6, 0, 0, 0))
	f.Add(append(exif(tagWidth, 5, 1, 26, 0, 0, 0), 12, 0, 0, 0, 2, 0, 0, 0))
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := ReadDirectory(data)
		if err != nil {
			return
		}
		if orientation, _ := d.Orientation(); orientation < 0 || orientation > 8 {
			t.Fatal(orientation)
		}
		if len(d.XMP()) > len(data) {
			t.Fatal(len(d.XMP()))
		}
		for tag := range d.tags {
			d.integers(tag)
		}
	})
}
