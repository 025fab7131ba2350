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
		want, err := pixelsPNG(file.Data)
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

// Gray of 16 bits is clipped as by Pillow; an image is called clipped if that makes most of it white, turned or not.
func TestClipped(t *testing.T) {
	for rows, want := range map[int]bool{0: false, 4: false, 5: true, 8: true} { // that are above 255, of 8
		deep := image.NewGray16(image.Rect(0, 0, 8, 8))
		flat := image.NewGray(deep.Rect)
		for i := range 8 * rows {
			deep.Pix[2*i], flat.Pix[i] = 1, 255
		}
		for _, img := range []image.Image{deep, flat} {
			var b bytes.Buffer
			require.NoError(t, png.Encode(&b, img))
			for _, decode := range []func([]byte) (RGB, error){
				Decode, func(data []byte) (RGB, error) { return DecodeSquare(data, 4) },
			} {
				rgb, err := decode(b.Bytes())
				require.NoError(t, err)
				require.Equal(t, want && img == image.Image(deep), rgb.Clipped, rows)
			}
		}
		pgm := append([]byte("P5 8 8 65535\n"), deep.Pix...)
		rgb, err := Decode(pgm)
		require.NoError(t, err)
		require.Equal(t, want, rgb.Clipped, rows)
	}
}
