package imageio

import (
	"bytes"
	"encoding/json"
	"image"
	"image/color"
	"image/png"
	"os"
	"path"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// Our decoder reads the same pixels as the standard library's, for large images.
func TestLargePNGEqualsSmall(t *testing.T) {
	text, err := os.ReadFile("testdata/odd.json")
	require.NoError(t, err)
	var odd struct {
		Files map[string]struct{ Data []byte }
	}
	require.NoError(t, json.Unmarshal(text, &odd))
	n := 0
	for name, file := range odd.Files {
		if path.Ext(name) != ".png" {
			continue
		}
		want, err := decodePNG(file.Data, 1)
		if err != nil || want.Damage != nil {
			continue
		}
		got, err := mendPNG(file.Data, nil)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
		n++
	}
	require.Greater(t, n, 50)
}

// A large image leaves no garbage, next to which another one would take too much memory.
func TestLargeImageLeavesNothing(t *testing.T) {
	var file bytes.Buffer
	black := image.NewPaletted(image.Rect(0, 0, 1<<13, budget>>13), color.Palette{color.Black, color.White})
	require.NoError(t, png.Encode(&file, black))
	black = nil
	got, err := DecodeSquare(file.Bytes(), 8)
	require.NoError(t, err)
	require.Equal(t, make([]uint8, 3*8*8), got.Pix)
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	require.Less(t, memory.HeapAlloc, uint64(budget))
}
