package jpeg_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/sdr-ml/sdr/transforms/imageio/jpeg"
)

// golden is what testdata/make_golden.py wrote for one image.
type golden struct {
	Name, Mode string
	Data       []byte
	Scaled     []struct {
		Scale, Width, Height int
		SHA256               string
	}
}

func goldens(t testing.TB) (all []golden) {
	text, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text, &all))
	require.Greater(t, len(all), 90)
	return all
}

// named returns the file of a golden.
func named(t testing.TB, name string) []byte {
	for _, g := range goldens(t) {
		if g.Name == name {
			return bytes.Clone(g.Data)
		}
	}
	t.Fatalf("no golden %q", name)
	return nil
}

// Every byte equals Pillow's, at full size and reduced like Image.draft.
func TestDecodeEqualsPillow(t *testing.T) {
	for _, g := range goldens(t) {
		for _, want := range g.Scaled {
			t.Run(fmt.Sprintf("%s at %d", g.Name, want.Scale), func(t *testing.T) {
				m, err := jpeg.Decode(g.Data, want.Scale)
				require.NoError(t, err)
				require.Equal(t, map[string]int{"L": 1, "RGB": 3, "CMYK": 4}[g.Mode], m.Channels)
				require.Equal(t, []int{want.Width, want.Height}, []int{m.Width, m.Height})
				require.Len(t, m.Pix, m.Width*m.Height*m.Channels)
				if m.Channels == 4 { // Pillow's mode CMYK has 255 for full ink, as we do
					require.Equal(t, "CMYK", g.Mode)
				}
				require.Equal(t, want.SHA256, hash(m))
				require.NoError(t, m.Damage)
				width, height, err := jpeg.Size(g.Data)
				require.NoError(t, err)
				require.Equal(t, []int{g.Scaled[0].Width, g.Scaled[0].Height}, []int{width, height})
			})
		}
	}
}

func hash(m jpeg.Image) string {
	sum := sha256.Sum256(m.Pix)
	return hex.EncodeToString(sum[:])
}

// Damaged files are read to the same pixels as by Pillow, or refused where it refuses them.
func TestDamagedEqualsPillow(t *testing.T) {
	text, err := os.ReadFile("testdata/damaged.json")
	require.NoError(t, err)
	var all []struct {
		Name, SHA256 string
		At           int
		To           []byte
	}
	require.NoError(t, json.Unmarshal(text, &all))
	require.Len(t, all, 800)
	noted := 0
	for _, c := range all {
		data := named(t, c.Name)
		data = append(data[:c.At:c.At], append(c.To, data[min(c.At+len(c.To), len(data)):]...)...)
		m, err := jpeg.Decode(data, 1)
		if c.SHA256 == "" {
			require.Error(t, err, "%s with %x at %d", c.Name, c.To, c.At)
			continue
		}
		require.NoError(t, err, "%s with %x at %d", c.Name, c.To, c.At)
		require.Equal(t, c.SHA256, hash(m), "%s with %x at %d", c.Name, c.To, c.At)
		if m.Damage != nil {
			noted++
		}
	}
	require.Greater(t, noted, 200)
}

// State that one image leaves in a decoder does not affect the next one.
func TestDecodersAreClean(t *testing.T) {
	all := goldens(t)
	bare := named(t, "grey") // without Huffman tables
	m, err := jpeg.Decode(bare, 1)
	require.NoError(t, err)
	grey := hash(m)
	for at := bytes.Index(bare, []byte{0xff, 0xc4}); at >= 0; at = bytes.Index(bare, []byte{0xff, 0xc4}) {
		bare = append(bare[:at], bare[at+2+int(bare[at+2])<<8+int(bare[at+3]):]...)
	}
	var group sync.WaitGroup
	for seed := range 4 {
		group.Go(func() {
			r := rand.New(rand.NewPCG(uint64(seed), 1))
			for range 300 {
				g := all[r.IntN(len(all))]
				want := g.Scaled[r.IntN(len(g.Scaled))]
				if m, err := jpeg.Decode(bare, 1); err != nil || hash(m) != grey { // the tables are the usual ones
					t.Errorf("without tables: %v", err)
				}
				_, _ = jpeg.Decode(g.Data[:r.IntN(len(g.Data))], 1)
				m, err := jpeg.Decode(g.Data, want.Scale)
				if err != nil || hash(m) != want.SHA256 {
					t.Errorf("%s at %d: %v", g.Name, want.Scale, err)
				}
			}
		})
	}
	group.Wait()
}

// segment returns the index of a segment's content.
func segment(t *testing.T, data []byte, marker byte) int {
	at := bytes.Index(data, []byte{0xff, marker})
	require.GreaterOrEqual(t, at, 0)
	return at + 4
}

