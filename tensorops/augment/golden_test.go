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
	Images, Sources []picture
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
		Steps        []step
		Want         []byte
		ViewSHA256   string `json:"view_sha256"`
	}
}

type picture struct {
	Height, Width int
	Pixels        []byte
}

func (p picture) image() *Image {
	return &Image{Pix: slices.Clone(p.Pixels), Height: p.Height, Width: p.Width}
}

// step is an operation with its drawn parameters.
type step struct {
	Op       string
	Settings json.RawMessage // of those whose Apply needs them
	Decision json.RawMessage
}

func (s step) apply(t require.TestingT, m *Image) {
	switch s.Op {
	case "random_resized_crop":
		applyDecision(t, m, RandomResizedCrop{}, s)
	case "horizontal_flip":
		applyDecision(t, m, HorizontalFlip{}, s)
	case "color_jitter":
		applyDecision(t, m, ColorJitter{}, s)
	case "grayscale":
		applyDecision(t, m, Grayscale{}, s)
	case "gaussian_blur":
		applyDecision(t, m, GaussianBlur{}, s)
	case "solarize":
		var o Solarize
		require.NoError(t, json.Unmarshal(s.Settings, &o))
		applyDecision(t, m, o, s)
	default:
		panic(s.Op)
	}
}

func applyDecision[D any](t require.TestingT, m *Image, o interface{ Apply(*Image, D) }, s step) {
	var d D
	require.NoError(t, json.Unmarshal(s.Decision, &d))
	o.Apply(m, d)
}

func readGolden(t testing.TB) (g golden) {
	data, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(data, &g))
	return g
}

// apply runs one operation, or one part of color jitter, in place.
func apply(op string, m *Image, value float64) {
	switch op {
	case "brightness":
		brightness(m.Pix, value)
	case "contrast":
		contrast(m.Pix, value)
	case "saturation":
		saturation(m.Pix, value)
	case "hue":
		shiftHue(m.Pix, hueByte(value))
	case "gray":
		Grayscale{}.Apply(m, true)
	case "blur":
		GaussianBlur{}.Apply(m, value)
	case "flip":
		HorizontalFlip{}.Apply(m, true)
	case "solarize":
		Solarize{Threshold: int(value)}.Apply(m, true)
	default:
		panic(op)
	}
}

func TestOpsEqualTorchvision(t *testing.T) {
	g := readGolden(t)
	require.NotEmpty(t, g.Ops)
	for _, c := range g.Ops {
		got := g.Images[c.Image].image()
		apply(c.Op, got, c.Value)
		require.Equal(t, c.Want, got.Pix, "%s %v of image %d", c.Op, c.Value, c.Image)
	}
}

// All 2^24 colors go through the operations that work on one pixel at a time.
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
				apply(c.Op, &Image{Pix: pix, Height: 1, Width: 1 << 16}, c.Value)
				sum.Write(pix)
			}
			require.Equal(t, c.SHA256, hex.EncodeToString(sum.Sum(nil)))
		})
	}
}

// The chains have the operations in the usual order or in any order, some of them twice.
func TestChainsEqualTorchvision(t *testing.T) {
	g := readGolden(t)
	require.NotEmpty(t, g.Chains)
	table := newNormTable(imagenetMean, imagenetStd)
	for i, c := range g.Chains {
		m := g.Sources[c.Source].image()
		m.Size = c.Size
		for _, s := range c.Steps {
			s.apply(t, m)
		}
		if c.Want != nil {
			require.Equal(t, c.Want, m.Pix, "chain %d: %s", i, c.Steps)
		}
		view := make([]float32, c.Size*c.Size*3)
		table.apply(view, m.Pix)
		var raw bytes.Buffer
		require.NoError(t, binary.Write(&raw, binary.LittleEndian, view))
		sum := sha256.Sum256(raw.Bytes())
		require.Equal(t, c.ViewSHA256, hex.EncodeToString(sum[:]), "chain %d: %s", i, c.Steps)
	}
}

var (
	imagenetMean = [3]float32{0.485, 0.456, 0.406}
	imagenetStd  = [3]float32{0.229, 0.224, 0.225}
)
