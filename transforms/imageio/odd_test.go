package imageio_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio"
)

// odd is a file of testdata/odd.json, or a change of one, and what Pillow made of it.
type odd struct {
	Name          string
	Data          []byte
	At            int
	To            []byte
	Width, Height int
	SHA256        string
}

func odds(t testing.TB) (files map[string]odd, damaged []odd) {
	text, err := os.ReadFile("testdata/odd.json")
	require.NoError(t, err)
	var all struct {
		Files   map[string]odd
		Damaged []odd
	}
	require.NoError(t, json.Unmarshal(text, &all))
	for i, d := range all.Damaged {
		data := all.Files[d.Name].Data
		all.Damaged[i].Data = bytes.Join([][]byte{data[:d.At], d.To, data[min(d.At+len(d.To), len(data)):]}, nil)
	}
	return all.Files, all.Damaged
}

func (o *odd) check(t *testing.T) imageio.RGB {
	got, err := imageio.Decode(o.Data)
	if o.SHA256 == "" {
		require.Error(t, err, o.Name)
		require.Nil(t, got.Pix)
		return got
	}
	require.NoError(t, err, "%s with %x at %d", o.Name, o.To, o.At)
	require.Equal(t, []int{o.Width, o.Height}, []int{got.Width, got.Height}, "%s with %x at %d", o.Name, o.To, o.At)
	sum := sha256.Sum256(got.Pix)
	require.Equal(t, o.SHA256, hex.EncodeToString(sum[:]), "%s with %x at %d", o.Name, o.To, o.At)
	return got
}

func TestOddFilesEqualPillow(t *testing.T) {
	files, _ := odds(t)
	require.Greater(t, len(files), 400)
	for name, file := range files {
		t.Run(name, func(t *testing.T) { file.check(t) })
	}
}

func TestDamagedFilesEqualPillow(t *testing.T) {
	_, damaged := odds(t)
	require.Len(t, damaged, 609)
	for _, d := range damaged {
		d.check(t)
	}
}

// What is wrong with files that are read all the same is said, and nothing of sound ones.
func TestDamage(t *testing.T) {
	files, _ := odds(t)
	for name, want := range map[string]string{
		"no end.png":                          "unexpected EOF",
		"wrong IDAT sum.png":                  "png: invalid format: invalid checksum",
		"PLTE twice.png":                      "png: invalid format: chunk out of order",
		"frame beyond screen.gif":             "frame beyond the screen",
		"orientation eXIf.png":                "",
		"orientation short.jpg":               "",
		"interlaced 0 1 13x9.png":             "",
		"screen larger.gif":                   "",
		"RLE8 skips.bmp":                      "",
		"animated alpha.webp":                 "",
		"RGB planes, little-endian.tif":       "",
		"orientation tEXt behind.png":         "",
		"orientation in two parts.jpg":        "",
		"group3 wide {292: 1}.tif":            "",
		"interlaced 3 4 13x9.png":             "",
		"interlaced 6 16 1x5 without end.png": "unexpected EOF",
	} {
		file, ok := files[name]
		require.True(t, ok, name)
		if got := file.check(t); want == "" {
			require.NoError(t, got.Damage, name)
		} else {
			require.EqualError(t, got.Damage, want, name)
		}
		small, err := imageio.DecodeSquare(file.Data, 4)
		require.NoError(t, err)
		require.Equal(t, want == "", small.Damage == nil, name)
	}
	fax := bytes.Clone(files["group4 wide {292: 5}.tif"].Data)
	fax[164] = 0x63
	got, err := imageio.Decode(fax)
	require.NoError(t, err)
	require.EqualError(t, got.Damage, "fax compression ends early")
}

// Every format has odd files.
func TestOddFormats(t *testing.T) {
	files, damaged := odds(t)
	seen := map[string]int{}
	for name := range files {
		seen[path.Ext(name)]++
	}
	for _, d := range damaged {
		seen["damaged "+path.Ext(d.Name)]++
	}
	for _, extension := range strings.Fields(".jpg .png .gif .bmp .webp .tif .pgm") {
		require.Greater(t, seen[extension], 10, extension)
		require.Greater(t, seen["damaged "+extension], 10, extension)
	}
}
