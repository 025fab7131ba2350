package imageio

import (
	"encoding/json"
	"os"
	"path"
	"testing"

	"github.com/stretchr/testify/require"
)

// Every golden image is sniffed as the format of its extension, and every
// format has goldens.
func TestFormats(t *testing.T) {
	text, err := os.ReadFile("testdata/decode.json")
	require.NoError(t, err)
	var images map[string]struct{ Data []byte }
	require.NoError(t, json.Unmarshal(text, &images))
	seen := map[string]bool{}
	for name, im := range images {
		f, ok := sniff(im.Data)
		require.True(t, ok, name)
		require.Contains(t, f.extensions, path.Ext(name))
		seen[f.name] = true
	}
	require.Len(t, seen, len(formats))
	require.EqualError(t, ErrFormat, "not a JPEG, PNG, GIF, BMP, WebP, TIFF or PNM image")
	for _, name := range []string{"a.JPG", "b/a.jfif", `b\a.tiff`, "a.b.ppm"} {
		require.True(t, isImage(name), name)
	}
	for _, name := range []string{"", "jpg", ".jpg", "b/._a.jpg", "a.jpg/b", "a.jpg.gz", "a.svg"} {
		require.False(t, isImage(name), name)
	}
}
