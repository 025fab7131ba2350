package imageio_test

import (
	"encoding/binary"
	"encoding/json"
	"hash/crc32"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/sdr-ml/sdr/transforms/imageio"
	"github.com/stretchr/testify/require"
)

// golden is what testdata/make_golden.py wrote for one image.
type golden struct {
	Data          []byte
	Width, Height int
	Pix           []uint8
}

func goldens(t testing.TB) map[string]golden {
	text, err := os.ReadFile("testdata/decode.json")
	require.NoError(t, err)
	var out map[string]golden
	require.NoError(t, json.Unmarshal(text, &out))
	require.Greater(t, len(out), 100)
	return out
}

func TestDecodeEqualsPillow(t *testing.T) {
	for name, want := range goldens(t) {
		t.Run(name, func(t *testing.T) {
			got, err := imageio.Decode(want.Data)
			require.NoError(t, err)
			require.Equal(t, []int{want.Width, want.Height}, []int{got.Width, got.Height})
			require.Equal(t, want.Pix, got.Pix)
		})
	}
}

// A large JPEG is decoded at reduced size like Pillow's draft, then scaled like torchvision; other formats are decoded
// at full size.
func TestDecodeSquareEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/square.json")
	require.NoError(t, err)
	var cases []struct {
		Name  string
		Data  []byte
		Sizes map[int][]uint8
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 6)
	for _, c := range cases {
		for size, want := range c.Sizes {
			got, err := imageio.DecodeSquare(c.Data, size)
			require.NoError(t, err)
			require.Equal(t, []int{size, size}, []int{got.Width, got.Height})
			require.Equal(t, want, got.Pix, "%s to %d", c.Name, size)
		}
	}
	_, err = imageio.DecodeSquare(cases[0].Data[:99], 4)
	require.ErrorContains(t, err, "decode JPEG image of 99 bytes: truncated")
}

func TestSquareEqualsTorchvision(t *testing.T) {
	text, err := os.ReadFile("testdata/resize.json")
	require.NoError(t, err)
	var cases []struct {
		Width, Height, Size int
		Src, Pix            []uint8
	}
	require.NoError(t, json.Unmarshal(text, &cases))
	require.Len(t, cases, 10)
	for _, c := range cases {
		got := imageio.RGB{Width: c.Width, Height: c.Height, Pix: c.Src}.Square(c.Size)
		require.Equal(t, []int{c.Size, c.Size}, []int{got.Width, got.Height})
		require.Equal(t, c.Pix, got.Pix, "%d x %d to %d", c.Width, c.Height, c.Size)
	}
}

// Of a strip whose scaled version would take 9 GB, only the middle is scaled.
func TestSquareOfStrips(t *testing.T) {
	strip := imageio.RGB{Width: 65535, Height: 1, Pix: make([]uint8, 65535*3)}
	strip.Pix[32767*3] = 255
	wide, high := strip.Square(224), imageio.RGB{Width: 1, Height: 65535, Pix: strip.Pix}.Square(224)
	require.Equal(t, 224*224*3, len(wide.Pix))
	require.Equal(t, uint8(255), wide.Pix[100*224*3], "its center is column 0")
	require.Equal(t, uint8(255), high.Pix[100*3])
}

// Every image truncated anywhere before its last quarter is an error, as in Pillow. (Some formats keep metadata or padding
// at the end, and a PNG can do without its end.)
func TestTruncatedImages(t *testing.T) {
	for name, g := range goldens(t) {
		if strings.HasPrefix(name, "orient") || name == "gif_animated.gif" || strings.HasSuffix(name, ".tif") {
			continue
		}
		for cut := 0; cut < len(g.Data)*3/4; cut += 1 + len(g.Data)/60 {
			_, err := imageio.Decode(g.Data[:cut])
			require.Error(t, err, "%s cut at %d of %d", name, cut, len(g.Data))
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	header := func(format string) []byte { return goldens(t)[format].Data }
	bomb := slices.Clone(header("png_rgb8.png"))
	copy(bomb[16:], []byte{0, 0, 0x80, 0, 0, 0, 0x80, 0}) // 32768 x 32768
	copy(bomb[29:], crc(bomb[12:29]))
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":     {nil, "not a JPEG, PNG"},
		"text":      {[]byte("hello, world"), "decode image of 12 bytes: not a JPEG, PNG"},
		"bomb":      {bomb, "32768 x 32768 pixels are more than the limit of 178956970"},
		"PNM bomb":  {[]byte("P5 99999 99999 255\n"), "more than the limit"},
		"PNM zero":  {[]byte("P5 0 9 255\n"), "0 x 9 pixels"},
		"PNM deep":  {[]byte("P5 1 1 65536\nab"), "largest value is 65536"},
		"PNM short": {[]byte("P6 2 1 255\nabcde"), "truncated"},
		"PNM cut":   {[]byte("P5 20"), "truncated"},
		"PNM bad":   {[]byte("P5 -1 1 255\n"), "damaged header"},
		"AVIF":      {[]byte("\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miaf"), "it is AVIF, not a JPEG, PNG"},
		"AVIF too":  {[]byte("\x00\x00\x00\x20ftypmif1\x00\x00\x00\x00avifmif1miaf"), "it is AVIF, not a JPEG, PNG"},
		"HEIC":      {[]byte("\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic"), "it is HEIC, not a JPEG, PNG"},
		"video":     {[]byte("\x00\x00\x00\x18ftypisom"), "it is a video, not a JPEG, PNG"},
		"git-lfs":   {[]byte("version https://git-lfs.github.com/spec/v1\n"), "it is a git-lfs pointer, not the file itself; fetch it with git lfs pull: not a JPEG"},
		"JPEG":      {header("jpeg_grey.jpg")[:100], "decode JPEG image of 100 bytes: truncated"},
	} {
		_, err := imageio.Decode(c.data)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err := imageio.Decode([]byte("GIF90a"))
	require.ErrorIs(t, err, imageio.ErrFormat)
}

// Files that are much too short for their pixels do not take the memory of these.
func TestBombs(t *testing.T) {
	png := slices.Clone(goldens(t)["png_rgb8.png"].Data)
	copy(png[16:], []byte{0, 0, 0x32, 0, 0, 0, 0x32, 0}) // 12800 x 12800
	copy(png[29:], crc(png[12:29]))
	bmp := slices.Clone(goldens(t)["bmp_P.bmp"].Data)
	copy(bmp[18:], []byte{0, 0x32, 0, 0, 0, 0x32, 0, 0})
	runs := slices.Clone(bmp)
	runs[30] = 1
	for name, data := range map[string][]byte{
		"PNG": png, "BMP": bmp, "BMP of runs": runs,
		"GIF": []byte("GIF89a\x00\x32\x00\x32\x00\x00\x00,\x00\x00\x00\x00\x00\x32\x00\x32\x00\x08\x00;"),
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := imageio.Decode(data)
		runtime.ReadMemStats(&after)
		require.ErrorContains(t, err, "truncated", name)
		require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<22), name)
	}
}

func crc(chunk []byte) []byte { return binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(chunk)) }

func BenchmarkDecode(b *testing.B) {
	all := goldens(b)
	for _, name := range []string{"jpeg_4:2:0_34x18.jpg", "jpeg_noise.jpg", "png_filtered.png", "webp_33x18.webp"} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, _ = imageio.Decode(all[name].Data)
			}
		})
	}
}