func TestDecodeErrors(t *testing.T) {
	change := func(marker byte, offset int, to ...byte) []byte {
		data := named(t, "4:2:0 48x32")
		copy(data[segment(t, data, marker)+offset:], to)
		return data
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"empty":              {nil, "no start of image"},
		"text":               {[]byte("some text"), "no start of image"},
		"start only":         {[]byte{0xff, 0xd8}, "unexpected EOF"},
		"no frame":           {[]byte{0xff, 0xd8, 0xff, 0xd9}, "no frame header"},
		"12 bits":            {change(0xc0, 0, 12), "12 bits per sample: not supported"},
		"no height":          {change(0xc0, 1, 0, 0), "frame of 48 x 0 pixels"},
		"5 components":       {change(0xc0, 5, 5), "frame header has a wrong length"},
		"sampling of 0":      {change(0xc0, 7, 0x20), "damaged frame header"},
		"sampling of 5":      {change(0xc0, 7, 0x25), "damaged frame header"},
		"fractional":         {change(0xc0, 7, 0x32, 0, 2, 0x21), "fractional sampling: not supported"},
		"11 blocks":          {change(0xc0, 7, 0x42, 0, 2, 0x21), "more than 10 blocks per MCU"},
		"one id twice":       {change(0xc0, 9, 1), "damaged scan header"},
		"quantization table": {change(0xc0, 8, 3), "quantization table 3 is missing"},
		"arithmetic coding":  {change(0xc0, -3, 0xc9), "arithmetic coding: not supported"},
		"lossless":           {change(0xc0, -3, 0xc3), "lossless JPEG: not supported"},
		"hierarchical":       {change(0xc0, -3, 0xc5), "coding process 0xc5: not supported"},
		"unknown marker":     {change(0xdb, -3, 0x02), "unknown marker 0x2"},
		"too many codes":     {change(0xc4, 1, 3), "damaged Huffman table"},
		"Huffman class":      {change(0xc4, 0, 0x20), "damaged Huffman table"},
		"unknown component":  {change(0xda, 1, 7), "damaged scan header"},
		"component twice":    {change(0xda, 1, 2), "damaged scan header"},
		"no DC table":        {change(0xda, 2, 0x30), "a Huffman table is missing"},
		"no AC table":        {change(0xda, 2, 0x03), "a Huffman table is missing"},
	} {
		_, err := jpeg.Decode(c.data, 1)
		require.EqualError(t, err, c.want, name)
	}
	restarted := named(t, "4:2:0 restart")
	copy(restarted[bytes.Index(restarted, []byte{0xff, 0xd1}):], []byte{0xff, 0xd3})
	for want, data := range map[string][]byte{
		"marker 0xd3 instead of restart marker 0xd1": restarted,
		"scan ends too early":                        change(0xda, 30, 0xff, 0xd9),
	} {
		m, err := jpeg.Decode(data, 1)
		require.NoError(t, err)
		require.EqualError(t, m.Damage, want)
	}
	_, err := jpeg.Decode(change(0xc0, -3, 0xc9), 1)
	require.ErrorIs(t, err, jpeg.ErrUnsupported)
	for _, scale := range []int{-1, 0, 3, 16} {
		_, err := jpeg.Decode(named(t, "grey"), scale)
		require.ErrorContains(t, err, "want 1/1, 1/2, 1/4 or 1/8")
	}
}

// Every image truncated anywhere is an error, as in Pillow (which reads some without the marker of their end). Without that
// marker but with any bytes behind the pixels it is read.
func TestTruncated(t *testing.T) {
	for _, g := range goldens(t) {
		for cut := range len(g.Data) - 1 {
			if cut%7 == 0 || cut > len(g.Data)-20 {
				_, err := jpeg.Decode(g.Data[:cut], 1)
				require.Error(t, err, "%s cut at %d of %d", g.Name, cut, len(g.Data))
				if cut > 2 {
					require.ErrorIs(t, err, io.ErrUnexpectedEOF)
				}
			}
		}
		padded := append(g.Data[:len(g.Data)-2:len(g.Data)-2], "Nothing to see"...)
		if m, err := jpeg.Decode(padded, 1); !strings.Contains(g.Name, "progressive") {
			require.NoError(t, err)
			require.Equal(t, g.Scaled[0].SHA256, hash(m))
			require.EqualError(t, m.Damage, "no end of the image")
		} else {
			require.Error(t, err)
		}
	}
}

// Stray bytes between segments and after the image, and fill bytes before markers, do no harm.
func TestStrayBytes(t *testing.T) {
	data := named(t, "4:2:0 restart")
	want, err := jpeg.Decode(data, 1)
	require.NoError(t, err)
	for _, marker := range []byte{0xdb, 0xc0, 0xda, 0xd0, 0xd1, 0xd9} {
		at := bytes.Index(data, []byte{0xff, marker})
		for _, stray := range []string{"\xff", "\xff\xff\xff", "stray", "\xff\x00"} {
			got, err := jpeg.Decode(append(append(bytes.Clone(data[:at]), stray...), data[at:]...), 1)
			require.NoError(t, err, "%q before %#x", stray, marker)
			require.Equal(t, want, got)
		}
	}
	got, err := jpeg.Decode(append(data, "behind"...), 1)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// decode decodes any bytes, which must not panic, at every scale, and reports
// whether they can be read.
func decode(t *testing.T, data []byte) bool {
	m, err := jpeg.Decode(data, 1)
	if err != nil && m.Pix != nil {
		t.Fatal("pixels beside an error")
	}
	for _, scale := range []int{2, 4, 8} {
		s, scaledErr := jpeg.Decode(data, scale)
		if (err == nil) != (scaledErr == nil) {
			t.Fatalf("%v, at 1/%d %v", err, scale, scaledErr)
		}
		if err == nil && (s.Width != (m.Width+scale-1)/scale || len(s.Pix) != s.Width*s.Height*s.Channels) {
			t.Fatalf("%d x %d pixels give %d x %d at 1/%d", m.Width, m.Height, s.Width, s.Height, scale)
		}
	}
	return err == nil
}

func FuzzDecode(f *testing.F) {
	for _, g := range goldens(f) {
		f.Add(g.Data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if width, height, err := jpeg.Size(data); err == nil && width*height > 1<<16 {
			t.Skip("large images take long")
		}
		decode(t, data)
	})
}
