package pipelines

import (
	"bytes"
	"fmt"
	"image"
	"image/color"
	"image/jpeg"
	"image/png"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/sdr-ml/sdr/stages/run"
	"github.com/sdr-ml/sdr/transforms/imageio"
)

// waves is a smooth picture of its own for each seed.
func waves(seed uint64, width, height int, gray bool) *image.RGBA {
	r := rand.New(rand.NewPCG(seed, 0))
	var f [3][5]float64
	for c := range f {
		for i := range f[c] {
			f[c][i] = 12 * (r.Float64() - .5)
		}
	}
	m := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		for x := range width {
			var v [3]uint8
			for c := range v {
				u, w := float64(x)/float64(width), float64(y)/float64(height)
				v[c] = uint8(127 + 60*math.Sin(f[c][0]+f[c][1]*u+f[c][2]*w) + 60*math.Sin(f[c][3]*u*w+f[c][4]*u))
			}
			if gray {
				v[1], v[2] = v[0], v[0]
			}
			m.Set(x, y, color.RGBA{v[0], v[1], v[2], 255})
		}
	}
	return m
}

func TestExamineData(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, m image.Image, quality int) {
		var b bytes.Buffer
		if quality > 0 {
			require.NoError(t, jpeg.Encode(&b, m, &jpeg.Options{Quality: quality}))
		} else {
			require.NoError(t, png.Encode(&b, m))
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644))
	}
	write("a.png", waves(0, 60, 50, false), 0)
	write("a-smaller.jpg", waves(0, 48, 40, false), 75) // looks like a.png
	write("b.png", waves(2, 60, 50, false), 0)
	write("c.png", waves(3, 101, 50, true), 0)
	write("c-again.png", waves(3, 101, 50, true), 0)
	write("d.png", waves(4, 30, 30, false), 0)
	write("flat.png", image.NewPaletted(image.Rect(0, 0, 20, 20), color.Palette{color.RGBA{9, 8, 7, 255}}), 0)
	deep := image.NewGray16(image.Rect(0, 0, 40, 40))
	for i := range 40 * 40 {
		deep.SetGray16(i%40, i/40, color.Gray16{Y: uint16(i * 30)})
	}
	write("deep.png", deep, 0)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "bad.png"), []byte("no image"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.md"), []byte("no image"), 0o644))

	r, err := ExamineData(t.Context(), []string{dir}, imageio.Columns{})
	require.NoError(t, err)
	require.EqualValues(t, 9, r.Images)
	require.EqualValues(t, 1, r.Unreadable)
	require.Len(t, r.Reasons, 1)
	require.Contains(t, r.Reasons[0], "bad.png: decode image of 8 bytes")
	require.Equal(t, map[string]int64{"PNG": 7, "JPEG": 1}, r.Formats)
	require.Equal(t, [3]int{20, 50, 50}, r.Sides)
	require.EqualValues(t, 2, r.Elongated)
	require.EqualValues(t, 3, r.Gray)
	require.EqualValues(t, 1, r.Clipped)
	require.EqualValues(t, 1, r.Flat)
	at := func(name string) string { return filepath.Join(dir, name) }
	require.Equal(t, [][]string{{at("a-smaller.jpg"), at("a.png")}, {at("c-again.png"), at("c.png")}}, r.Similar)
	require.Equal(t, []string{dir + ": 9 images; passed over 1 .md"}, r.Sources)

	var text bytes.Buffer
	require.NoError(t, r.WriteTable(&text))
	for _, line := range []string{"near-duplicates │      2 │ 22.22 %", "shorter sides: 20 to 50 px, median 50 px", "2 look alike: " + at("a-smaller.jpg")} {
		require.Contains(t, text.String(), line)
	}
	_, err = ExamineData(t.Context(), []string{filepath.Join(dir, "none")}, imageio.Columns{})
	require.ErrorAs(t, err, new(*run.UsageError))
}

// Groups are those that a comparison of every pair finds.
func TestSimilar(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		base := rapid.SliceOfN(rapid.Uint64(), 1, 4).Draw(t, "base")
		var all []looked
		for i := range rapid.IntRange(1, 40).Draw(t, "images") {
			hash := rapid.SampledFrom(base).Draw(t, "like")
			for range rapid.IntRange(0, 6).Draw(t, "changes") {
				hash ^= 1 << rapid.IntRange(0, 63).Draw(t, "bit")
			}
			all = append(all, looked{name: fmt.Sprint(i), hash: hash})
		}
		linked := func(group, other []looked) bool {
			return slices.ContainsFunc(group, func(a looked) bool {
				return slices.ContainsFunc(other, func(b looked) bool { return bits.OnesCount64(a.hash^b.hash) <= alike })
			})
		}
		seen := 0
		groups := similar(all)
		for i, g := range groups {
			require.Greater(t, len(g), 1)
			reached := g[:1:1]
			for grown := true; grown; {
				grown = false
				for _, l := range g {
					if !slices.Contains(reached, l) && linked(reached, []looked{l}) {
						reached, grown = append(reached, l), true
					}
				}
			}
			require.Len(t, reached, len(g), "all are reached from the first, one by one")
			for _, other := range groups[:i] {
				require.False(t, linked(g, other))
				require.GreaterOrEqual(t, len(other), len(g))
			}
			seen += len(g)
		}
		alone := 0
		for i, l := range all {
			if !linked([]looked{l}, append(slices.Clone(all[:i]), all[i+1:]...)) {
				alone++
			}
		}
		require.Equal(t, len(all), seen+alone)
	})
}
