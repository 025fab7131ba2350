package augment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is what testdata/make_golden.py writes; []byte is base64 in JSON.
type golden struct {
	Images, Sources []image
	Ops             []struct {
		Op    string
		Image int
		Value float64
		Want  []byte
	}
	Cubes []struct {
		Op     string
		Value  float64
		SHA256 string
	}
	Chains []struct {
		Source, Size int
		Params       Params
		Want         []byte
		ViewSHA256   string `json:"view_sha256"`
	}
}

type image struct {
	Height, Width int
	Pixels        []byte
}

func readGolden(t testing.TB) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

// apply runs one operation in place on an image of width pixels a row.
func apply(op string, pix []uint8, height, width int, value float64) {
	switch op {
	case "brightness":
		brightness(pix, value)
	case "contrast":
		contrast(pix, value)
	case "saturation":
		saturation(pix, value)
	case "hue":
		shiftHue(pix, hueByte(value))
	case "gray":
		gray(pix)
	case "blur":
		new(blurrer).gaussian(pix, height, width, value)
	case "flip":
		flip(pix, width)
	default:
		panic(op)
	}
}

func TestOpsEqualTorchvision(t *testing.T) {
	g := readGolden(t)
	require.NotEmpty(t, g.Ops)
	for _, c := range g.Ops {
		im := g.Images[c.Image]
		got := slices.Clone(im.Pixels)
		apply(c.Op, got, im.Height, im.Width, c.Value)
		require.Equal(t, c.Want, got, "%s %v of image %d", c.Op, c.Value, c.Image)
	}
}

// Every one of the 2^24 colours goes through the operations that work on one
// pixel at a time.
func TestEveryColourEqualsTorchvision(t *testing.T) {
	for _, c := range readGolden(t).Cubes {
		t.Run(fmt.Sprint(c.Op, c.Value), func(t *testing.T) {
			t.Parallel()
			sum := sha256.New()
			pix := make([]uint8, 0, 1<<16*3)
			for r := range 256 {
				pix = pix[:0]
				for i := range 1 << 16 {
					pix = append(pix, uint8(r), uint8(i>>8), uint8(i))
				}
				apply(c.Op, pix, 1, 1<<16, c.Value)
				sum.Write(pix)
			}
			require.Equal(t, c.SHA256, hex.EncodeToString(sum.Sum(nil)))
		})
	}
}

func TestGoldenChain(t *testing.T) {
	g := readGolden(t)
	require.NotEmpty(t, g.Chains)
	for i, c := range g.Chains {
		r := SimSiam(c.Size)
		w := NewWorker(&r)
		src := g.Sources[c.Source]
		if c.Want != nil {
			got := make([]uint8, len(c.Want))
			w.Pixels(got, src.Pixels, src.Height, src.Width, c.Params)
			require.Equal(t, c.Want, got, "chain %d: %+v", i, c.Params)
		}
		view := make([]float32, c.Size*c.Size*3)
		w.Apply(view, src.Pixels, src.Height, src.Width, c.Params)
		var raw bytes.Buffer
		require.NoError(t, binary.Write(&raw, binary.LittleEndian, view))
		sum := sha256.Sum256(raw.Bytes())
		require.Equal(t, c.ViewSHA256, hex.EncodeToString(sum[:]), "chain %d: %+v", i, c.Params)
	}
}
